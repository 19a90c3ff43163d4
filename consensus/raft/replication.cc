// The sending side of replication: Raft 5.3 and 5.4.2, flow control, commit notices, CheckQuorum, leadership
// transfer.
#include <algorithm>

#include "base/assert.h"
#include "consensus/raft/raft.h"

namespace cairn::consensus::raft {
namespace {
constexpr uint64_t kEntryOverhead = 32;           // bytes counted per entry beside its payload
constexpr uint64_t kUnreachableRetryFactor = 10;  // a dead peer is asked this much less often
}  // namespace

Progress* Raft::progress_of(NodeId node) {
  Leader* lead = as_leader();
  if (lead == nullptr) return nullptr;
  for (Progress& peer : lead->peers) {
    if (peer.member.node == node) return &peer;
  }
  return nullptr;
}

// ---- proposals ----

void Raft::on_propose(const Proposal& proposal) {
  ProposalResult& result = out_->proposed.emplace();
  if (!may_propose() || proposal.type == EntryType::kConfiguration) return;
  const Leader& lead = *as_leader();
  if (lead.uncommitted_bytes > 0 && lead.uncommitted_bytes + proposal.payload.size() > options_.uncommitted_bytes_max)
    return;
  const LogIndex index = append_own(proposal.type, std::max(proposal.time_ms, last_time_ms_), proposal.payload);
  result = {true, index, hard_.term};
}

LogIndex Raft::append_own(EntryType type, uint64_t time_ms, SharedBytes payload) {
  Entry entry;
  entry.index = log_.last_index().next();
  entry.term = hard_.term;
  entry.type = type;
  entry.time_ms = time_ms;
  entry.payload = std::move(payload);
  const LogIndex index = entry.index;
  as_leader()->uncommitted_bytes += entry.payload.size();
  append_to_log(std::move(entry));
  broadcast();
  return index;
}

// ---- sending ----

void Raft::broadcast() {
  for (Progress& peer : as_leader()->peers) replicate(peer);
}

// Sends what the peer's state allows. Leaves before our own sync: the leader counts itself only when durable.
void Raft::replicate(Progress& peer) {
  switch (peer.state) {
    case Progress::State::kSnapshot: return;
    case Progress::State::kProbe:
      if (!peer.probing) send_entries(peer);
      return;
    case Progress::State::kReplicate:
      while (peer.state == Progress::State::kReplicate && peer.next <= log_.last_index() &&
             !peer.inflight.full(options_.inflight_bytes_max, options_.inflight_messages_max)) {
        const LogIndex before = peer.next;
        send_entries(peer);
        if (peer.next == before) return;
      }
      return;
  }
}

void Raft::send_entries(Progress& peer) {
  if (peer.next < log_.held_from()) return ask_snapshot(peer);
  const bool pipelined = peer.state == Progress::State::kReplicate;
  AppendRequest request;
  request.term = hard_.term;
  request.prev_index = peer.next.prev();
  request.prev_term = *log_.term_at(request.prev_index);
  request.commit = commit_;
  request.read_seq = as_leader()->round;
  const uint64_t limit = pipelined
                             ? std::min(options_.message_bytes_max, peer.inflight.room(options_.inflight_bytes_max))
                             : options_.message_bytes_max;
  uint64_t bytes = 0;
  LogIndex index = peer.next;
  for (; index <= log_.last_index(); index = index.next()) {
    const uint64_t size = log_.at(index).payload.size() + kEntryOverhead;
    const bool alone = index == peer.next && (!pipelined || peer.inflight.empty());  // an oversized entry goes alone
    if (bytes + size > limit && !alone) break;
    bytes += size;
    request.entries.push_back(log_.at(index));
  }
  if (pipelined) {
    if (request.entries.empty()) return;
    peer.inflight.add(index.prev(), bytes);
    peer.next = index;
  } else {
    peer.probing = true;
  }
  peer.told_commit = std::max(peer.told_commit, std::min(commit_, index.prev()));
  send(peer.member.node, std::move(request));
  arm_retry(peer);
}

void Raft::send_empty(Progress& peer) {
  AppendRequest request;
  request.term = hard_.term;
  request.prev_index = std::max(peer.next.prev(), log_.start_index());
  request.prev_term = *log_.term_at(request.prev_index);
  request.commit = commit_;
  request.read_seq = as_leader()->round;
  peer.told_commit = std::max(peer.told_commit, std::min(commit_, request.prev_index));
  send(peer.member.node, std::move(request));
  arm_retry(peer);
}

// An empty append whose answer is waited for.
void Raft::send_round(Progress& peer) {
  peer.round_wanted = ++as_leader()->round;
  send_empty(peer);
}

void Raft::ask_snapshot(Progress& peer) {
  peer.state = Progress::State::kSnapshot;
  peer.inflight.clear();
  peer.probing = false;
  if (peer.snapshot_asked) return;
  peer.snapshot_asked = true;
  out_->need_snapshot.push_back({peer.member.node, peer.member.replica});
  event(Event::Kind::kSnapshotNeeded, peer.member.node, log_.held_from());
}

void Raft::arm_retry(Progress& peer) {
  if (!peer.unanswered()) {
    peer.retry_at = kNever;
  } else if (peer.retry_at == kNever) {
    const uint64_t factor = liveness_.peer(peer.member.node).reachable ? 1 : kUnreachableRetryFactor;
    peer.retry_at = now_ + options_.retry_interval * factor;
  }
}

// Something sent to the peer got no answer. A probe is repeated. A pipeline is not resent: an empty append
// after its end is refused at once if anything before it was lost, and confirms everything if only the
// answers were lost.
void Raft::retry(Progress& peer) {
  peer.retry_at = kNever;
  if (peer.state == Progress::State::kProbe) {
    peer.probing = false;
    replicate(peer);
  } else {
    send_empty(peer);
  }
  arm_retry(peer);
}

// ---- answers ----

void Raft::on_append_reply(NodeId from, const AppendReply& reply) {
  if (reply.term > hard_.term) {
    become_follower(reply.term, {});
    return;
  }
  Leader* lead = as_leader();
  Progress* peer = progress_of(from);
  if (lead == nullptr || peer == nullptr || reply.term < hard_.term) return;
  if (reply.match > log_.last_index() || reply.read_seq > lead->round) return;  // nothing we ever sent
  peer->round_acked = std::max(peer->round_acked, reply.read_seq);
  if (reply.ok) {
    record_support(*peer, reply);
    const PeerLiveness& link = liveness_.peer(from);
    if (link.held.value != 0 && reply.support_epoch < link.held && peer->round_wanted <= peer->round_acked) {
      peer->round_wanted = ++lead->round;  // its range loop has not heard of the new epoch yet: ask again later
    }
    const bool advanced = reply.match > peer->match;
    peer->match = std::max(peer->match, reply.match);
    peer->next = std::max(peer->next, peer->match.next());
    peer->inflight.acknowledge(peer->match);
    if (peer->state == Progress::State::kSnapshot && peer->match.next() >= log_.held_from()) {
      peer->to_probe(peer->match.next());
    }
    if (peer->state == Progress::State::kProbe && peer->match.next() >= peer->next) {
      peer->to_probe(peer->match.next());
      peer->state = Progress::State::kReplicate;
    }
    if (advanced) maybe_commit();
    replicate(*peer);
    maybe_send_timeout_now();
  } else if (peer->state != Progress::State::kSnapshot && reply.read_seq >= peer->probe_round) {
    // A genuine refusal hints below what it refuses and never below what is durable there; all else is late
    // or wrong.
    LogIndex next = log_.last_at_most(reply.hint_index, reply.hint_term).next();
    if (reply.hint_index < log_.start_index() || reply.hint_term < log_.start_term()) {
      next = std::min(next.prev(), reply.hint_index.next());  // before the log's start: only a snapshot helps
    }
    // The peer may have all that was sent, its answers lost, and the log begun behind that meanwhile.
    const bool forgotten = next == peer->next && next < log_.held_from();
    if ((next < peer->next || forgotten) && next > peer->match) {
      peer->to_probe(next);
      peer->probe_round = ++lead->round;
      replicate(*peer);
    }
  }
  peer->retry_at = kNever;
  arm_retry(*peer);
}

void Raft::on_snapshot_sent(const SnapshotSent& input) {
  Progress* peer = progress_of(input.peer);
  if (peer == nullptr || peer->state != Progress::State::kSnapshot) return;
  const LogIndex reached = input.ok ? std::min(input.index, log_.last_index()) : LogIndex{};
  peer->to_probe(std::max(peer->match, reached).next());
  peer->probe_round = ++as_leader()->round;
  if (input.ok) {
    replicate(*peer);
  } else {
    peer->probing = true;  // a pause before the next attempt
    peer->retry_at = kNever;
    arm_retry(*peer);
  }
}

void Raft::maybe_commit() {
  Leader& lead = *as_leader();
  const uint64_t reached = quorum_value(configuration(), [&](NodeId node) -> uint64_t {
    if (node == self_) return durable_index_.value;
    const Progress* peer = progress_of(node);
    return peer == nullptr ? 0 : peer->match.value;
  });
  const LogIndex index = std::min(LogIndex{reached}, log_.last_index());
  if (index <= commit_) return;
  // 5.4.2: counting replicas commits only entries of the own term; older ones come along.
  if (index < lead.noop && !CAIRN_PLANTED("commit-old-term")) return;
  advance_commit(index);
}

// ---- commit notices: the last thing an active group says before it falls silent ----

void Raft::schedule_notice() {
  Leader& lead = *as_leader();
  if (commit_ != log_.last_index()) return;  // the entries still to come will carry it
  if (lead.notice_at != kNever) return;
  for (const Progress& peer : lead.peers) {
    if (peer.state == Progress::State::kReplicate && peer.told_commit < commit_) {
      lead.notice_at = now_ + options_.commit_notice_delay;
      return;
    }
  }
}

// While entries keep committing, the next append says it.
void Raft::send_notices_if_quiet() {
  Leader& lead = *as_leader();
  const Instant quiet_at = lead.committed_at + options_.commit_notice_delay;
  if (now_ < quiet_at) {
    lead.notice_at = quiet_at;
  } else {
    send_notices();
  }
}

void Raft::send_notices() {
  Leader& lead = *as_leader();
  lead.notice_at = kNever;
  for (Progress& peer : lead.peers) {
    if (peer.state == Progress::State::kReplicate && peer.told_commit < std::min(commit_, peer.next.prev())) {
      send_round(peer);
    }
  }
}

// ---- CheckQuorum ----

void Raft::check_quorum_reachable() {
  Leader& lead = *as_leader();
  const bool reachable = 1 == quorum_value(configuration(), [&](NodeId node) -> uint64_t {
                           return node == self_ || liveness_.peer(node).reachable ? 1 : 0;
                         });
  if (reachable) {
    lead.quorum_deadline = kNever;
  } else if (lead.quorum_deadline == kNever) {
    lead.quorum_deadline = now_ + options_.election_timeout;
  }
}

// ---- leadership transfer ----

void Raft::on_transfer(NodeId to) {
  Leader* lead = as_leader();
  if (lead == nullptr || to == self_ || lead->transfer_to == to) return;
  const Progress* peer = progress_of(to);
  const bool voter = peer != nullptr && std::any_of(configuration().voters.begin(), configuration().voters.end(),
                                                    [&](const Member& m) { return m.node == to; });
  if (!voter || lead->transfer_to.value != 0) {
    event(Event::Kind::kTransferFailed, to, {}, voter ? "another transfer is under way" : "not a voter");
    return;
  }
  if (peer->state != Progress::State::kReplicate ||
      log_.last_index().value - peer->match.value > options_.transfer_lag_max) {
    event(Event::Kind::kTransferFailed, to, peer->match, "too far behind");
    return;
  }
  lead->transfer_to = to;
  lead->transfer_deadline = now_ + options_.transfer_timeout;
  lead->timeout_now_sent = false;
  out_->status_changed = true;
  event(Event::Kind::kTransferStarted, to, peer->match);
  maybe_send_timeout_now();
}

void Raft::maybe_send_timeout_now() {
  Leader& lead = *as_leader();
  if (lead.transfer_to.value == 0 || lead.timeout_now_sent) return;
  const Progress* peer = progress_of(lead.transfer_to);
  if (peer == nullptr || peer->match < log_.last_index()) return;
  // From now on another leader may be elected at any time, however late the message arrives.
  lead.lease_given_up = true;
  lead.timeout_now_sent = true;
  send(lead.transfer_to, TimeoutNow{hard_.term});
}

}  // namespace cairn::consensus::raft
