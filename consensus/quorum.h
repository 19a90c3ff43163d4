// Quorum arithmetic: majorities and joint majorities (Raft paper, section 6). Pure templates over a value per
// node.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/plant.h"
#include "base/types.h"
#include "consensus/configuration.h"

namespace cairn::consensus {

inline constexpr size_t majority(size_t voters) { return voters / 2 + 1; }

// The largest number that a majority of `voters` reaches: the majority-th largest of value(node). No voters:
// no limit.
template <class Value>
uint64_t majority_value(const std::vector<Member>& voters, Value&& value) {
  const size_t n = voters.size();
  if (n == 0) return std::numeric_limits<uint64_t>::max();
  std::array<uint64_t, 9> few;
  std::vector<uint64_t> many;
  uint64_t* values = few.data();
  if (n > few.size()) {
    many.resize(n);
    values = many.data();
  }
  for (size_t i = 0; i < n; ++i) {  // insertion sort, descending: groups are small
    const uint64_t v = value(voters[i].node);
    size_t k = i;
    for (; k > 0 && values[k - 1] < v; --k) values[k] = values[k - 1];
    values[k] = v;
  }
  return values[majority(n) - 1];
}

// The same for the configuration in force: while it is joint, both majorities must reach the number.
template <class Value>
uint64_t quorum_value(const Configuration& configuration, Value&& value) {
  const uint64_t incoming = majority_value(configuration.voters, value);
  if (!configuration.joint() || CAIRN_PLANTED("joint-one-majority")) return incoming;
  return std::min(incoming, majority_value(configuration.outgoing, value));
}

enum class Ballot : uint8_t { kNone, kYes, kNo };
enum class VoteResult : uint8_t { kPending, kWon, kLost };

// vote(node) -> Ballot. Lost: the missing ballots could not make a quorum any more.
template <class Vote>
VoteResult tally(const Configuration& configuration, Vote&& vote) {
  if (configuration.voters.empty()) return VoteResult::kLost;
  // 2 = yes, 1 = not heard, 0 = no: a quorum at 2 has won, a quorum below 1 cannot win.
  const uint64_t level = quorum_value(configuration, [&](NodeId node) -> uint64_t {
    switch (vote(node)) {
      case Ballot::kYes: return 2;
      case Ballot::kNone: return 1;
      case Ballot::kNo: return 0;
    }
    return 0;
  });
  return level == 2 ? VoteResult::kWon : level == 1 ? VoteResult::kPending : VoteResult::kLost;
}

}  // namespace cairn::consensus
