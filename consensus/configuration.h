// Membership of one group. A pure function of (configuration at the log's start, log): effective when appended.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace cairn::consensus {

struct Member {
  NodeId node;        // where the replica lives; a node holds at most one replica of a group
  ReplicaId replica;  // which life of it; messages of another replica id are dropped by the driver
  friend auto operator<=>(const Member&, const Member&) = default;
};

// Joint consensus (Raft paper, section 6): while `outgoing` is not empty, elections and commits need a majority of
// `voters` and a majority of `outgoing`. All lists are sorted by node.
struct Configuration {
  std::vector<Member> voters;
  std::vector<Member> outgoing;
  std::vector<Member> learners;

  bool joint() const { return !outgoing.empty(); }
  bool is_voter(NodeId node) const;  // in either half
  bool is_learner(NodeId node) const;
  const Member* find(NodeId node) const;
  std::vector<Member> members() const;  // everyone once, sorted by node
  std::string encode() const;
  static std::optional<Configuration> decode(std::string_view bytes);
  friend bool operator==(const Configuration&, const Configuration&) = default;
};

}  // namespace cairn::consensus
