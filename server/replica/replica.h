// One replica of one range: consensus core, tablet, and, while it leads, evaluation of commands
// (docs/architecture.md follows a write and a read through it).
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/executor.h"
#include "base/metrics.h"
#include "base/result.h"
#include "base/types.h"
#include "consensus/replicated_log.h"
#include "server/commands/row_view.h"
#include "server/replica/command_call.h"
#include "server/replica/committed_rows.h"
#include "server/replica/overlay.h"
#include "server/replica/watch_table.h"
#include "storage/log/shared_log.h"
#include "storage/tablet.h"

namespace cairn::server {

class Replica;

// Counters of all replicas of a node. Single writer: the range loop.
struct ReplicaMetrics {
  Counter writes_acked;  // acknowledged commands with effects (cairn_log_writes_acked_total)
  Counter evaluations;
  KeyLookupMetrics lookups;
  Counter entries_proposed;
  Counter entries_applied;
  Counter reads_by_lease;
  Counter reads_by_index;
  Counter read_indexes;  // given to followers
  Counter row_fetches;
  Counter writes_held;  // had to wait because flushes lagged
  Counter chunk_bytes;  // of long strings, proposed in chunks
  Counter leader_changes;
  Counter indeterminate;
  DurationHistogram commit_duration;  // proposal to commit, on the leader
  DurationHistogram apply_duration;   // of the entries that one step of a core has committed
};

// What a replica needs of its node. All calls on the range loop.
class ReplicaHost {
 public:
  virtual ~ReplicaHost() = default;
  virtual Instant now() const = 0;
  virtual uint64_t wall_ms() const = 0;
  virtual uint64_t random() = 0;
  virtual storage::SharedLog& log() = 0;
  // The replica has work for the end of this turn: the host calls end_turn() on it, in range order.
  virtual void touch(Replica& replica) = 0;
  virtual void send(NodeId to, RangeId range, ReplicaId from, ReplicaId to_replica,
                    const consensus::Message& message) = 0;
  virtual void deliver(const ReplyTarget& target, std::string_view reply) = 0;
  // A command that certainly had no effect here: to whoever leads now. Called in order of arrival.
  virtual void redispatch(const CommandCall& call, RangeId range) = 0;
  virtual void status_changed(Replica& replica) = 0;  // role, term, leader or configuration
  virtual void need_snapshot(Replica& replica, const consensus::NeedSnapshot& need) = 0;
  virtual void applied(Replica& replica, std::string_view operations) = 0;  // after the tablet, in log order
  virtual void event(Replica& replica, const consensus::Event& event) = 0;
  virtual void replica_failed(Replica& replica, const Error& error) = 0;
  virtual bool has_room() const = 0;              // false: disk full, new writes are refused
  virtual bool has_memory_for_large() const = 0;  // false sooner: writes above batch_bytes_max wait, others go on
  virtual bool has_memory() const = 0;            // false: flushes lag, new writes wait for resume_held()
  virtual bool admits_writes() = 0;               // false: the same, or they wait a moment, to keep the pace of flushes
  virtual void wrote(size_t bytes) = 0;           // a write was let through: so many bytes of operations
  virtual ReplicaMetrics& metrics() = 0;
};

// Commands the node itself sends through the same path as users' commands. Not in COMMAND's table.
const CommandSpec* find_internal_command(std::string_view name);
extern const CommandSpec kCountKeysCommand;    // reply: integer, keys of the range
extern const CommandSpec kRangeStatusCommand;  // reply: bulk, encoded RangeStatus, from the confirmed leader
extern const CommandSpec kProbeCommand;        // writes one row outside the users' keys
extern const CommandSpec kPutRowCommand;       // argv: name, key, value; of the system range
extern const CommandSpec kReadIndexCommand;    // reply: bulk, encoded ReadIndex, from the confirmed leader
// Any command or none of Redis' by name, then the internal ones.
const CommandSpec* find_any_command(std::string_view name);

struct RangeStatus {
  consensus::Status consensus;
  storage::TabletStats tablet;
  bool leading = false;        // accepts commands
  std::string encode() const;  // the parts that /v1/ranges shows
  static std::optional<RangeStatus> decode(std::string_view bytes);
};

// What a follower needs for a linearizable read: everything acknowledged before it was given is in the log up to
// `index`.
struct ReadIndex {
  LogIndex index;
  uint64_t time_ms = 0;  // by which the leader judges expiry
  std::string encode() const;
  static std::optional<ReadIndex> decode(std::string_view bytes);
};

// Thread safety: on the range loop.
class Replica final : private RowView {
 public:
  struct Options {
    uint64_t batch_bytes_max = 1u << 20;      // a fuller batch is proposed at once
    uint64_t waiting_bytes_max = 192u << 20;  // commands that wait for rows or memory; above it they are refused
    uint64_t catchup_bytes = 16u << 20;       // log kept in memory for followers that are behind
    uint64_t whole_bytes_max = 1u << 20;      // longer strings are replicated and kept in chunks
    uint32_t chunk_bytes = 64u << 10;
  };

