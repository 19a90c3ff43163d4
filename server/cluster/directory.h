// The system range's content, decoded: members, ranges, advertised slot map. Group 0 is the authority; every node holds
// a replica of it and keeps this picture of what it has applied.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "server/cluster/peer_frames.h"
#include "sharding/range_descriptor.h"
#include "sharding/slot_map.h"
#include "storage/compaction/options.h"
#include "storage/compression.h"

namespace cairn::server {

inline constexpr RangeId kSystemRange{0};

struct ClusterRecord {
  std::string uuid;            // 16 bytes
  uint32_t initial_nodes = 1;  // members to wait for before the ranges are created
  bool whole = false;          // `sharding: whole` for the default keyspace
  uint32_t ranges = 16;        // of the default keyspace at creation
  uint32_t replication_factor = 3;
  std::string encode() const;
  static std::optional<ClusterRecord> decode(std::string_view bytes);
};

struct NodeRecord {
  NodeId id;
  std::string uuid;  // of its IDENTITY
  NodeAddresses addresses;
  std::string encode() const;
  static std::optional<NodeRecord> decode(std::string_view bytes);
};

// What the owner of the default keyspace has chosen; what it has not, each node's configuration says.
struct KeyspaceRecord {
  std::optional<storage::StrategyKind> strategy;
  std::optional<storage::Compression> compression = std::nullopt;
  std::string encode() const;
  static std::optional<KeyspaceRecord> decode(std::string_view bytes);
  friend bool operator==(const KeyspaceRecord&, const KeyspaceRecord&) = default;
};

// Keys of the system range's rows.
std::string cluster_row_key();
std::string node_row_key(NodeId node);
std::string range_row_key(RangeId range);
std::string keyspace_row_key();
std::string slot_map_row_key();

class Directory {
 public:
  // Takes over one row; `value` nullopt: removed. False: malformed (ignored; the caller reports it).
  bool apply(std::string_view key, std::optional<std::string_view> value);
  void clear() { *this = {}; }

  const std::optional<ClusterRecord>& cluster() const { return cluster_; }
  const std::map<NodeId, NodeRecord>& nodes() const { return nodes_; }
  const std::map<RangeId, sharding::RangeDescriptor>& ranges() const { return ranges_; }
  const sharding::SlotMap& slot_map() const { return slot_map_; }
  const KeyspaceRecord& keyspace() const { return keyspace_; }

  const NodeRecord* node_by_uuid(std::string_view uuid) const;
  // Range of a slot of the default keyspace; id 0: none yet.
  RangeId range_of_slot(uint16_t slot) const { return by_slot_.empty() ? RangeId{} : by_slot_[slot]; }
  // Advertised owner of a range; 0 = none.
  NodeId owner(RangeId range) const;

 private:
  void rebuild_slots();
  std::optional<ClusterRecord> cluster_;
  std::map<NodeId, NodeRecord> nodes_;
  std::map<RangeId, sharding::RangeDescriptor> ranges_;
  sharding::SlotMap slot_map_;
  KeyspaceRecord keyspace_;
  std::map<RangeId, NodeId> owners_;  // of slot_map_
  std::vector<RangeId> by_slot_;
};

}  // namespace cairn::server
