#include "consensus/raft/raft.h"

#include <algorithm>

#include "base/assert.h"

namespace cairn::consensus {

std::unique_ptr<ReplicatedLog> make_raft(NodeId self, ReplicaId replica, Incarnation incarnation,
                                         const RaftOptions& options, const LivenessView& liveness, Random& random,
                                         Instant now, RecoveredState recovered) {
  return std::make_unique<raft::Raft>(self, replica, incarnation, options, liveness, random, now, std::move(recovered));
}

namespace raft {
namespace {
// The commit index is written along with other writes once it has moved this far: it only saves work after a
// restart.
constexpr uint64_t kCommitWriteEvery = 64;

// The term its sender was in; 0 where the message does not say.
Term own_term(const Message& message) {
  if (const auto* m = std::get_if<AppendRequest>(&message)) return m->term;
  if (const auto* m = std::get_if<AppendReply>(&message)) return m->term;
  if (const auto* m = std::get_if<TimeoutNow>(&message)) return m->term;
  if (const auto* m = std::get_if<VoteReply>(&message)) return m->pre && m->granted ? Term{} : m->term;
  const auto& request = std::get<VoteRequest>(message);
  return request.pre && request.term.value > 0 ? request.term.prev() : request.term;
}
}  // namespace

Raft::Raft(NodeId self, ReplicaId replica, Incarnation incarnation, const RaftOptions& options,
           const LivenessView& liveness, Random& random, Instant now, RecoveredState recovered)
    : self_(self),
      replica_(replica),
      incarnation_(incarnation),
      options_(options),
      liveness_(liveness),
      random_(random),
      hard_(recovered.hard_state),
      log_(recovered.start_index, recovered.start_term),
      last_time_ms_(recovered.time_ms),
      suspect_(recovered.suspect),
      damaged_(recovered.damaged) {
  configurations_.emplace_back(recovered.start_index, std::move(recovered.start_configuration));
  // A snapshot of a newer term was marked in the log, and the end came before the term followed. Nobody was voted for
  // in it: a vote would have been written first.
  if (hard_.term < recovered.start_term) hard_ = {recovered.start_term, {}, {}, hard_.commit};
  for (Entry& entry : recovered.entries) {
    if (entry.index != log_.last_index().next() || entry.term < log_.last_term()) {
      suspect_ = true;  // a hole or a step back: what follows cannot be trusted
      break;
    }
    if (entry.type == EntryType::kConfiguration) {
      if (auto decoded = Configuration::decode(entry.payload.view())) {
        configurations_.emplace_back(entry.index, std::move(*decoded));
      } else {
        suspect_ = true;
        break;
      }
    }
    last_time_ms_ = std::max(last_time_ms_, entry.time_ms);
    log_.append(std::move(entry));
  }
  if (std::max(recovered.applied, hard_.commit) > log_.last_index()) suspect_ = true;
  if (hard_.term < log_.last_term()) suspect_ = true;  // an entry is never written before its term
  applied_ = std::min(std::max(recovered.applied, log_.start_index()), log_.last_index());
  commit_ = std::max(applied_, std::min(hard_.commit, log_.last_index()));
  delivered_ = applied_;
  durable_index_ = log_.last_index();
  now_ = now;
  const bool alone = configuration().voters.size() == 1 && !configuration().joint() && self_is_voter();
  if (!alone) silent_until_ = now + options_.boot_silence;
  if (may_campaign()) {
    election_deadline_ = alone ? now : std::max(silent_until_, now + election_wait());
  }
}

void Raft::step(Instant now, const Input& input, Output& out) {
  now_ = std::max(now_, now);
  out_ = &out;
  writes_begin_ = out.writes.size();
  std::visit(
      [this](const auto& in) {
        using T = std::decay_t<decltype(in)>;
        if constexpr (std::is_same_v<T, TimeReached>) on_time();
        if constexpr (std::is_same_v<T, Received>) on_received(in.from, in.message);
        if constexpr (std::is_same_v<T, Propose>) on_propose(in.proposal);
        if constexpr (std::is_same_v<T, StorageDone>) on_storage_done(in.up_to);
        if constexpr (std::is_same_v<T, Applied>) applied_ = std::max(applied_, std::min(in.applied, commit_));
        if constexpr (std::is_same_v<T, Compact>) on_compact(in.up_to);
        if constexpr (std::is_same_v<T, Read>) on_read(in.id);
        if constexpr (std::is_same_v<T, ChangeConfig>) on_change_config(in);
        if constexpr (std::is_same_v<T, Transfer>) on_transfer(in.to);
        if constexpr (std::is_same_v<T, SnapshotSent>) on_snapshot_sent(in);
        if constexpr (std::is_same_v<T, SnapshotInstalled>) on_snapshot_installed(in);
        if constexpr (std::is_same_v<T, LivenessChanged>) on_liveness(in.node);
        if constexpr (std::is_same_v<T, Campaign>) on_campaign();
        if constexpr (std::is_same_v<T, Suspect>) on_suspect();
        if constexpr (std::is_same_v<T, Damaged>) on_damaged();
      },
      input);
  finish_step();
  out.writes_up_to = issued_;
  out_ = nullptr;
}

// ---- writes ----

template <class Op>
void Raft::write(Op op) {
  out_->writes.emplace_back(std::in_place_type<Op>, std::move(op));
  issued_ = issued_.next();
}

void Raft::save_hard_state(bool urgent) {
  hard_.commit = commit_;
  // Term and vote often change one after the other in one step; nothing was gated in between, so one record
  // does.
  if (out_->writes.size() > writes_begin_) {
    if (auto* last = std::get_if<HardStateOp>(&out_->writes.back())) {
      last->state = hard_;
      last->urgent = last->urgent || urgent;
      return;
    }
  }
  write(HardStateOp{hard_, urgent});
}

void Raft::append_to_log(Entry entry) {
  const LogIndex index = entry.index;
  last_time_ms_ = std::max(last_time_ms_, entry.time_ms);
  write(AppendOp{entry});
  not_durable_.emplace_back(issued_, index);
  log_.append(std::move(entry));
}

void Raft::truncate_log(LogIndex from) {
  CAIRN_ASSERT_MSG(from > commit_, "a committed entry would be dropped");
  event(Event::Kind::kLogTruncated, {}, from);
  log_.truncate_from(from);
  while (!not_durable_.empty() && not_durable_.back().second >= from) not_durable_.pop_back();
  durable_index_ = std::min(durable_index_, from.prev());
  bool reverted = false;
  while (configuration_index() >= from && configurations_.size() > 1) {
    configurations_.pop_back();
    reverted = true;
  }
  if (reverted) configuration_changed();
}

void Raft::on_storage_done(WriteSeq up_to) {
  durable_ = std::max(durable_, std::min(up_to, issued_));
  while (!not_durable_.empty() && not_durable_.front().first <= durable_) {
    durable_index_ = std::max(durable_index_, not_durable_.front().second);
    not_durable_.pop_front();
  }
  if (std::holds_alternative<Candidate>(role_)) check_ballots();
  if (as_leader()) maybe_commit();
}

void Raft::on_compact(LogIndex up_to) {
  // Only what the state machine has, and what this disk has: a log may never end before its state machine.
  up_to = std::min({up_to, applied_, delivered_, durable_index_});
  if (up_to <= log_.start_index()) return;
  log_.compact_to(up_to);
  while (configurations_.size() > 1 && configurations_[1].first <= up_to) configurations_.pop_front();
  write(CompactOp{up_to, log_.start_term(), configurations_.front().second.encode()});
}

void Raft::on_snapshot_installed(const SnapshotInstalled& input) {
  auto decoded = Configuration::decode(input.configuration);
  if (!decoded) return;
  const bool mends = damaged_ && input.index == commit_ && log_.term_at(commit_) == input.term;
  if (input.index <= commit_ && !mends) {  // an older state never replaces a newer one; the leader learns what is here
    if (const NodeId to = leader(); to.value != 0 && to != self_) acknowledge(to, commit_, 0);
    return;
  }
  // A log that holds the snapshot's last entry keeps what follows it (7); any other log is worthless.
  const bool keep = log_.term_at(input.index) == input.term;
  if (keep) {
    advance_commit(input.index);
    log_.compact_to(input.index);
    while (configurations_.size() > 1 && configurations_[1].first <= input.index) configurations_.pop_front();
    configurations_.front() = {input.index, std::move(*decoded)};
  } else {
    if (as_leader()) step_down("a snapshot shows entries that this leader never had");
    if (log_.last_index() > log_.start_index()) event(Event::Kind::kLogTruncated, {}, log_.first_index(), "snapshot");
    log_.reset(input.index, input.term);
    configurations_.clear();
    configurations_.emplace_back(input.index, std::move(*decoded));
    not_durable_.clear();
    durable_index_ = input.index;
    commit_ = input.index;
  }
  durable_index_ = std::max(durable_index_, input.index);
  delivered_ = applied_ = input.index;
  last_time_ms_ = std::max(last_time_ms_, input.time_ms);
  write(CompactOp{input.index, input.term, configurations_.front().second.encode()});
  if (hard_.term < input.term) become_follower(input.term, {});  // the term of a committed entry exists
  save_hard_state(false);
  mended();
  configuration_changed();
  if (const NodeId to = leader(); to.value != 0 && to != self_) acknowledge(to, input.index, 0);
}

void Raft::mended() {
  if (!std::exchange(damaged_, false)) return;
  event(Event::Kind::kMended);
  out_->status_changed = true;
  advance_commit(std::min(std::exchange(told_commit_, {}), log_.last_index()));
  if (!as_leader() && !promise_holds() && may_campaign()) {
    election_deadline_ = std::max(silent_until_, now_ + election_wait());
  }
}

// ---- time, links, messages ----

void Raft::on_time() {
  if (Leader* lead = as_leader()) {
    if (now_ >= lead->quorum_deadline) {
      step_down("no quorum is reachable");
      return;
    }
    if (now_ >= lead->transfer_deadline) {
      event(Event::Kind::kTransferFailed, lead->transfer_to, {}, "timed out");
      lead->transfer_to = {};
      lead->transfer_deadline = kNever;
      lead->timeout_now_sent = false;
      out_->status_changed = true;
    }
    if (now_ >= lead->notice_at) send_notices_if_quiet();
    for (Progress& peer : lead->peers) {
      if (now_ >= peer.retry_at) retry(peer);
    }
    return;
  }
  if (now_ >= handover_.at) send_handover();
  if (now_ >= election_deadline_) campaign(false);
}

void Raft::on_liveness(NodeId node) {
  const PeerLiveness& peer = liveness_.peer(node);
  if (Leader* lead = as_leader()) {
    check_quorum_reachable();
    Progress* progress = progress_of(node);
    if (progress == nullptr) return;
    const bool new_life = progress->acknowledged && peer.incarnation > progress->incarnation;
    if (new_life && progress->state != Progress::State::kSnapshot) {
      progress->to_probe(progress->match.next());  // whatever was in flight died with the process
      progress->round_wanted = ++lead->round;
      replicate(*progress);
      if (!progress->probing) send_empty(*progress);
    } else if (peer.held.value != 0 && (!progress->acknowledged || peer.held != progress->epoch)) {
      send_round(*progress);  // its answer under the new epoch brings it back into the lease
    } else if (peer.reachable && progress->unanswered()) {
      retry(*progress);
    }
    return;
  }
  if (promise_.node == node && !promise_holds()) promise_ = {};
  if (auto* follower = std::get_if<Follower>(&role_); follower && follower->leader == node && !follower->lost) {
    const bool new_life = follower->incarnation.value != 0 && peer.incarnation != follower->incarnation;
    const bool had_promise = election_deadline_ == kNever;
    if (new_life || (had_promise && promise_.node.value == 0)) leader_lost();
  }
}

void Raft::on_received(NodeId from, const Message& message) {
  if (from == self_ || from.value == 0) return;
  if (promise_.node == from && own_term(message) > promise_.term) promise_ = {};  // it does not lead that term any more
  if (const auto* m = std::get_if<AppendRequest>(&message)) return on_append_request(from, *m);
  if (const auto* m = std::get_if<AppendReply>(&message)) return on_append_reply(from, *m);
  if (const auto* m = std::get_if<VoteRequest>(&message)) return on_vote_request(from, *m);
  if (const auto* m = std::get_if<VoteReply>(&message)) return on_vote_reply(from, *m);
  if (const auto* m = std::get_if<TimeoutNow>(&message)) return on_timeout_now(from, *m);
}

void Raft::on_suspect() {
  if (suspect_) return;
  suspect_ = true;
  event(Event::Kind::kSuspect);
  lead_no_more("own storage is damaged");
}

// What it says about its log stays true: it may vote, and what it has acknowledged counts. What it would apply could
// not be read, so it applies nothing more: the snapshot that mends it is at its commit index or above.
void Raft::on_damaged() {
  if (damaged_ || suspect_) return;
  damaged_ = true;
  event(Event::Kind::kDamaged);
  lead_no_more("own state machine is damaged");
}

void Raft::lead_no_more(const char* reason) {
  out_->status_changed = true;
  if (as_leader()) {
    hand_over();
    step_down(reason);
  } else if (std::holds_alternative<Candidate>(role_)) {
    become_follower(hard_.term, {});
  }
  election_deadline_ = kNever;
}

// ---- outputs ----

void Raft::advance_commit(LogIndex to) {
  CAIRN_ASSERT_MSG(to <= log_.last_index(), "commit beyond the log");
  if (to <= commit_) return;
  if (Leader* lead = as_leader()) {
    for (LogIndex i = commit_.next(); i <= to; i = i.next()) {
      const uint64_t bytes = log_.at(i).payload.size();
      lead->uncommitted_bytes -= std::min(bytes, lead->uncommitted_bytes);
    }
    lead->committed_at = now_;
  }
  commit_ = to;
}

void Raft::finish_step() {
  if (Leader* lead = as_leader()) {
    leave_joint_if_due();
    release_reads();
    if (!self_is_voter() && configuration_index() <= commit_) {
      send_notices();  // the others must learn that the change is complete
      hand_over();
      step_down("removed from the group");
    } else {
      schedule_notice();
      if (now_ >= lead->notice_at) send_notices_if_quiet();
    }
  }
  for (; delivered_ < commit_; delivered_ = delivered_.next()) {
    out_->committed.push_back(log_.at(delivered_.next()));
  }
  if (out_->writes.size() > writes_begin_ && commit_.value >= hard_.commit.value + kCommitWriteEvery) {
    save_hard_state(false);
  }
  release_log();
}

// The state machine has what is applied. Payloads are kept for peers only: all that one of them lacks, and some more
// for those of a later leader. Who needs older ones gets a snapshot.
void Raft::release_log() {
  if (log_.bytes() <= options_.held_bytes_max) return;
  LogIndex up_to = std::min({applied_, delivered_, durable_index_});
  if (const Leader* lead = as_leader()) {
    for (const Progress& peer : lead->peers) up_to = std::min(up_to, peer.match);
  }
  log_.release(up_to, options_.held_bytes_max);
}

void Raft::send(NodeId to, Message message) { out_->send_now.push_back({to, std::move(message)}); }

void Raft::send_gated(NodeId to, Message message) { out_->send_after.push_back({issued_, {to, std::move(message)}}); }

void Raft::event(Event::Kind kind, NodeId node, LogIndex index, std::string detail) {
  out_->events.push_back({kind, hard_.term, node, index, std::move(detail)});
}

// ---- status ----

Instant Raft::next_deadline() const {
  if (delivered_ < commit_) return now_;  // recovered entries wait to be handed out
  const Leader* lead = as_leader();
  if (lead == nullptr) return std::min(election_deadline_, handover_.at);
  Instant at = std::min({lead->quorum_deadline, lead->notice_at, lead->transfer_deadline});
  for (const Progress& peer : lead->peers) at = std::min(at, peer.retry_at);
  return at;
}

bool Raft::may_propose() const {
  const Leader* lead = as_leader();
  return lead != nullptr && lead->transfer_to.value == 0 && !suspect_ &&
         (applied_ >= lead->noop || CAIRN_PLANTED("serve-before-noop-applied"));
}

Role Raft::role() const {
  if (as_leader()) return Role::kLeader;
  if (const auto* candidate = std::get_if<Candidate>(&role_)) {
    return candidate->pre ? Role::kPreCandidate : Role::kCandidate;
  }
  return Role::kFollower;
}

NodeId Raft::leader() const {
  if (as_leader()) return self_;
  if (const auto* follower = std::get_if<Follower>(&role_)) return follower->leader;
  return {};
}

Status Raft::status() const {
  Status status;
  status.role = role();
  status.term = hard_.term;
  status.leader = leader();
  status.commit = commit_;
  status.applied = applied_;
  status.first_index = log_.first_index();
  status.last_index = log_.last_index();
  status.suspect = suspect_;
  status.damaged = damaged_;
  status.configuration = configuration();
  if (const Leader* lead = as_leader()) {
    status.transferring_to = lead->transfer_to;
    for (const Progress& peer : lead->peers) {
      status.peers.push_back({peer.member, configuration().is_voter(peer.member.node), peer.match, peer.next,
                              peer.state == Progress::State::kSnapshot});
    }
  }
  return status;
}

}  // namespace raft
}  // namespace cairn::consensus