  Replica(ReplicaHost& host, RangeId range, ReplicaId id, NodeId self, std::string descriptor,
          std::unique_ptr<consensus::ReplicatedLog> core, storage::Tablet& tablet, const Options& options);
  ~Replica() override;

  RangeId range() const { return range_; }
  ReplicaId id() const { return id_; }
  const std::string& descriptor() const { return descriptor_; }
  const consensus::ReplicatedLog& core() const { return *core_; }
  storage::Tablet& tablet() { return tablet_; }
  // Accepts commands: leader, own term durable, own-term no-op applied, no transfer under way.
  bool leads() const { return core_->may_propose() && !installing_ && applied() >= leads_from_; }
  // What the tablet holds is a prefix of what is committed, and whole: it may be shown to whoever knows that it is new
  // enough.
  bool may_follow() const { return !installing_ && !core_->suspect() && !core_->damaged(); }
  LogIndex applied() const { return tablet_.applied().index; }
  RangeStatus status() const;
  // What replies wait for, for people who look for one that does not come.
  std::string waiting_text() const;

  // Requires leads(). True: the reply was appended to `reply`. False: it is delivered to call.target later, exactly
  // once.
  bool execute(const CommandCall& call, RespWriter& reply);
  // Of a command that only reads. Requires leads(). True: the reply, which had nothing to wait for, was appended.
  // False: nothing was, and the command leaves no trace.
  bool read_at_once(const CommandCall& call, RespWriter& reply);
  // Effects of the node's own making (system range). `target` gets "+OK\r\n" on commit. Requires leads().
  void write(const std::function<void(RowView&)>& effects, const ReplyTarget& target);

  // Any input for the core; the output is carried out before this returns.
  void step(const consensus::Input& input);
  void receive(NodeId from, consensus::Message message) {
    if (!installing_) step(consensus::Received{from, std::move(message)});  // what is lost is sent again
  }
  // Proposes what was evaluated, unless it shall `gather` more, and asks for the read round that this turn needs.
  void end_turn(bool gather);
  bool has_unproposed() const { return leading_ && !batch_.empty(); }
  // Everything below `position` of the shared log is durable.
  void log_durable(LogPosition position);
  uint64_t pending_bytes() const { return pending_bytes_; }  // of effects proposed and not committed
  bool awaits_log() const { return !handed_out_.empty(); }

  // Runs the writes that waited for memory. Cheap if there are none.
  void resume_held();

  // The tablet's flushed position moved, or the log wants room (`force`).
  void compact_log(bool force);
  void storage_damaged() { step(consensus::Suspect{}); }
  // The tablet's files are damaged, the log is not: serves nothing until a snapshot is installed.
  void tablet_damaged() { step(consensus::Damaged{}); }

  // Snapshot installation: between begin and end the core hears nothing.
  bool may_install(const storage::AppliedPosition& position) const;
  void begin_install() { installing_ = true; }
  void end_install(bool ok, const storage::AppliedPosition& position, const std::string& configuration);

  // Answers every waiting command and forgets pending effects: shutdown, or the replica is going away.
  void abandon();

