// One node of a cluster, without sockets and threads: replicas, system range, routing, sessions' commands. The daemon
// and the simulator run this same object.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/metrics.h"
#include "base/result.h"
#include "server/cluster/directory.h"
#include "server/cluster/follower_pressure.h"
#include "server/cluster/follower_reads.h"
#include "server/cluster/forwarding.h"
#include "server/cluster/identity.h"
#include "server/cluster/keyspace_walk.h"
#include "server/cluster/link_driver.h"
#include "server/cluster/node_options.h"
#include "server/cluster/snapshots.h"
#include "server/cluster/transport.h"
#include "server/replica/replica.h"
#include "server/session/command_sink.h"
#include "server/session/hub.h"
#include "server/session/large_commands.h"
#include "storage/disk_reserve.h"

namespace cairn::server {

class Session;

struct NodeMetrics {
  ReplicaMetrics replica;
  Counter commands;        // of this node's connections that reached a range
  Counter commands_local;  // of them answered by a replica here
  Counter elections_won;
  Counter handovers;
  DurationHistogram pace_waits[2];  // of writes: so that the own flushes keep up, those of followers
  Counter memory_stalls;            // times that writes had to stop because memtables took all their memory
  Counter repairs;                  // damaged replicas that a snapshot has mended
};

struct PeerView {
  NodeRecord record;
  bool reachable = false;
  Incarnation incarnation;
  bool supports_us = false;
};

// Thread safety: on the range loop, but for what NodeEnvironment says.
class Node final : public CommandSink,
                   public TransportEvents,
                   private ReplicaHost,
                   private ForwardingHost,
                   private FollowerReadsHost,
                   private SnapshotHost,
                   private KeyspaceWalkHost,
                   private consensus::LivenessView {
 public:
  Node(NodeEnvironment env, NodeOptions options);
  ~Node() override;

  // Reads IDENTITY, log and manifest; joins or bootstraps if the directory is new. `env.loop` may run before or after.
  // Errors: kInUse (directory), kCorruption, kInvalidArgument (neither data nor bootstrap nor join).
  Result<void> start();
  // Proposes, sends, syncs and answers what the turn has brought. Call after each batch of events; cheap if idle.
  void end_turn();
  bool turn_pending() const { return !touched_.empty() || transport_dirty_ || follower_reads_.gathering(); }

  // Hands leadership over; `done` when nothing is led here any more or `limit` has passed.
  void drain(Duration limit, Task done);
  // Flushes the tablets in the background; `done` when all are through or `limit` has passed.
  void flush_all(Duration limit, Task done);
  void stop();  // last call: no more replies, the link relinquishes

  // Connections of this node. The session outlives its registration.
  void add_session(Session& session);
  void remove_session(uint64_t id);
  uint64_t new_session_id() { return next_session_++; }

  // The link's side; null until the node has an identity.
  LinkDriver* links() { return links_.get(); }
  // Called on the range loop once the node id is known: `identity` for handshakes.
  std::function<void(const Identity& identity)> on_identity;

  // ---- facts for HTTP, INFO and tests ----
  const Identity& identity() const { return identity_; }
  const NodeOptions& options() const { return options_; }
  const Directory& directory() const { return directory_; }
  // 200 of /readyz: group 0 is known, the ranges exist, and every local one has its replica and knows a leader. A node
  // whose cluster waits for its initial nodes is not ready: it could serve nothing. `why` (may be null) gets what is
  // missing.
  bool ready(std::string* why) const;
  // Stronger, for the demo: group 0 has all its voters too.
  bool cluster_ready(std::string* why) const;
  std::vector<PeerView> peers() const;
  const std::map<RangeId, std::unique_ptr<Replica>>& replicas() const { return replicas_; }
  // Status of a range as its leader confirms it; nullopt: no leader answered.
  void confirmed_status(RangeId range, std::function<void(std::optional<RangeStatus>)> done);
  // Writes one row outside the users' keys into every range through this node. "" = all acknowledged, else why not.
  void probe(std::function<void(std::string)> done);
  // Writes the choices of the default keyspace into the system range, whoever leads it. "" = acknowledged and in this
  // node's directory; else why not, as a reply of an error would say it.
  void change_keyspace(const KeyspaceRecord& record, std::function<void(std::string)> done);
  // By which the replicas of the default keyspace are compacted.
  storage::StrategyKind compaction_strategy() const {
    return directory_.keyspace().strategy.value_or(options_.store.strategy);
  }
  storage::Compression compression() const {
    return directory_.keyspace().compression.value_or(options_.store.compression);
  }
  const NodeMetrics& metrics() const { return metrics_; }
  const ForwardingMetrics& forwarding_metrics() const { return forwarding_.metrics(); }
  const FollowerReadMetrics& follower_read_metrics() const { return follower_reads_.metrics(); }
  const SnapshotMetrics& snapshot_metrics() const { return snapshots_->metrics(); }
  std::vector<SnapshotTransfer> snapshot_transfers() const { return snapshots_->transfers(); }
  const storage::SharedLogMetrics& log_metrics() const { return log_->metrics(); }
  const storage::TabletStoreMetrics& store_metrics() const { return store_->metrics(); }
  // Checks the SSTables of these replicas; see TabletStore::scrub().
  bool start_scrub(const std::vector<RangeId>& ranges);
  bool cancel_scrub();
  const storage::ScrubStatus& scrub_status() const { return store_->scrub_status(); }
  const storage::PacedDeleter& deleter() const { return store_->deleter(); }
  const LargeCommands& large_commands() const { return large_commands_; }
  uint64_t memtable_bytes() const { return store_->memtable_bytes(); }
  storage::Amplification amplification() const { return store_->amplification(); }
  storage::StoreGauges storage_gauges() { return store_->gauges(); }
  bool draining() const { return draining_; }
  bool has_room() const override;
  uint64_t reserve_bytes() const { return reserve_->bytes(); }  // of disk, kept back for when it is full
  bool has_memory() const override { return store_->has_memory(); }
  bool has_memory_for_large() const override;
  bool admits_writes(Replica& replica) override;
  void wrote(Replica& replica, size_t bytes) override;
  size_t forwarding_waiting() const { return forwarding_.waiting(); }
  size_t session_count() const { return hub_.sessions().size(); }
  std::string node_hex(NodeId node) const;

  // TransportEvents of the data transport
  void on_frame(const PeerIdentity& from, Channel channel, SharedBytes frame) override;
  void on_disconnected(NodeId peer, Channel channel, bool refused) override;
  void on_unsent(NodeId peer, Channel channel) override;
  void on_call(std::string request, Transport::CallDone done) override;

  // CommandSink
  void expect(Argv keys, std::span<const uint16_t> slots) override;
  bool execute(const CommandSpec& spec, Argv argv, uint16_t slot, ReplySlot where, int proto,
               RespWriter& reply) override;
  void execute_everywhere(const CommandSpec& spec, Argv argv, ReplySlot where, int proto) override;
  bool scan_at_once(Argv argv, uint64_t session, RespWriter& reply) override;
  bool whole() const override { return directory_.cluster() && directory_.cluster()->whole; }
  RedirectMode redirect_mode() const override { return options_.redirect; }
  bool advertised_here(uint16_t slot, std::string* moved_to) const override;
  bool has_replica(uint16_t slot) const override { return !by_slot_.empty() && by_slot_[slot] != nullptr; }
  Topology topology() const override;
  bool reserve_room(uint64_t session, size_t bytes) override { return large_commands_.reserve(session, bytes, now()); }
  void release_room(uint64_t session) override { large_commands_.release(session); }
  Instant now() const override { return env_.clock->now(); }
  uint64_t wall_us() const override { return env_.clock->wall_ms() * 1000; }
  std::vector<std::pair<std::string, std::vector<std::pair<std::string, std::string>>>> info_sections() const override;
  SessionHub& hub() override { return hub_; }
  const SessionHub& hub() const { return hub_; }
  std::string_view requirepass() const override { return options_.requirepass; }
  // What may change while the node runs.
  void set_requirepass(std::string password) { options_.requirepass = std::move(password); }
  // Of keyspaces that have not chosen, and of the system range.
  void set_compaction_strategy(storage::StrategyKind kind) {
    options_.store.strategy = kind;
    if (store_) follow_keyspace();
  }
  void set_compression(storage::Compression compression) {
    options_.store.compression = compression;
    if (store_) follow_keyspace();
  }
  void set_scrub_rate(uint64_t bytes_per_second) {
    options_.store.scrub_bytes_per_second = bytes_per_second;
    if (store_) store_->set_scrub_rate(bytes_per_second);
  }
  void set_delete_rate(uint64_t bytes_per_second) {
    options_.store.delete_bytes_per_second = bytes_per_second;
    if (store_) store_->set_delete_rate(bytes_per_second);
  }
  void set_scrub_interval(Duration interval) { options_.scrub_interval = interval; }
  void set_redirect(RedirectMode mode) { options_.redirect = mode; }
  void set_wait_for_leader(Duration wait);  // of commands that begin to wait from now on
  // Fields of INFO that only the shell knows (memory, cpu, connections); by section.
  std::function<void(std::map<std::string, std::vector<std::pair<std::string, std::string>>>&)> extend_info;

 private:
  // ReplicaHost
  uint64_t wall_ms() const override { return env_.clock->wall_ms(); }
  uint64_t random() override { return env_.random->next(); }
  storage::SharedLog& log() override { return *log_; }
  void touch(Replica& replica) override;
  void send(NodeId to, RangeId range, ReplicaId from, ReplicaId to_replica, const consensus::Message& message) override;
  void deliver(const ReplyTarget& target, std::string_view reply) override;
  void redispatch(const CommandCall& call, RangeId range) override;
  void status_changed(Replica& replica) override;
  void need_snapshot(Replica& replica, const consensus::NeedSnapshot& need) override;
  void applied(Replica& replica, std::string_view operations) override;
  void event(Replica& replica, const consensus::Event& event) override;
  void replica_failed(Replica& replica, const Error& error) override;
  ReplicaMetrics& metrics() override { return metrics_.replica; }

  // ForwardingHost
  bool leads(RangeId range) override;
  bool execute_here(RangeId range, const CommandCall& call, std::string& reply) override;
  NodeId leader_of(RangeId range) override;
  void learn_leader(RangeId range, NodeId leader) override;
  void send_forward(NodeId to, std::string frame, bool large) override;
  void send_reply(NodeId to, std::string frame) {
    const bool large = frame.size() > kLargeFrameBytes;
    send_forward(to, std::move(frame), large);
  }
  bool route(const CommandCall& call, Instant deadline) override;
  void pump_later(Duration delay) override;

  // FollowerReadsHost
  bool read_only(uint64_t session) const override;
  void ask_read_index(RangeId range, std::function<void(std::string_view)> done) override;
  bool forwarding_busy(uint64_t session, RangeId range) const override { return forwarding_.busy(session, range); }
  void forward(const CommandCall& call, RangeId range) override { forwarding_.add(call.target.id, range, call); }

  // SnapshotHost and FollowerReadsHost
  Replica* find_replica(RangeId range) override;
  void send_bulk(NodeId to, std::string frame) override;
  storage::TabletStore& store() override { return *store_; }
  void when_log_durable(Task task) override;
  uint64_t new_snapshot_id() override { return identity_.incarnation.value << 32 | next_snapshot_++; }
  void snapshot_installed(Replica& replica) override;

  // KeyspaceWalkHost
  void ask_range(Argv argv, uint16_t slot, std::function<void(std::string_view)> done) override;
  bool wanted(uint64_t walk) const override { return hub_.sessions().contains(walk); }

  // LivenessView
  const consensus::PeerLiveness& peer(NodeId node) const override;

  // node.cc
  void note(LogLevel level, std::string_view text) const { env_.log(level, text); }
  void on_log_durable(LogPosition position);
  void on_liveness(const PeerReport& report);
  void on_forward(const PeerIdentity& from, const SharedBytes& frame);
  void run_forward(const PeerIdentity& from, const SharedBytes& frame);
  void run_deferred_forwards();
  // Runs a command of connection `session` for one range: here, or by forwarding.
  bool dispatch(uint64_t session, RangeId range, const CommandCall& call, RespWriter& reply, Instant deadline = kNever);
  // `done` gets the reply of whoever leads the range, once: never inside this call unless that is here.
  void ask_leader(const CommandSpec& spec, RangeId range, std::function<void(std::string_view)> done,
                  std::string_view argument = {});
  void ask(CommandCall call, RangeId range, std::function<void(std::string_view)> done);
  RangeId range_of_slot(uint16_t slot) const;  // 0: not known yet
  bool ranges_known() const { return directory_loaded_ && !by_slot_.empty(); }
  void run_everywhere(const CommandCall& call, Instant deadline);
  void run_walk(const CommandCall& call);
  void room_granted(uint64_t session, size_t bytes);
  uint64_t add_callback(std::function<void(std::string_view)> done);
  bool use_reserve();  // true: the disk was full and there is space now
  void check_reserve();
  void resume_writes();
  double own_write_delay() const { return storage::write_delay_ns_per_byte(store_->write_pressure()); }
  double follower_write_delay(const Replica& replica) const;
  void arm_deadline_timer();
  // Calls `done` once `over` holds, looked at every 10 ms, or `deadline` has passed. Nothing if the node goes first.
  void poll_until(Instant deadline, std::function<bool()> over, Task done);
  bool hand_over_leaderships();
  void tick();

  // node_start.cc
  Result<void> open_storage();
  Result<void> recover_replicas(storage::LogRecovery& recovery);
  Result<void> install_again(RangeId range, const storage::RecoveredGroup& group);
  Result<Replica*> add_replica(const sharding::RangeDescriptor& range, ReplicaId id, consensus::RecoveredState state);
  Result<void> create_replica(const sharding::RangeDescriptor& range);
  void reconcile_ranges();
  Result<void> bootstrap();
  void try_join(size_t attempt);
  void join_answered(Result<std::string> reply, size_t attempt);
  Result<void> adopt_identity();
  void load_directory();
  void directory_changed();
  void update_peers();
  void announce_addresses();

  // node_repair.cc
  void tablet_damaged(RangeId range, const Error& error);
  void ask_for_repairs();

  // node_scrub.cc
  void load_scrub_time();
  void save_scrub_time();
  void scrub_if_due();

  // node_system.cc: what the leader of group 0 plans
  void plan_system();
  bool plan_membership(const consensus::Status& status);
  bool plan_ranges(const consensus::Status& status);
  bool plan_slot_map();
  void follow_keyspace();
  void hand_back();
  void serve_join(const JoinFrame& frame, Transport::CallDone done);
  void write_system(const std::function<void(RowView&)>& effects, std::function<void(bool)> done);
  Replica* system_replica() { return find_replica(kSystemRange); }

  NodeEnvironment env_;
  NodeOptions options_;
  Identity identity_;
  bool fresh_ = false;
  bool log_damaged_ = false;  // below what was synced: no replica of this life votes or serves
  bool stopped_ = false;
  bool draining_ = false;
  std::unique_ptr<storage::FileLock> lock_;
  std::optional<storage::DiskReserve> reserve_;
  std::unique_ptr<storage::SharedLog> log_;
  std::unique_ptr<storage::TabletStore> store_;
  std::unique_ptr<LinkDriver> links_;
  std::unique_ptr<Snapshots> snapshots_;
  std::map<RangeId, std::unique_ptr<Replica>> replicas_;
  std::vector<Replica*> by_slot_;       // local replicas; null elsewhere
  uint64_t scrub_base_ms_ = 0;          // wall time; the interval until the next scrub begins here
  bool scrubs_all_ = false;             // the newest scrub is one of all replicas, and its end was not noted yet
  std::map<RangeId, Instant> repairs_;  // damaged replicas, and when to ask for a snapshot again
  std::map<RangeId, ReplicaId> tombstones_;
  std::map<std::pair<RangeId, NodeId>, ReplicaId>
      heard_replicas_;  // for answers before the configuration is known here

  Directory directory_;
  bool directory_loaded_ = false;
  std::set<std::string, std::less<>> rows_since_load_;  // rows applied while the first load is under way
  std::vector<PeerHint> saved_peers_;
  // Peer addresses that members have announced, (as recorded, as announced): needed to reach them before the record can
  // be written. Void once the record is another one.
  std::map<NodeId, std::pair<std::string, std::string>> announced_;
  Instant announce_at_ = 0;                     // not again before
  uint64_t announcements_ = 0;                  // chooses whom to tell
  bool addresses_accepted_ = false;             // a member has answered that they are recorded
  std::string announce_to_;                     // whom the last answer named; empty: none
  static constexpr double kPicoseconds = 1000;  // of a nanosecond
  std::map<NodeId, PeerReport> liveness_;
  FollowerPressure follower_pressure_;
  std::map<NodeId, uint64_t> reachable_since_ms_;  // since 1970

  Forwarding forwarding_;
  FollowerReads follower_reads_;
  RefusedStreams refused_;
  std::map<RangeId, NodeId> leader_hints_;
  bool pump_armed_ = false;
  std::map<NodeId, std::deque<std::pair<PeerIdentity, SharedBytes>>> deferred_forwards_;  // their replies would pile up
  bool deferred_armed_ = false;

  std::set<RangeId> touched_;
  std::vector<std::pair<const storage::Tablet*, uint64_t>> expected_;  // scratch of expect()
  std::string expected_key_;
  std::set<RangeId> gathering_;  // have effects that are proposed when the log write under way is done
  bool ending_turn_ = false;
  bool transport_dirty_ = false;
  std::vector<Replica*> awaiting_log_;
  std::multimap<LogPosition, Task> after_durable_;
  LogPosition seen_durable_;
  Instant durable_moved_ = 0;

  std::set<std::pair<Instant, RangeId>> deadlines_;
  std::map<RangeId, Instant> deadline_of_;
  TimerId deadline_timer_ = 0;
  Instant deadline_armed_ = kNever;

  SessionHub hub_;
  uint64_t next_session_ = 1;
  LargeCommands large_commands_;
  std::map<uint64_t, std::function<void(std::string_view)>> callbacks_;
  uint64_t next_callback_ = 1;
  uint64_t next_snapshot_ = 1;

  // Group 0's leader
  bool system_write_pending_ = false;
  std::map<NodeId, std::pair<bool, Instant>> reachability_;  // from a quorum of nodes, and since when
  std::map<RangeId, Instant> handover_at_;                   // not again before
  std::set<std::string> joining_;                            // uuids whose join is being written

  NodeMetrics metrics_;
  storage::WritePacer pacer_{kMillisecond};
  bool memory_stalled_ = false;  // writes wait for memory
  bool pacing_ = false;          // a timer will resume_writes()
  RangeId resumed_first_;        // the last time; others first the next time
  std::shared_ptr<bool> alive_;
};

}  // namespace cairn::server
