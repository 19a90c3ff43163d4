#include "sharding/slot_map.h"

#include <algorithm>

#include "base/codec.h"
#include "sharding/slot.h"

namespace cairn::sharding {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kOwnerBytesMin = 4;

bool has(const std::vector<NodeId>& nodes, NodeId node) {
  return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

NodeFacts facts_of(const std::map<NodeId, NodeFacts>& nodes, NodeId node) {
  const auto it = nodes.find(node);
  return it == nodes.end() ? NodeFacts{true, kNever} : it->second;
}

}  // namespace

const SlotOwner* SlotMap::find(uint32_t slot) const {
  const auto after = std::upper_bound(owners.begin(), owners.end(), slot,
                                      [](uint32_t s, const SlotOwner& owner) { return s < owner.first_slot; });
  if (after == owners.begin()) return nullptr;
  const SlotOwner& candidate = *(after - 1);
  return slot <= candidate.last_slot ? &candidate : nullptr;
}

void encode(std::string& out, const SlotMap& map) {
  put_u8(out, kVersion);
  put_varint(out, map.version);
  put_varint(out, map.owners.size());
  for (const SlotOwner& owner : map.owners) {
    put_varint(out, owner.first_slot);
    put_varint(out, owner.last_slot);
    put_varint(out, owner.range.value);
    put_varint(out, owner.owner.value);
  }
}

std::optional<SlotMap> decode_slot_map(std::string_view bytes) {
  Decoder in(bytes);
  if (in.u8() != kVersion) return std::nullopt;
  SlotMap map;
  map.version = in.varint();
  const uint64_t count = in.varint();
  if (count > in.remaining() / kOwnerBytesMin) return std::nullopt;
  uint64_t next = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t first = in.varint();
    const uint64_t last = in.varint();
    SlotOwner owner;
    owner.range = in.number<RangeIdTag>();
    owner.owner = in.number<NodeIdTag>();
    if (!in.ok() || first < next || last < first || last >= kSlots) return std::nullopt;
    owner.first_slot = static_cast<uint32_t>(first);
    owner.last_slot = static_cast<uint32_t>(last);
    next = last + 1;
    map.owners.push_back(owner);
  }
  if (!in.ok() || !in.at_end()) return std::nullopt;
  return map;
}

std::optional<SlotMap> next_slot_map(const SlotMap& current, std::span<const RangeFacts> ranges,
                                     const std::map<NodeId, NodeFacts>& nodes, const SlotMapPolicy& policy) {
  const auto down = [&](NodeId node) {
    const NodeFacts facts = facts_of(nodes, node);
    return !facts.reachable && facts.since >= policy.down_after;
  };
  const auto settled = [&](NodeId node) {
    const NodeFacts facts = facts_of(nodes, node);
    return facts.reachable && facts.since >= policy.return_after;
  };
  std::map<RangeId, NodeId> owner_now;
  for (const SlotOwner& owner : current.owners) owner_now[owner.range] = owner.owner;

  std::vector<RangeFacts> sorted(ranges.begin(), ranges.end());
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first_slot < b.first_slot; });

  // First what stays, so that substitutes are spread with all the rest in view.
  std::vector<SlotOwner> owners;
  std::vector<size_t> open;
  std::map<NodeId, uint32_t> advertised;
  for (size_t i = 0; i < sorted.size(); ++i) {
    const RangeFacts& range = sorted[i];
    SlotOwner next{range.first_slot, range.last_slot, range.range, {}};
    const auto known = owner_now.find(range.range);
    const NodeId now = known == owner_now.end() || !has(range.replicas, known->second) ? NodeId{} : known->second;
    const bool preferred_fits = has(range.replicas, range.preferred);
    if (now.value == 0) {
      if (preferred_fits && !down(range.preferred)) next.owner = range.preferred;
    } else if (now != range.preferred && preferred_fits && settled(range.preferred)) {
      next.owner = range.preferred;
    } else if (!down(now)) {
      next.owner = now;
    }
    if (next.owner.value == 0) {
      open.push_back(i);
    } else {
      ++advertised[next.owner];
    }
    owners.push_back(next);
  }
  for (const size_t i : open) {
    const RangeFacts& range = sorted[i];
    NodeId best;
    for (const NodeId node : range.replicas) {
      if (down(node)) continue;
      if (node == range.leader) {
        best = node;
        break;
      }
      if (best.value == 0 || advertised[node] < advertised[best]) best = node;
    }
    if (best.value == 0) {  // nobody is up: moving the slots would help nobody
      const auto known = owner_now.find(range.range);
      best = known != owner_now.end() ? known->second : range.preferred;
    }
    owners[i].owner = best;
    ++advertised[best];
  }
  if (owners == current.owners && current.version > 0) return std::nullopt;
  return SlotMap{current.version + 1, std::move(owners)};
}

}  // namespace cairn::sharding
