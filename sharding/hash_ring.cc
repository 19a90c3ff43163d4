#include "sharding/hash_ring.h"

#include <algorithm>
#include <string>

#include "base/checksum.h"
#include "base/codec.h"

namespace cairn::sharding {

HashRing::HashRing(std::span<const RingNode> nodes, uint32_t virtual_nodes) {
  std::string bytes;
  for (const RingNode& node : nodes) {
    const uint64_t count = uint64_t{node.weight} * virtual_nodes;
    if (count > 0) ++nodes_;
    for (uint64_t i = 0; i < count; ++i) {
      bytes.clear();
      put_u64(bytes, node.node.value);
      put_u64(bytes, i);
      points_.push_back({hash64(bytes), node.node});
    }
  }
  std::sort(points_.begin(), points_.end());
}

NodeId HashRing::owner(uint64_t hash) const {
  if (points_.empty()) return {};
  const auto at = std::lower_bound(points_.begin(), points_.end(), hash,
                                   [](const Point& point, uint64_t value) { return point.hash < value; });
  return at == points_.end() ? points_.front().node : at->node;
}

std::vector<NodeId> HashRing::owners(uint64_t hash, size_t count) const {
  std::vector<NodeId> found;
  if (points_.empty()) return found;
  const size_t wanted = std::min(count, nodes_);
  const auto at = std::lower_bound(points_.begin(), points_.end(), hash,
                                   [](const Point& point, uint64_t value) { return point.hash < value; });
  size_t i = static_cast<size_t>(at - points_.begin());
  for (size_t seen = 0; found.size() < wanted && seen < points_.size(); ++seen, ++i) {
    if (i == points_.size()) i = 0;
    const NodeId node = points_[i].node;
    if (std::find(found.begin(), found.end(), node) == found.end()) found.push_back(node);
  }
  return found;
}

}  // namespace cairn::sharding
