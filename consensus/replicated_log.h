// The contract between a consensus core and its driver. A core is a pure state machine: no I/O, no clock, no threads,
// no randomness of its own, no logging. Inputs in, outputs out; the same inputs give the same outputs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/random.h"
#include "base/types.h"
#include "consensus/configuration.h"
#include "consensus/message.h"

namespace cairn::consensus {

// What this node's links know about one peer node, as the range loop sees it. Read by cores during step().
struct PeerLiveness {
  Incarnation incarnation;  // newest seen of the peer; 0 = never heard of
  SupportEpoch granted;     // we support the peer under this epoch; 0 = withdrawn, or never granted.
                            // Withdrawal is irrevocable: a later grant has a higher epoch.
  SupportEpoch held;        // the peer supports us under this epoch; 0 = it does not
  Instant held_until = 0;   // by our clock: send time of the newest confirmed heartbeat + promise x (1 - drift)
  bool reachable = false;   // heard from within the suspicion time
};

// The driver's table; `peer` of an unknown node answers a default PeerLiveness.
class LivenessView {
 public:
  virtual ~LivenessView() = default;
  virtual const PeerLiveness& peer(NodeId node) const = 0;
};

// ---- inputs ----
struct TimeReached {};  // Output::next_deadline has come (or just: time has moved)
struct Received {
  NodeId from;
  Message message;
};  // authenticated, replica ids checked, decoded
struct Proposal {
  EntryType type = EntryType::kData;
  uint64_t time_ms = 0;
  SharedBytes payload;
};
struct Propose {
  Proposal proposal;
};  // answered at once through Output::proposed
struct StorageDone {
  WriteSeq up_to;
};  // all writes handed out up to here are durable; never goes back
struct Applied {
  LogIndex applied;
};  // the state machine has applied up to here
struct Compact {
  LogIndex up_to;
};  // entries up to here may be forgotten (durable in the state machine)
struct Read {
  uint64_t id;
};  // a linearizable read without a lease; answered in Output::reads
struct ChangeConfig {
  std::vector<Member> voters;
  std::vector<Member> learners;
};  // the wanted final membership
struct Transfer {
  NodeId to;
};  // hand leadership over
struct SnapshotSent {
  NodeId peer;
  bool ok;
  LogIndex index;
};  // to leader: the stream to `peer` ended
// Durable here, state machine replaced; time_ms: of the newest entry the snapshot covers. The driver replaces nothing
// unless index > commit_index(), or equal to it where the state machine is damaged: older snapshots are ignored, the
// leader is told what is here instead. Mends what Damaged has told.
struct SnapshotInstalled {
  LogIndex index;
  Term term;
  std::string configuration;
  uint64_t time_ms = 0;
};
struct LivenessChanged {
  NodeId node;
};                   // incarnation, epochs or reachability of `node` changed
struct Campaign {};  // start an election now (tests, operator)
struct Suspect {};   // own log is damaged: never vote, lead or acknowledge again
struct Damaged {};   // own state machine is damaged, the log is not: votes and acknowledges, but leads nothing and
                     // commits nothing here until a snapshot was installed

using Input = std::variant<TimeReached, Received, Propose, StorageDone, Applied, Compact, Read, ChangeConfig, Transfer,
                           SnapshotSent, SnapshotInstalled, LivenessChanged, Campaign, Suspect, Damaged>;

// ---- outputs ----
struct HardState {
  Term term;
  NodeId voted_for;
  Incarnation voted_incarnation;
  LogIndex commit;
  friend bool operator==(const HardState&, const HardState&) = default;
};
// One write for the log, in order. Appending at an index that exists drops that entry and all after it.
struct AppendOp {
  Entry entry;
};
struct HardStateOp {
  HardState state;
  bool urgent = true;
};  // urgent: term or vote changed; otherwise only commit
// The log now begins after (index, term), where `configuration` was in force. If the log did not hold that entry with
// that term (a snapshot replaced it), nothing in it survives; otherwise what follows stays.
struct CompactOp {
  LogIndex index;
  Term term;
  std::string configuration;
};
using LogOp = std::variant<AppendOp, HardStateOp, CompactOp>;

struct Envelope {
  NodeId to;
  Message message;
};
struct GatedMessage {
  WriteSeq gate;
  Envelope envelope;
};  // leaves once everything up to `gate` is durable

enum class Role : uint8_t { kFollower, kPreCandidate, kCandidate, kLeader };
std::string_view to_string(Role role);

struct ReadReady {
  uint64_t id;
  LogIndex index;
  bool ok;
};  // ok: serve once applied >= index; else: not leader, retry elsewhere
struct NeedSnapshot {
  NodeId peer;
  ReplicaId replica;
};  // our log does not reach back to what the peer needs
struct ProposalResult {
  bool accepted = false;
  LogIndex index;
  Term term;
};  // not accepted: certainly not in the log

// A fact for logs, metrics and golden files.
struct Event {
  enum class Kind : uint8_t {
    kBecameFollower,
    kBecamePreCandidate,
    kBecameCandidate,
    kBecameLeader,
    kSteppedDown,
    kVoteGranted,
    kVoteRefused,
    kConfigurationChanged,
    kLogTruncated,
    kSnapshotNeeded,
    kTransferStarted,
    kTransferFailed,
    kSuspect,
    kDamaged,
    kMended,
  };
  Kind kind;
  Term term;
  NodeId node;         // of whom, where it applies
  LogIndex index;      // of what, where it applies
  std::string detail;  // for people; may be empty
};

// What the driver owes after a step. send_now and the log write start together; nothing waits for anything else but the
// gates. The driver clears and reuses it.
struct Output {
  std::vector<LogOp> writes;  // the last one is number writes_up_to
  WriteSeq writes_up_to;
  std::vector<Envelope> send_now;  // the network may lose, repeat and reorder them
  std::vector<GatedMessage> send_after;
  std::vector<Entry> committed;  // newly committed, in order, no gaps, contiguous with the last ones
  std::vector<ReadReady> reads;
  std::vector<NeedSnapshot> need_snapshot;
  std::optional<ProposalResult> proposed;  // set by Propose
  std::vector<Event> events;
  bool status_changed = false;  // role, term, leader or configuration changed: look at status()
  void clear();
};

struct PeerStatus {
  Member member;
  bool voter = false;
  LogIndex match;
  LogIndex next;
  bool snapshotting = false;
};
struct Status {
  Role role = Role::kFollower;
  Term term;
  NodeId leader;  // 0 = unknown
  LogIndex commit;
  LogIndex applied;
  LogIndex first_index;  // oldest entry still in the log
  LogIndex last_index;
  bool suspect = false;
  bool damaged = false;
  NodeId transferring_to;  // 0 = none
  Configuration configuration;
  std::vector<PeerStatus> peers;  // leader only; without itself
};

struct RaftOptions {
  Duration election_timeout =
      300 * kMillisecond;  // base of the randomised wait of a replica that knows no leader; [1x, 2x)
  Duration campaign_stagger = 20 * kMillisecond;   // after support was withdrawn: rank among the voters x this
  Duration transfer_timeout = 500 * kMillisecond;  // then the leader goes on by itself
  Duration retry_interval = 200 * kMillisecond;    // an unanswered probe is repeated after this
  Duration boot_silence = 0;                       // after start nobody is voted for (own promises of the last life)
  Duration commit_notice_delay =
      5 * kMillisecond;                    // an idle leader tells the last commit after this; later appends carry it
  uint64_t inflight_bytes_max = 4u << 20;  // per follower, sent and not acknowledged; one entry may exceed it
  uint32_t inflight_messages_max = 256;
  uint64_t message_bytes_max = 256u << 10;     // entries of one append; one entry may exceed it
  uint64_t held_bytes_max = 1u << 20;          // payloads in memory of applied entries that no known peer lacks
  uint64_t uncommitted_bytes_max = 64u << 20;  // leader refuses proposals above this
  uint32_t transfer_lag_max = 128;             // entries a transfer target may be behind
  uint64_t damaged_bytes_max = 16u << 20;      // payloads that a damaged replica takes before it is mended
};

// What recovery read from the log.
struct RecoveredState {
  HardState hard_state;
  LogIndex start_index;  // the log begins after this entry
  Term start_term;
  Configuration start_configuration;  // in force at start_index
  std::vector<Entry> entries;         // start_index + 1 .., dense
  LogIndex applied;                   // the state machine's durable state; >= start_index
  bool suspect = false;
  bool damaged = false;  // as Damaged says
  uint64_t time_ms = 0;  // of the newest entry in the state machine: entries are never stamped earlier
};

// One replica of one group. Not thread safe: one driver, one loop.
class ReplicatedLog {
 public:
  virtual ~ReplicatedLog() = default;
  // Total: every input has a defined answer in every role. `now` never goes back. Adds to `out` (does not clear it).
  virtual void step(Instant now, const Input& input, Output& out) = 0;
  // When TimeReached is wanted; kNever for a replica that sleeps. Valid until the next step.
  virtual Instant next_deadline() const = 0;
  // The only way to a read without a round: leader, own-term no-op applied, lease valid at `now`, no transfer under
  // way.
  virtual bool may_serve(Instant now) const = 0;
  // Leader that accepts proposals: own term durable, own-term no-op applied, no transfer under way.
  virtual bool may_propose() const = 0;
  virtual Status status() const = 0;  // a copy, for the admin API and tests
  // Cheap parts of status().
  virtual Role role() const = 0;
  virtual Term term() const = 0;
  virtual NodeId leader() const = 0;
  virtual LogIndex commit_index() const = 0;
  virtual bool suspect() const = 0;
  virtual bool damaged() const = 0;
  virtual LogIndex last_index() const = 0;
  virtual LogIndex first_index() const = 0;
  virtual LogIndex held_from() const = 0;  // entries before this one can no longer be sent to a peer
  virtual const Configuration& configuration() const = 0;
  // In force at `index`, which is in the log or its start.
  virtual Configuration configuration_at(LogIndex index) const = 0;
  virtual uint64_t log_bytes() const = 0;  // payload bytes of the entries kept in memory
};

// `liveness` and `random` outlive the core. `self` is the node the replica lives on.
std::unique_ptr<ReplicatedLog> make_raft(NodeId self, ReplicaId replica, Incarnation incarnation,
                                         const RaftOptions& options, const LivenessView& liveness, Random& random,
                                         Instant now, RecoveredState recovered);

}  // namespace cairn::consensus
