#include "sharding/range_descriptor.h"

#include <algorithm>

#include "base/codec.h"
#include "sharding/slot.h"

namespace cairn::sharding {
namespace {
constexpr uint8_t kVersion = 1;
constexpr uint8_t kFlagWhole = 1;
}  // namespace

void encode(std::string& out, const RangeDescriptor& d) {
  put_u8(out, kVersion);
  put_varint(out, d.id.value);
  put_bytes(out, d.keyspace);
  put_varint(out, d.keyspace_id.value);
  put_varint(out, d.first_slot);
  put_varint(out, d.last_slot);
  put_bytes(out, d.start_key);
  put_bytes(out, d.end_key);
  put_varint(out, d.generation);
  put_varint(out, d.members.size());
  for (const auto& [node, replica] : d.members) {
    put_varint(out, node.value);
    put_varint(out, replica.value);
  }
  put_u8(out, d.whole ? kFlagWhole : 0);
}

std::optional<RangeDescriptor> decode_range_descriptor(std::string_view bytes) {
  Decoder in(bytes);
  if (in.u8() != kVersion) return std::nullopt;
  RangeDescriptor d;
  d.id = in.number<RangeIdTag>();
  d.keyspace = in.bytes();
  const uint64_t keyspace_id = in.varint();
  const uint64_t first = in.varint();
  const uint64_t last = in.varint();
  d.start_key = in.bytes();
  d.end_key = in.bytes();
  d.generation = in.varint();
  const uint64_t count = in.varint();
  if (count > in.remaining() / 2) return std::nullopt;
  for (uint64_t i = 0; i < count; ++i) {
    const NodeId node = in.number<NodeIdTag>();
    d.members.emplace_back(node, in.number<ReplicaIdTag>());
  }
  const uint8_t flags = in.u8();
  if (!in.ok() || !in.at_end() || (flags & ~kFlagWhole) != 0) return std::nullopt;
  if (keyspace_id > UINT32_MAX || first > last || last >= kSlots) return std::nullopt;
  if (!d.end_key.empty() && d.end_key <= d.start_key) return std::nullopt;
  const auto not_rising = [](const auto& a, const auto& b) { return a.first >= b.first; };
  if (std::adjacent_find(d.members.begin(), d.members.end(), not_rising) != d.members.end()) return std::nullopt;
  d.keyspace_id.value = static_cast<uint32_t>(keyspace_id);
  d.first_slot = static_cast<uint32_t>(first);
  d.last_slot = static_cast<uint32_t>(last);
  d.whole = (flags & kFlagWhole) != 0;
  return d;
}

RangeDescriptor make_slot_range(RangeId id, std::string keyspace, KeyspaceId keyspace_id, uint32_t first_slot,
                                uint32_t last_slot, std::vector<std::pair<NodeId, ReplicaId>> members) {
  RangeDescriptor d;
  d.id = id;
  d.keyspace = std::move(keyspace);
  d.keyspace_id = keyspace_id;
  d.first_slot = first_slot;
  d.last_slot = last_slot;
  d.start_key = slot_bound(keyspace_id, first_slot);
  d.end_key = slot_bound(keyspace_id, last_slot + 1);
  d.generation = 1;
  std::sort(members.begin(), members.end());
  d.members = std::move(members);
  return d;
}

}  // namespace cairn::sharding
