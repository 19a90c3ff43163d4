// Where the ranges of a new keyspace go. Pure functions: the same nodes give the same plan on every node.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/types.h"

namespace cairn::sharding {

// The 16384 slots in `parts` contiguous pieces, as equal as can be, in order. Requires: 1 <= parts <= 16384.
std::vector<std::pair<uint32_t, uint32_t>> equal_slot_ranges(uint32_t parts);

struct PlacedRange {
  uint32_t first_slot = 0;  // inclusive
  uint32_t last_slot = 0;
  std::vector<NodeId> replicas;  // sorted, different
  NodeId preferred_leader;       // one of them
};

// Replicas come from the hash ring, then as few as possible move so that no node holds two more than another;
// preferred leaders likewise differ by at most one. Ranges have min(replication, nodes) replicas. No nodes:
// an empty plan.
std::vector<PlacedRange> plan_placement(std::span<const NodeId> nodes, uint32_t ranges, uint32_t replication);

}  // namespace cairn::sharding
