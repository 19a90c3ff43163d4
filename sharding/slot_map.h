// The slot map that clients are told: which node to send a slot's commands to. It is a
// replicated, versioned document that changes by placement, not by every election.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace cairn::sharding {

struct SlotOwner {
  uint32_t first_slot = 0;  // inclusive
  uint32_t last_slot = 0;
  RangeId range;
  NodeId owner;  // the advertised node: leads the range in quiet times
  friend bool operator==(const SlotOwner&, const SlotOwner&) = default;
};

struct SlotMap {
  uint64_t version = 0;           // rises by one with every change; 0 = none yet
  std::vector<SlotOwner> owners;  // by first_slot, disjoint

  const SlotOwner* find(uint32_t slot) const;  // nullptr: no range has the slot
  friend bool operator==(const SlotMap&, const SlotMap&) = default;
};

void encode(std::string& out, const SlotMap& map);
// nullopt: malformed bytes, an unknown version, or ranges that overlap or are out of order.
std::optional<SlotMap> decode_slot_map(std::string_view bytes);

// What is known of one range now.
struct RangeFacts {
  uint32_t first_slot = 0;
  uint32_t last_slot = 0;
  RangeId range;
  std::vector<NodeId> replicas;  // voters
  NodeId preferred;              // by placement
  NodeId leader;                 // 0 = unknown
};

// How long a node has been reachable from a quorum of group 0, or not, by the clock of the one who decides.
struct NodeFacts {
  bool reachable = true;
  Duration since = 0;
};

struct SlotMapPolicy {
  Duration down_after = 700 * kMillisecond;  // unreachable this long: its slots are advertised elsewhere
  Duration return_after = 10 * kSecond;  // reachable this long: slots come back. Longer than any flapping worth fearing
};

// The next map, or nullopt if the current one stands. A node of which nothing is known counts as reachable
// since ever. The owner stays unless it is down, lost its replica, or the preferred node is back; a range
// none of whose replicas is up keeps its owner. A substitute is the present leader if that is up, else the
// one that is advertised least.
std::optional<SlotMap> next_slot_map(const SlotMap& current, std::span<const RangeFacts> ranges,
                                     const std::map<NodeId, NodeFacts>& nodes, const SlotMapPolicy& policy);

}  // namespace cairn::sharding
