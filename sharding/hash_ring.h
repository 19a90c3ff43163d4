// Consistent hashing with virtual nodes (Karger et al. 1997). Where a key falls depends only on the set of
// nodes and their weights, so a node that joins or leaves moves only its own share.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/types.h"

namespace cairn::sharding {

struct RingNode {
  NodeId node;
  uint32_t weight = 1;  // share of the ring relative to the others; 0 = none
};

// Immutable after construction; safe to read on any thread. The same nodes in any order make the same ring.
class HashRing {
 public:
  // Points per unit of weight. 128 keep the largest share of equal nodes within about a quarter of the mean.
  static constexpr uint32_t kVirtualNodes = 128;

  explicit HashRing(std::span<const RingNode> nodes, uint32_t virtual_nodes = kVirtualNodes);

  bool empty() const { return points_.empty(); }
  // The node whose point follows `hash` on the ring; NodeId{0} on an empty ring.
  NodeId owner(uint64_t hash) const;
  // The first `count` different nodes from `hash` on, fewer if the ring has fewer.
  std::vector<NodeId> owners(uint64_t hash, size_t count) const;

 private:
  struct Point {
    uint64_t hash;
    NodeId node;
    friend auto operator<=>(const Point&, const Point&) = default;
  };
  std::vector<Point> points_;  // sorted
  size_t nodes_ = 0;           // with at least one point
};

}  // namespace cairn::sharding
