#include "sharding/placement.h"

#include <algorithm>
#include <deque>
#include <map>
#include <string>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/codec.h"
#include "sharding/hash_ring.h"
#include "sharding/slot.h"

namespace cairn::sharding {
namespace {

using Loads = std::map<NodeId, uint32_t>;

bool holds(const PlacedRange& range, NodeId node) {
  return std::find(range.replicas.begin(), range.replicas.end(), node) != range.replicas.end();
}

// Moves single replicas from the fullest to the emptiest node until they differ by at most one. A range that
// is on the one and not on the other exists as long as the one holds more.
void level_replicas(std::vector<PlacedRange>& plan, Loads& loads) {
  const auto less = [](const auto& a, const auto& b) { return a.second < b.second; };
  for (;;) {
    const auto most = std::max_element(loads.begin(), loads.end(), less);
    const auto least = std::min_element(loads.begin(), loads.end(), less);
    if (most->second - least->second <= 1) return;
    for (PlacedRange& range : plan) {
      if (!holds(range, most->first) || holds(range, least->first)) continue;
      std::replace(range.replicas.begin(), range.replicas.end(), most->first, least->first);
      --most->second;
      ++least->second;
      break;
    }
  }
}

// Shifts leadership along a chain of ranges from `from` to the nearest node that leads at most two less.
// Breadth first: the shortest chain. Returns false if there is none. With replicas spread evenly one exists
// until leaders are even.
bool shift_leader(std::vector<PlacedRange>& plan, Loads& loads, NodeId from) {
  std::map<NodeId, std::pair<NodeId, size_t>> reached;  // node -> (from which, by which range)
  std::deque<NodeId> queue{from};
  reached[from] = {from, 0};
  while (!queue.empty()) {
    const NodeId node = queue.front();
    queue.pop_front();
    if (loads[node] + 2 <= loads[from]) {
      --loads[from];
      ++loads[node];
      for (NodeId at = node; at != from; at = reached[at].first) plan[reached[at].second].preferred_leader = at;
      return true;
    }
    for (size_t i = 0; i < plan.size(); ++i) {
      if (plan[i].preferred_leader != node) continue;
      for (const NodeId other : plan[i].replicas) {
        if (reached.emplace(other, std::pair(node, i)).second) queue.push_back(other);
      }
    }
  }
  return false;
}

// Every shift lowers the sum of squared loads, so this ends.
void level_leaders(std::vector<PlacedRange>& plan, Loads& loads) {
  for (bool shifted = true; shifted;) {
    shifted = std::any_of(loads.begin(), loads.end(),
                          [&](const auto& load) { return shift_leader(plan, loads, load.first); });
  }
}

}  // namespace

std::vector<std::pair<uint32_t, uint32_t>> equal_slot_ranges(uint32_t parts) {
  CAIRN_ASSERT(parts >= 1 && parts <= kSlots);
  std::vector<std::pair<uint32_t, uint32_t>> ranges;
  ranges.reserve(parts);
  for (uint32_t i = 0; i < parts; ++i) {
    const uint32_t first = static_cast<uint32_t>(uint64_t{kSlots} * i / parts);
    const uint32_t next = static_cast<uint32_t>(uint64_t{kSlots} * (i + 1) / parts);
    ranges.emplace_back(first, next - 1);
  }
  return ranges;
}

std::vector<PlacedRange> plan_placement(std::span<const NodeId> nodes, uint32_t ranges, uint32_t replication) {
  std::vector<PlacedRange> plan;
  if (nodes.empty() || ranges == 0 || replication == 0) return plan;
  std::vector<RingNode> ring_nodes;
  Loads replicas, leaders;
  for (const NodeId node : nodes) {
    if (replicas.contains(node)) continue;
    ring_nodes.push_back({node, 1});
    replicas[node] = leaders[node] = 0;
  }
  const HashRing ring(ring_nodes);
  for (const auto& [first, last] : equal_slot_ranges(ranges)) {
    std::string bytes;
    put_u32(bytes, first);
    PlacedRange range{first, last, ring.owners(hash64(bytes), replication), {}};
    for (const NodeId node : range.replicas) ++replicas[node];
    plan.push_back(std::move(range));
  }
  level_replicas(plan, replicas);
  for (PlacedRange& range : plan) {
    range.preferred_leader = *std::min_element(range.replicas.begin(), range.replicas.end(),
                                               [&](NodeId a, NodeId b) { return leaders[a] < leaders[b]; });
    ++leaders[range.preferred_leader];
  }
  level_leaders(plan, leaders);
  for (PlacedRange& range : plan) std::sort(range.replicas.begin(), range.replicas.end());
  return plan;
}

}  // namespace cairn::sharding
