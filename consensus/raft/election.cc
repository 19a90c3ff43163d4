// Elections: Raft 5.2 and 5.4.1, pre-vote and CheckQuorum (thesis 9.6, 6.2), leadership transfer
// (thesis 3.10).
#include <algorithm>

#include "base/assert.h"
#include "consensus/raft/raft.h"

namespace cairn::consensus::raft {

Duration Raft::election_wait() { return options_.election_timeout + random_.below(options_.election_timeout + 1); }

// A voter that an uncommitted change removes still campaigns, without counting itself: it may be the only one
// whose log can win and so complete the change (thesis 4.2.2).
bool Raft::may_campaign() const {
  if (suspect_ || damaged_) return false;
  if (self_is_voter()) return true;
  return configurations_.size() > 1 && configuration_index() > commit_ &&
         configurations_[configurations_.size() - 2].second.is_voter(self_);
}

bool Raft::promise_holds() const {
  if (promise_.node.value == 0) return false;
  const PeerLiveness& peer = liveness_.peer(promise_.node);
  return peer.granted == promise_.epoch && peer.incarnation == promise_.incarnation;
}

// True if electing `asking` could go against a leader that this replica still supports. The supported node
// itself may ask: it does not lead any more.
bool Raft::follows_live_leader(NodeId asking) const {
  if (as_leader()) return true;
  if (CAIRN_PLANTED("vote-while-supporting")) return false;
  if (promise_.node != asking && promise_holds()) return true;
  const auto* follower = std::get_if<Follower>(&role_);
  return follower != nullptr && follower->leader.value != 0 && follower->leader != asking && !follower->lost &&
         may_campaign();
}

void Raft::become_follower(Term term, NodeId leader, std::string reason) {
  CAIRN_ASSERT_MSG(term >= hard_.term, "term went back");
  const Term before_term = hard_.term;
  const NodeId before_leader = this->leader();
  const Role before_role = role();
  if (term > hard_.term) {
    hard_.term = term;
    hard_.voted_for = {};
    hard_.voted_incarnation = {};
    save_hard_state(true);
  }
  if (Leader* lead = as_leader()) {
    lead->reads.fail_all([&](const ReadQueue::Waiting& read) { out_->reads.push_back({read.id, {}, false}); });
    event(Event::Kind::kSteppedDown, leader, {}, std::move(reason));
  }
  role_ = Follower{leader, leader.value == 0 ? Incarnation{} : liveness_.peer(leader).incarnation, false};
  if (term > before_term || leader.value != 0) handover_ = {};
  election_deadline_ = may_campaign() ? std::max(silent_until_, now_ + election_wait()) : kNever;
  if (before_role != Role::kFollower || leader != before_leader) event(Event::Kind::kBecameFollower, leader);
  if (before_role != Role::kFollower || term != before_term || leader != before_leader) out_->status_changed = true;
}

void Raft::step_down(std::string reason) { become_follower(hard_.term, {}, std::move(reason)); }

// The links have withdrawn support from the leader's node: one after the other in the order of the voters, so
// that votes do not split.
void Raft::leader_lost() {
  auto& follower = std::get<Follower>(role_);
  follower.lost = true;
  if (!may_campaign()) return;
  uint64_t rank = 0;
  for (const Member& member : configuration().members()) {
    if (member.node == self_) break;
    if (member.node != follower.leader && configuration().is_voter(member.node)) ++rank;
  }
  const Duration jitter = random_.below(options_.campaign_stagger / 4 + 1);
  election_deadline_ = std::max(silent_until_, now_ + rank * options_.campaign_stagger + jitter);
}

void Raft::on_campaign() {
  if (as_leader() || !may_campaign()) return;
  if (promise_.node != self_ && promise_holds()) {
    event(Event::Kind::kVoteRefused, self_, {}, "supports another leader");
    return;
  }
  campaign(false);
}

void Raft::campaign(bool transfer) {
  if (!may_campaign()) {
    election_deadline_ = kNever;
    return;
  }
  if (in_boot_silence()) {
    election_deadline_ = silent_until_;
    return;
  }
  start_ballot(!transfer, transfer);
}

void Raft::start_ballot(bool pre, bool transfer) {
  election_deadline_ = now_ + election_wait();
  // A vote for oneself would break a promise like any other vote. A pre-vote asks only.
  if (!pre && !transfer && promise_.node != self_ && promise_holds()) return;
  handover_ = {};
  out_->status_changed = true;
  VoteRequest request;
  request.last_index = log_.last_index();
  request.last_term = log_.last_term();
  request.incarnation = incarnation_;
  request.pre = pre;
  request.transfer = transfer;
  if (pre) {
    role_ = Candidate{true, {}, {}};
    request.term = hard_.term.next();
    event(Event::Kind::kBecamePreCandidate);
  } else {
    hard_.term = hard_.term.next();
    hard_.voted_for = self_;
    hard_.voted_incarnation = incarnation_;
    save_hard_state(true);
    role_ = Candidate{false, issued_, {}};
    request.term = hard_.term;
    event(Event::Kind::kBecameCandidate);
  }
  for (const Member& member : configuration().members()) {
    if (member.node != self_ && configuration().is_voter(member.node)) send(member.node, request);
  }
  if (pre) ask_promised();
  check_ballots();
}

// Does the node this replica is bound to still lead? A pre-vote for a term it has is always refused with the
// term it is in: a newer one ends the promise. A leader sends an append along.
void Raft::ask_promised() {
  if (promise_.node.value == 0 || !promise_holds()) return;
  send(promise_.node, VoteRequest{promise_.term, log_.last_index(), log_.last_term(), incarnation_, true, false});
}

void Raft::check_ballots() {
  auto* candidate = std::get_if<Candidate>(&role_);
  if (candidate == nullptr) return;
  const VoteResult result = tally(configuration(), [&](NodeId node) {
    if (node == self_) return Ballot::kYes;
    for (const auto& [voter, ballot] : candidate->ballots) {
      if (voter == node) return ballot;
    }
    return Ballot::kNone;
  });
  if (result == VoteResult::kLost) {
    become_follower(hard_.term, {});
  } else if (result == VoteResult::kWon) {
    if (candidate->pre) {
      start_ballot(false, false);
    } else if (durable_ >= candidate->own_vote) {
      become_leader();
    }
  }
}

void Raft::become_leader() {
  event(Event::Kind::kBecameLeader);
  out_->status_changed = true;
  election_deadline_ = kNever;
  promise_ = {};
  Leader& lead = role_.emplace<Leader>();
  for (LogIndex i = commit_.next(); i <= log_.last_index(); i = i.next()) {
    lead.uncommitted_bytes += log_.at(i).payload.size();
  }
  for (const Member& member : configuration().members()) {
    if (member.node == self_) continue;
    Progress peer;
    peer.member = member;
    peer.next = log_.last_index().next();
    lead.peers.push_back(std::move(peer));
  }
  check_quorum_reachable();
  lead.noop = append_own(EntryType::kNoOp, last_time_ms_, {});
  maybe_commit();
}

void Raft::on_vote_request(NodeId from, const VoteRequest& request) {
  auto refuse = [&](std::string why) {
    event(Event::Kind::kVoteRefused, from, request.last_index, std::move(why));
    send(from, VoteReply{hard_.term, request.pre, false});
  };
  if (request.term < hard_.term) return refuse("old term");
  if (suspect_) return refuse("own storage is damaged");
  if (in_boot_silence()) return refuse("silent after start");
  if (!request.transfer && follows_live_leader(from)) {
    refuse("supports another leader");
    // It has missed who leads; an append tells it, and if its term is newer its answer tells us.
    if (Leader* lead = as_leader(); lead != nullptr) {
      if (Progress* peer = progress_of(from)) send_round(*peer);
    } else if (promise_.node != from) {
      ask_promised();
    }
    return;
  }
  if (request.pre) {
    if (request.term <= hard_.term) return refuse("old term");
    const bool newer_log =
        std::pair(request.last_term, request.last_index) >= std::pair(log_.last_term(), log_.last_index());
    if (!newer_log) return refuse("stale log");
    send(from, VoteReply{request.term, true, true});
    return;
  }
  if (request.term > hard_.term) become_follower(request.term, {});
  const bool same = hard_.voted_for == from && hard_.voted_incarnation == request.incarnation;
  const bool free = hard_.voted_for.value == 0 && leader().value == 0;
  if (!same && !free && !CAIRN_PLANTED("vote-twice")) return refuse("voted for another");
  // 5.4.1: the last term decides, then the length.
  const bool up_to_date =
      std::pair(request.last_term, request.last_index) >= std::pair(log_.last_term(), log_.last_index());
  if (!up_to_date && !CAIRN_PLANTED("stale-log-elected")) return refuse("stale log");
  if (!same) {
    hard_.voted_for = from;
    hard_.voted_incarnation = request.incarnation;
    save_hard_state(true);
  }
  if (std::holds_alternative<Follower>(role_)) {
    election_deadline_ = may_campaign() ? std::max(silent_until_, now_ + election_wait()) : kNever;
  }
  event(Event::Kind::kVoteGranted, from, request.last_index);
  if (CAIRN_PLANTED("vote-before-sync")) {
    send(from, VoteReply{hard_.term, false, true});
  } else {
    send_gated(from, VoteReply{hard_.term, false, true});
  }
}

void Raft::on_vote_reply(NodeId from, const VoteReply& reply) {
  auto* candidate = std::get_if<Candidate>(&role_);
  const bool pre_grant = reply.pre && reply.granted;
  if (!pre_grant && reply.term > hard_.term) {
    become_follower(reply.term, {});
    return;
  }
  if (candidate == nullptr || reply.pre != candidate->pre) return;
  if (reply.granted && reply.term != (reply.pre ? hard_.term.next() : hard_.term)) return;
  if (!reply.granted && reply.term != hard_.term && !reply.pre) return;
  if (!configuration().is_voter(from)) return;
  const Ballot ballot = reply.granted ? Ballot::kYes : Ballot::kNo;
  for (auto& [voter, known] : candidate->ballots) {
    if (voter != from) continue;
    if (known == Ballot::kYes) return;  // a vote is not taken back
    known = ballot;
    check_ballots();
    return;
  }
  candidate->ballots.emplace_back(from, ballot);
  check_ballots();
}

void Raft::on_timeout_now(NodeId from, const TimeoutNow& message) {
  if (message.term < hard_.term) {
    send(from, VoteReply{hard_.term, false, false});  // an old leader that hands over learns that it is done
    return;
  }
  if (as_leader() || suspect_) return;
  if (message.term > hard_.term) become_follower(message.term, from);
  if (leader().value != 0 && leader() != from) return;
  if (in_boot_silence() || !may_campaign()) return;
  campaign(true);
}

// Leaving without a successor: the followers sleep as long as this node lives, so one of them must be woken.
void Raft::hand_over() {
  const Leader& lead = *as_leader();
  std::vector<std::pair<LogIndex, NodeId>> order;
  for (const Progress& peer : lead.peers) {
    const auto& voters = configuration().voters;
    const bool stays = std::find(voters.begin(), voters.end(), peer.member) != voters.end();
    if (stays) order.emplace_back(peer.match, peer.member.node);
  }
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  handover_ = {};
  for (const auto& [match, node] : order) handover_.targets.push_back(node);
  send_handover();
}

void Raft::send_handover() {
  if (handover_.targets.empty()) {
    handover_.at = kNever;
    return;
  }
  send(handover_.targets[handover_.next], TimeoutNow{hard_.term});
  handover_.next = (handover_.next + 1) % handover_.targets.size();
  handover_.at = now_ + options_.retry_interval;
}

}  // namespace cairn::consensus::raft
