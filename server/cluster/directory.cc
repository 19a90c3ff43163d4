#include "server/cluster/directory.h"

#include "base/codec.h"
#include "sharding/slot.h"

namespace cairn::server {
namespace {
constexpr uint8_t kVersion = 1;
constexpr char kClusterRow = 'c';
constexpr char kNodeRow = 'n';
constexpr char kRangeRow = 'r';
constexpr char kSlotMapRow = 's';
constexpr char kKeyspaceRow = 'k';
constexpr sharding::KeyspaceId kDefaultKeyspace{0};

std::string numbered(char kind, uint64_t id) {
  std::string key(1, kind);
  put_big_u64(key, id);
  return key;
}
}  // namespace

std::string cluster_row_key() { return std::string(1, kClusterRow); }
std::string node_row_key(NodeId node) { return numbered(kNodeRow, node.value); }
std::string range_row_key(RangeId range) { return numbered(kRangeRow, range.value); }
std::string slot_map_row_key() { return std::string(1, kSlotMapRow); }
std::string keyspace_row_key() { return numbered(kKeyspaceRow, kDefaultKeyspace.value); }

std::string ClusterRecord::encode() const {
  std::string out;
  put_u8(out, kVersion);
  put_bytes(out, uuid);
  put_varint(out, initial_nodes);
  put_u8(out, whole ? 1 : 0);
  put_varint(out, ranges);
  put_varint(out, replication_factor);
  return out;
}
std::optional<ClusterRecord> ClusterRecord::decode(std::string_view bytes) {
  Decoder in(bytes);
  if (in.u8() != kVersion) return std::nullopt;
  ClusterRecord r;
  r.uuid = in.bytes();
  r.initial_nodes = static_cast<uint32_t>(in.varint());
  r.whole = in.u8() != 0;
  r.ranges = static_cast<uint32_t>(in.varint());
  r.replication_factor = static_cast<uint32_t>(in.varint());
  if (!in.ok() || r.uuid.size() != 16 || r.ranges == 0 || r.ranges > sharding::kSlots) return std::nullopt;
  return r;
}

std::string NodeRecord::encode() const {
  std::string out;
  put_u8(out, kVersion);
  put_varint(out, id.value);
  put_bytes(out, uuid);
  put_bytes(out, addresses.peer);
  put_bytes(out, addresses.client);
  put_bytes(out, addresses.admin);
  return out;
}
std::optional<NodeRecord> NodeRecord::decode(std::string_view bytes) {
  Decoder in(bytes);
  if (in.u8() != kVersion) return std::nullopt;
  NodeRecord r;
  r.id = in.number<NodeIdTag>();
  r.uuid = in.bytes();
  r.addresses.peer = in.bytes();
  r.addresses.client = in.bytes();
  r.addresses.admin = in.bytes();
  if (!in.ok() || r.id.value == 0) return std::nullopt;
  return r;
}

std::string KeyspaceRecord::encode() const {
  std::string out;
  put_u8(out, kVersion);
  put_bytes(out, strategy ? storage::to_string(*strategy) : std::string_view());
  put_bytes(out, compression ? storage::to_string(*compression) : std::string_view());
  return out;
}
std::optional<KeyspaceRecord> KeyspaceRecord::decode(std::string_view bytes) {
  Decoder in(bytes);
  if (in.u8() != kVersion) return std::nullopt;
  KeyspaceRecord r;
  const std::string_view name = in.bytes();
  if (!name.empty()) {
    r.strategy = storage::parse_strategy_kind(name);
    if (!r.strategy) return std::nullopt;
  }
  // Earlier records end here.
  const std::string_view packing = in.at_end() ? std::string_view() : in.bytes();
  if (!packing.empty()) {
    r.compression = storage::parse_compression(packing);
    if (!r.compression) return std::nullopt;
  }
  if (!in.ok()) return std::nullopt;
  return r;
}

bool Directory::apply(std::string_view key, std::optional<std::string_view> value) {
  if (key.empty()) return false;
  const uint64_t id = key.size() == 9 ? get_big_u64(key.data() + 1) : 0;
  switch (key.front()) {
    case kClusterRow: {
      if (!value) return false;
      auto record = ClusterRecord::decode(*value);
      if (!record) return false;
      cluster_ = std::move(record);
      return true;
    }
    case kNodeRow: {
      if (!value) {
        nodes_.erase(NodeId{id});
        return true;
      }
      auto record = NodeRecord::decode(*value);
      if (!record || record->id.value != id) return false;
      nodes_[record->id] = std::move(*record);
      return true;
    }
    case kRangeRow: {
      if (!value) {
        ranges_.erase(RangeId{id});
      } else {
        auto record = sharding::decode_range_descriptor(*value);
        if (!record || record->id.value != id) return false;
        ranges_[record->id] = std::move(*record);
      }
      rebuild_slots();
      return true;
    }
    case kSlotMapRow: {
      if (!value) return false;
      auto map = sharding::decode_slot_map(*value);
      if (!map) return false;
      if (map->version < slot_map_.version) return true;
      slot_map_ = std::move(*map);
      owners_.clear();
      for (const auto& entry : slot_map_.owners) owners_[entry.range] = entry.owner;
      return true;
    }
    case kKeyspaceRow: {
      if (id != kDefaultKeyspace.value) return false;
      auto record = value ? KeyspaceRecord::decode(*value) : KeyspaceRecord{};
      if (!record) return false;
      keyspace_ = *record;
      return true;
    }
    default: return false;
  }
}

void Directory::rebuild_slots() {
  by_slot_.assign(sharding::kSlots, RangeId{});
  for (const auto& [id, range] : ranges_) {
    for (uint32_t slot = range.first_slot; slot <= range.last_slot && slot < sharding::kSlots; ++slot)
      by_slot_[slot] = id;
  }
}

const NodeRecord* Directory::node_by_uuid(std::string_view uuid) const {
  for (const auto& [id, node] : nodes_) {
    if (node.uuid == uuid) return &node;
  }
  return nullptr;
}

NodeId Directory::owner(RangeId range) const {
  const auto found = owners_.find(range);
  return found == owners_.end() ? NodeId{} : found->second;
}

}  // namespace cairn::server
