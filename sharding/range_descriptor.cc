#include "sharding/range_descriptor.h"

#include "base/codec.h"

namespace cairn::sharding {

std::string RangeDescriptor::encode() const {
  std::string out;
  put_u8(out, 1);
  put_varint(out, id.value);
  put_bytes(out, keyspace);
  put_varint(out, keyspace_id.value);
  put_varint(out, first_slot);
  put_varint(out, last_slot);
  put_bytes(out, start_key);
  put_bytes(out, end_key);
  put_varint(out, generation);
  put_u8(out, whole ? 1 : 0);
  put_varint(out, members.size());
  for (const auto& [node, replica] : members) {
    put_varint(out, node.value);
    put_varint(out, replica.value);
  }
  return out;
}

std::optional<RangeDescriptor> RangeDescriptor::decode(std::string_view bytes) {
  Decoder in(bytes);
  if (in.u8() != 1) return std::nullopt;
  RangeDescriptor d;
  d.id = in.number<RangeIdTag>();
  d.keyspace = in.bytes();
  d.keyspace_id = {static_cast<uint32_t>(in.varint())};
  d.first_slot = static_cast<uint32_t>(in.varint());
  d.last_slot = static_cast<uint32_t>(in.varint());
  d.start_key = in.bytes();
  d.end_key = in.bytes();
  d.generation = in.varint();
  d.whole = in.u8() != 0;
  const uint64_t count = in.varint();
  if (count > 1000) return std::nullopt;
  for (uint64_t i = 0; i < count && in.ok(); ++i) {
    const NodeId node = in.number<NodeIdTag>();
    d.members.emplace_back(node, in.number<ReplicaIdTag>());
  }
  if (!in.ok() || !in.at_end()) return std::nullopt;
  return d;
}

}  // namespace cairn::sharding
