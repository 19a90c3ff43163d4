#pragma once
#include <algorithm>
#include <vector>
#include "base/types.h"
namespace cairn::sharding {
struct PlacedRange { uint32_t first_slot = 0, last_slot = 0; std::vector<NodeId> replicas; NodeId preferred_leader; };
inline std::vector<PlacedRange> place_ranges(const std::vector<NodeId>& nodes, uint32_t ranges, uint32_t rf) {
  std::vector<PlacedRange> out;
  for (uint32_t i = 0; i < ranges; ++i) {
    PlacedRange r; r.first_slot = 16384 * i / ranges; r.last_slot = 16384 * (i + 1) / ranges - 1;
    for (size_t k = 0; k < std::min<size_t>(rf, nodes.size()); ++k) r.replicas.push_back(nodes[(i + k) % nodes.size()]);
    r.preferred_leader = r.replicas.front();
    std::sort(r.replicas.begin(), r.replicas.end());
    out.push_back(r);
  }
  return out;
}
}
