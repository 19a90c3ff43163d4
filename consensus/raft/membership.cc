// Membership: Raft section 6, joint consensus only. The configuration is a pure function of the log and takes
// effect when its entry is appended.
#include <algorithm>

#include "consensus/raft/raft.h"

namespace cairn::consensus::raft {
namespace {

bool acceptable(const std::vector<Member>& members) {
  for (size_t i = 0; i < members.size(); ++i) {
    if (members[i].node.value == 0 || members[i].replica.value == 0) return false;
    if (i > 0 && members[i - 1].node == members[i].node) return false;
  }
  return true;
}

bool contains(const std::vector<Member>& members, NodeId node) {
  return std::any_of(members.begin(), members.end(), [&](const Member& m) { return m.node == node; });
}

}  // namespace

void Raft::on_change_config(const ChangeConfig& wanted) {
  ProposalResult& result = out_->proposed.emplace();
  Leader* lead = as_leader();
  // One change at a time, and only by a leader that has committed in its own term: then no majority of an
  // older configuration can still be at work.
  if (lead == nullptr || suspect_ || lead->transfer_to.value != 0) return;
  if (commit_ < lead->noop || configuration().joint() || configuration_index() > commit_) return;
  Configuration next;
  next.voters = wanted.voters;
  next.learners = wanted.learners;
  std::sort(next.voters.begin(), next.voters.end());
  std::sort(next.learners.begin(), next.learners.end());
  if (next.voters.empty() || !acceptable(next.voters) || !acceptable(next.learners)) return;
  for (const Member& learner : next.learners) {
    if (contains(next.voters, learner.node)) return;
  }
  // A node that stays keeps its replica id: another life of a replica enters only after the old one has left.
  for (const Member& member : next.members()) {
    const Member* known = configuration().find(member.node);
    if (known != nullptr && known->replica != member.replica) return;
  }
  if (next == configuration()) return;
  if (next.voters != configuration().voters) next.outgoing = configuration().voters;
  append_configuration(std::move(next));
  result = {true, log_.last_index(), hard_.term};
}

void Raft::append_configuration(Configuration next) {
  SharedBytes payload(next.encode());
  const LogIndex index = log_.last_index().next();
  configurations_.emplace_back(index, std::move(next));
  configuration_changed();
  append_own(EntryType::kConfiguration, last_time_ms_, std::move(payload));
  // Reads that wait must be confirmed by a quorum of the configuration now in force.
  Leader& lead = *as_leader();
  if (!lead.reads.empty()) begin_round();
}

void Raft::configuration_changed() {
  out_->status_changed = true;
  const Configuration& now = configuration();
  event(Event::Kind::kConfigurationChanged, {}, configuration_index());
  if (Leader* lead = as_leader()) {
    std::erase_if(lead->peers, [&](const Progress& peer) { return now.find(peer.member.node) == nullptr; });
    for (const Member& member : now.members()) {
      if (member.node == self_ || progress_of(member.node) != nullptr) continue;
      Progress peer;
      peer.member = member;
      peer.next = log_.last_index().next();
      lead->peers.push_back(std::move(peer));
    }
    check_quorum_reachable();
    if (lead->transfer_to.value != 0 && !now.is_voter(lead->transfer_to)) lead->transfer_deadline = now_;
    return;
  }
  if (!may_campaign()) {
    election_deadline_ = kNever;
  } else if (election_deadline_ == kNever && !promise_holds()) {
    election_deadline_ = std::max(silent_until_, now_ + election_wait());
  }
}

// Whoever leads when the joint configuration is committed ends it; nobody has to ask.
void Raft::leave_joint_if_due() {
  const Leader& lead = *as_leader();
  if (!configuration().joint() || configuration_index() > commit_ || commit_ < lead.noop) return;
  Configuration next = configuration();
  next.outgoing.clear();
  append_configuration(std::move(next));
}

Configuration Raft::configuration_at(LogIndex index) const {
  Configuration found = configurations_.front().second;
  for (const auto& [at, configuration] : configurations_) {
    if (at <= index) found = configuration;
  }
  return found;
}

}  // namespace cairn::consensus::raft
