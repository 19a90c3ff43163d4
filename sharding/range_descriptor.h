// What a range is: its place in the key space and the replicas it was created with.
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
  std::string keyspace;
  KeyspaceId keyspace_id;
  uint32_t first_slot = 0;  // inclusive
  uint32_t last_slot = 0;   // inclusive
  std::string start_key;    // row keys [start_key, end_key)
  std::string end_key;
  uint64_t generation = 1;
  std::vector<std::pair<NodeId, ReplicaId>> members;  // initial configuration, sorted by node
  bool whole = false;       // `sharding: whole`: the only range of its keyspace, never split

  std::string encode() const;
  static std::optional<RangeDescriptor> decode(std::string_view bytes);
  friend bool operator==(const RangeDescriptor&, const RangeDescriptor&) = default;
};

}  // namespace cairn::sharding
