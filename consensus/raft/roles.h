// What a replica remembers in each role, and what outlives roles.
#pragma once

#include <utility>
#include <vector>

#include "base/types.h"
#include "consensus/progress.h"
#include "consensus/quorum.h"
#include "consensus/read_queue.h"

namespace cairn::consensus::raft {

struct Follower {
  NodeId leader;            // 0 = unknown
  Incarnation incarnation;  // of the leader's node when it was last heard; 0 = the links did not know it
  bool lost = false;        // the links gave the leader up: others may be voted for
};

struct Candidate {
  bool pre = false;
  WriteSeq own_vote;  // durable once this is; until then a won election does not count
  std::vector<std::pair<NodeId, Ballot>> ballots;
};

struct Leader {
  LogIndex noop;  // the first entry of the own term
  std::vector<Progress> peers;
  ReadQueue reads;
  uint64_t round = 0;  // the newest AppendRequest::read_seq
  uint64_t uncommitted_bytes = 0;
  Instant quorum_deadline = kNever;  // CheckQuorum: step down then, unless a quorum is reachable again
  Instant notice_at = kNever;
  Instant committed_at = 0;  // the commit index last rose
  NodeId transfer_to;
  Instant transfer_deadline = kNever;
  bool timeout_now_sent = false;
  bool lease_given_up = false;  // for the rest of this term: a delayed TimeoutNow may still start an election
};

// What this replica promised by acknowledging an append of `node`'s term: to elect nobody else while the
// node link still supports (node, incarnation, epoch) and is not known to have left `term`. Outlives changes
// of our own term and role.
struct Promise {
  NodeId node;  // 0 = none
  Incarnation incarnation;
  SupportEpoch epoch;
  Term term;  // in which the node led
};

// A leader that steps down without a successor asks the others, one after the other, to campaign.
struct Handover {
  std::vector<NodeId> targets;
  size_t next = 0;
  Instant at = kNever;
};

}  // namespace cairn::consensus::raft
