// What group 0 says about a range when it creates it, and what the range's own log carries on: bounds,
// generation, members.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/types.h"
#include "sharding/key_encoding.h"

namespace cairn::sharding {

struct RangeDescriptor {
  RangeId id;
  std::string keyspace;  // its name
  KeyspaceId keyspace_id;
  uint32_t first_slot = 0;  // hash keyspaces: inclusive bounds, at most 16383
  uint32_t last_slot = 0;
  std::string start_key;  // row keys: [start_key, end_key); empty end_key = no bound
  std::string end_key;
  uint64_t generation = 0;                            // +1 with every split or merge: orders descriptors of one range
  std::vector<std::pair<NodeId, ReplicaId>> members;  // the initial consensus members, sorted by node
  bool whole = false;                                 // one range that never splits

  // True if the row key lies in the range.
  bool contains(std::string_view row_key) const {
    return row_key >= start_key && (end_key.empty() || row_key < end_key);
  }
  bool contains_slot(uint32_t slot) const { return slot >= first_slot && slot <= last_slot; }
  friend bool operator==(const RangeDescriptor&, const RangeDescriptor&) = default;
};

// Appends the stored form: a version byte, then the fields in order of declaration.
void encode(std::string& out, const RangeDescriptor& descriptor);
// nullopt: malformed bytes, an unknown version, bounds in the wrong order, or members not sorted.
std::optional<RangeDescriptor> decode_range_descriptor(std::string_view bytes);

// A range of a hash keyspace that holds [first_slot, last_slot]: bounds from slots, generation 1.
RangeDescriptor make_slot_range(RangeId id, std::string keyspace, KeyspaceId keyspace_id, uint32_t first_slot,
                                uint32_t last_slot, std::vector<std::pair<NodeId, ReplicaId>> members);

}  // namespace cairn::sharding