 private:
  struct ParkedReply {
    ReplyTarget target;
    std::string reply;
    uint64_t order = 0;       // of arrival
    uint64_t read_round = 0;  // also waits for this round; 0 = none
    bool effects = false;
    OwnedCommand retry;  // to run elsewhere if leadership is lost; empty once its effects were proposed
  };
  struct PendingBatch {
    uint64_t number = 0;
    LogIndex index;
    Instant proposed_at = 0;
    size_t bytes = 0;
    std::vector<ParkedReply> replies;
  };
  // A string or the value of an element, on its way in chunks.
  struct LongString {
    std::string key_prefix;
    uint64_t owner = 0;  // 0: a string
    std::string bytes;
    uint64_t version = kChunksToCome;
    uint64_t proposed = 0;  // bytes
    bool used = false;      // by the last evaluation
    bool complete() const { return proposed == bytes.size(); }
    std::string rows_prefix() const;
  };
  // The version that an evaluation gave to a new collection whose elements are on their way.
  struct NewOwner {
    std::string key_prefix;
    uint64_t version = 0;
    bool used = false;  // by the last evaluation
  };
  // A command whose rows are being fetched, whose long strings are on their way, or that waits for one that shares a
  // key, or a write that waits for memory.
  struct Waiting {
    uint64_t id = 0;
    uint64_t order = 0;
    OwnedCommand command;
    std::vector<std::string> keys;
    bool fetching = false;
    bool held = false;      // in held_
    bool chunking = false;  // in chunking_, or what it has proposed last is not committed
    std::vector<LongString> chunked;
    std::vector<NewOwner> owners;
    uint64_t chunked_bytes = 0;  // of `chunked`; part of waiting_bytes_
    uint64_t data_epoch = 0;
    FetchedRows fetched;
    LongString* find_chunked(std::string_view key_prefix, uint64_t owner, std::string_view head, std::string_view tail);
  };

  // RowView (replica_rows.cc)
  RowResult get(std::string_view row_key) override;
  RowState scan(std::string_view prefix,
                const std::function<bool(std::string_view key, std::string_view value)>& visit) override;
  RowState page(const storage::RowPage& page,
                const std::function<bool(std::string_view key, std::string_view value)>& visit, PageEnd& end) override;
  const PageRows* committed_page(const storage::RowPage& page, PageRows& memory);
  uint32_t slots_end() const override { return slots_end_; }
  void put(std::string_view row_key, std::string_view value) override;
  void remove(std::string_view row_key) override;
  void remove_prefix(std::string_view prefix) override;
  void clear_all() override;
  // Versions are given to exploded collections only, so without one there has never been any in this range.
  bool may_be_exploded(std::string_view) override { return version_counter_ != 0; }
  Effects written() const override { return {batch_.bytes().size() + chunked_bytes_, batch_.count()}; }
  uint64_t whole_bytes_max() const override { return options_.whole_bytes_max; }
  ChunksWritten write_chunks(std::string_view key_prefix, uint64_t owner, std::string_view head,
                             std::string_view tail) override;
  uint64_t next_owner(std::string_view key_prefix) override;
  Moment watch(std::string_view key_prefix) override;
  bool changed_since(std::string_view key_prefix, const Moment& moment) override;
  uint64_t next_version() override { return ++version_counter_; }
  uint64_t now_ms() const override { return turn_ms_; }
  uint64_t random() override { return host_.random(); }

  // Evaluation (replica_evaluate.cc)
  void begin_turn();
  void begin_batch();
  bool evaluate(const CommandCall& call, RespWriter& reply, Waiting* waiting);
  void note_changes(size_t batch_bytes_before);
  bool settle(const CommandCall& call, RespWriter& reply, size_t reply_start, bool effects, uint64_t order);
  void park(ParkedReply parked, uint64_t wait_batch);
  void count_keys(const CommandCall& call);
  bool conflicts(const CommandCall& call) const;
  Waiting* enqueue(const CommandCall& call);
  void start_fetch(Waiting& waiting);
  void fetch_done(uint64_t id, uint64_t leadership, std::vector<std::string> row_keys,
                  const std::vector<storage::RowPage>& pages, Result<storage::FetchResult> result);
  void run_waiting(uint64_t id);
  void hold(Waiting& waiting);
  bool can_store() const { return host_.has_room() && tablet_.writable(); }
  std::string_view no_room_error() const;  // while it cannot
  void refuse_for_room(const Waiting& waiting);
  // A write that takes memory, and there is none; or a large one while others are on their way.
  bool must_hold(const CommandCall& call) const;
  void finish_waiting(uint64_t id);
  bool at_front(const Waiting& waiting) const;
  void after_batch(uint64_t batch, Task task);
  uint64_t newest_batch() const;  // the newest one with effects, proposed or not; 0 = all committed

