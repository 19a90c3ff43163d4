#include "storage/log/group_table.h"

#include <algorithm>

namespace cairn::storage {

void GroupTable::note(const Record& record, uint64_t segment) {
  Group& group = groups_[record.group];
  switch (record.kind) {
    case RecordKind::kAppend:
      if (!group.chunks.empty() && group.chunks.back().high >= record.index) drop_from(group, record.index);
      add_entry(group, record.index, segment);
      break;
    case RecordKind::kPutSlot: add_entry(group, record.index, segment); break;
    case RecordKind::kTruncateFrom: drop_from(group, record.index); break;
    case RecordKind::kHardState:
      group.hard_state = record.hard_state;
      place_small(group, kHard, segment);
      break;
    case RecordKind::kSnapshotMark:
    case RecordKind::kCompactTo:
    case RecordKind::kStartRewritten:
      if (record.index < group.start.index) break;
      group.start = {record.index, record.ballot, std::string(record.bytes)};
      if (record.kind != RecordKind::kCompactTo) group.snapshot_id = record.snapshot_id;
      place_small(group, kStart, segment);
      drop_up_to(group, record.index);
      break;
    case RecordKind::kGroupCreate:
      group.replica = record.replica;
      group.descriptor = record.bytes;
      place_small(group, kCreate, segment);
      break;
    case RecordKind::kGroupTombstone:
      group.tombstone = std::max(group.tombstone, record.replica);
      place_small(group, kTombstone, segment);
      if (record.replica < group.replica) break;
      for (const Small which : {kHard, kStart, kCreate}) place_small(group, which, 0);
      drop_chunks(group);
      group.hard_state = {};
      group.start = {};
      group.snapshot_id = 0;
      group.replica = {};
      group.descriptor.clear();
      break;
    default: break;
  }
}

bool GroupTable::holds_entries(uint64_t segment) const {
  const auto it = pins_.find(segment);
  return it != pins_.end() && it->second.chunks > 0;
}

bool GroupTable::holds_small_records(uint64_t segment) const {
  const auto it = pins_.find(segment);
  return it != pins_.end() && it->second.small > 0;
}

std::vector<Record> GroupTable::small_records(uint64_t segment) const {
  std::vector<RangeId> ids;
  for (const auto& [id, group] : groups_) {
    if (std::ranges::find(group.place, segment) != group.place.end()) ids.push_back(id);
  }
  std::ranges::sort(ids);  // the table has no order of its own
  std::vector<Record> records;
  for (const RangeId id : ids) {
    const Group& group = groups_.at(id);
    if (group.place[kTombstone] == segment) {
      records.push_back({.kind = RecordKind::kGroupTombstone, .group = id, .replica = group.tombstone});
    }
    if (group.place[kCreate] == segment) {
      records.push_back(
          {.kind = RecordKind::kGroupCreate, .group = id, .bytes = group.descriptor, .replica = group.replica});
    }
    if (group.place[kStart] == segment) {
      records.push_back({.kind = RecordKind::kStartRewritten,
                         .group = id,
                         .index = group.start.index,
                         .ballot = group.start.ballot,
                         .bytes = group.start.configuration,
                         .snapshot_id = group.snapshot_id});
    }
    if (group.place[kHard] == segment) {
      records.push_back({.kind = RecordKind::kHardState, .group = id, .hard_state = group.hard_state});
    }
  }
  return records;
}

std::vector<RangeId> GroupTable::groups_up_to(uint64_t segment) const {
  std::vector<RangeId> ids;
  for (const auto& [id, group] : groups_) {
    if (!group.chunks.empty() && group.chunks.front().segment <= segment) ids.push_back(id);
  }
  std::ranges::sort(ids);
  return ids;
}

void GroupTable::add_entry(Group& group, LogIndex index, uint64_t segment) {
  if (index <= group.start.index) return;
  if (!group.chunks.empty() && group.chunks.back().segment == segment) {
    Chunk& chunk = group.chunks.back();
    chunk.high = std::max(chunk.high, index);
    chunk.low = std::min(chunk.low, index);
    return;
  }
  group.chunks.push_back({segment, index, index});
  ++pins_[segment].chunks;
}

void GroupTable::drop_from(Group& group, LogIndex index) {
  while (!group.chunks.empty() && group.chunks.back().low >= index) {
    --pins_[group.chunks.back().segment].chunks;
    group.chunks.pop_back();
  }
  if (!group.chunks.empty() && group.chunks.back().high >= index) group.chunks.back().high = index.prev();
}

void GroupTable::drop_up_to(Group& group, LogIndex index) {
  size_t dead = 0;
  while (dead < group.chunks.size() && group.chunks[dead].high <= index) --pins_[group.chunks[dead++].segment].chunks;
  group.chunks.erase(group.chunks.begin(), group.chunks.begin() + static_cast<ptrdiff_t>(dead));
}

void GroupTable::drop_chunks(Group& group) {
  for (const Chunk& chunk : group.chunks) --pins_[chunk.segment].chunks;
  group.chunks.clear();
}

void GroupTable::place_small(Group& group, Small which, uint64_t segment) {
  if (group.place[which] == segment) return;
  if (group.place[which] != 0) --pins_[group.place[which]].small;
  if (segment != 0) ++pins_[segment].small;
  group.place[which] = segment;
}

}  // namespace cairn::storage