  // Long strings (replica_chunks.cc)
  void begin_chunks(Waiting* waiting);
  void start_chunks(Waiting& waiting);
  void serve_chunks();
  void propose_chunks(Waiting& waiting);
  void discard_chunks(Waiting& waiting);
  void note_chunks(std::string_view operations);
  void note_put(std::string_view row_key, std::string_view value);
  void remove_open_chunks();

  // Commit (replica.cc)
  void propose_batch();
  void drain();
  void apply_all(const std::vector<consensus::Entry>& entries);
  void apply(const consensus::Entry& entry);
  void batch_committed(PendingBatch batch, std::string_view operations);
  void release(ParkedReply& parked);
  void round_done(const consensus::ReadReady& ready);
  void lead_changed();
  void lose_leadership();

  ReplicaHost& host_;
  const RangeId range_;
  const ReplicaId id_;
  const NodeId self_;
  const std::string descriptor_;
  const uint32_t slots_end_;
  std::unique_ptr<consensus::ReplicatedLog> core_;
  storage::Tablet& tablet_;
  const Options options_;

  consensus::Output out_;
  consensus::Output scratch_;  // the one being carried out
  bool draining_ = false;
  LogIndex applied_reported_;
  bool installing_ = false;

  struct HandedOut {
    LogPosition position;
    WriteSeq seq;
  };
  std::deque<HandedOut> handed_out_;
  std::deque<consensus::GatedMessage> gated_;
  WriteSeq durable_seq_;

  // While leading
  bool leading_ = false;  // role at the last look
  Term leading_term_;
  uint64_t leadership_ = 0;  // counts times of leading; stale callbacks are recognised by it
  LogIndex leads_from_;      // entries whose effects are no longer known in advance end here
  Overlay overlay_;
  storage::WriteBatch batch_;  // of this turn; 8 bytes of header first
  uint64_t batch_number_ = 1;  // of batch_
  uint64_t done_batch_ = 0;    // newest committed batch
  uint64_t version_counter_ = 0;
  bool counter_loaded_ = false;
  uint64_t turn_ms_ = 0;    // evaluation time of this turn; 0 = no evaluation yet
  uint64_t newest_ms_ = 0;  // newest entry time known
  std::deque<PendingBatch> pending_;
  size_t pending_bytes_ = 0;
  std::vector<ParkedReply> batch_replies_;     // wait for batch_
  std::multimap<uint64_t, Task> after_batch_;  // run once that batch is committed
  uint64_t next_order_ = 1;
  uint64_t round_ = 0;  // read round of this turn; 0 = none asked for yet
  uint64_t last_round_ = 0;
  uint64_t done_round_ = 0;                              // newest confirmed one
  std::map<uint64_t, std::vector<ParkedReply>> rounds_;  // replies that wait for a read round only

  std::deque<uint64_t> chunking_;      // ids of waiting commands whose strings are being proposed, one after another
  std::vector<uint64_t> chunks_done_;  // those whose strings are committed
  uint64_t chunks_pending_ = 0;        // bytes proposed and not committed
  // Versions with chunk rows that no meta or element row names yet, and what those begin with.
  std::map<uint64_t, std::string> open_chunks_;

  // Evaluation in progress
  Waiting* evaluated_ = nullptr;           // null: of a command that does not wait
  std::vector<LongString> wanted_chunks_;  // strings that it writes and that are not there yet
  std::vector<NewOwner> given_owners_;     // to collections that it makes
  uint64_t chunked_bytes_ = 0;             // of long strings that it writes
  uint64_t seen_batch_ = 0;                // newest pending batch whose effects it saw
  CommittedRows committed_;

  WatchTable watched_;
  uint64_t evaluation_ = 0;  // number of the present one
  uint64_t data_epoch_ = 1;  // raised by CLEAR
  uint64_t next_waiting_ = 1;
  uint64_t waiting_bytes_ = 0;
  std::map<uint64_t, std::unique_ptr<Waiting>> waiting_;
  std::map<std::string, std::deque<uint64_t>, std::less<>> locks_;
  std::vector<uint64_t> held_;   // ids of waiting writes, in order of arrival
  std::shared_ptr<bool> alive_;  // callbacks of a dead replica find false
};

}  // namespace cairn::server
