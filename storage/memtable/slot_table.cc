#include "storage/memtable/slot_table.h"

#include <utility>

namespace cairn::storage {

void SlotTable::reserve() {
  segments_.push_back(std::make_unique<Segment>());
  resize(*segments_[0], kSlotsMin);
  directory_.resize(1);
  publish(0, 0);
}

void SlotTable::make_room(uint32_t hash) {
  const uint32_t number = directory_[index(hash)].segment;
  Segment& segment = *segments_[number];
  if (segment.size() < kSlotsUsual || segment.depth == kDepthMax) {
    resize(segment, segment.size() * 2);
    return publish(number, hash);
  }
  split(number, hash);
}

void SlotTable::resize(Segment& segment, uint32_t slots) {
  const auto old = std::exchange(segment.slots, std::make_unique<Slot[]>(slots));
  const uint32_t old_slots = old == nullptr ? 0 : segment.size();
  segment.mask = slots - 1;
  segment.rows = 0;
  for (uint32_t i = 0; i < old_slots; ++i) move(old[i], segment);
  bytes_ += (slots - old_slots) * sizeof(Slot);
}

// By the first bit of the hash that its rows need not have in common.
void SlotTable::split(uint32_t number, uint32_t hash) {
  if (segments_[number]->depth == depth_) {
    std::vector<Entry> twice(directory_.size() * 2);
    for (size_t i = 0; i < twice.size(); ++i) twice[i] = directory_[i / 2];
    directory_ = std::move(twice);
    ++depth_;
  }
  Segment& low = *segments_[number];
  const auto old = std::move(low.slots);
  const uint32_t old_slots = low.size();
  const uint32_t bit = 1u << (31 - low.depth);
  const auto high_number = static_cast<uint32_t>(segments_.size());
  segments_.push_back(std::make_unique<Segment>());
  Segment& high = *segments_[high_number];
  high.depth = ++low.depth;
  for (Segment* half : {&low, &high}) {
    half->slots = std::make_unique<Slot[]>(old_slots);
    half->mask = old_slots - 1;
    half->rows = 0;
  }
  for (uint32_t i = 0; i < old_slots; ++i) move(old[i], (old[i].hash & bit) != 0 ? high : low);
  bytes_ += old_slots * sizeof(Slot);
  publish(number, hash & ~bit);
  publish(high_number, hash | bit);
}

// Makes the directory lead to a segment for everything that begins as `hash`.
void SlotTable::publish(uint32_t number, uint32_t hash) {
  const Segment& segment = *segments_[number];
  const size_t entries = size_t{1} << (depth_ - segment.depth);
  const size_t first = index(hash) & ~(entries - 1);
  for (size_t i = 0; i < entries; ++i) directory_[first + i] = {segment.slots.get(), segment.mask, number};
}

void SlotTable::move(const Slot& slot, Segment& to) {
  if (slot.ref == 0) return;
  uint32_t i = slot.hash & to.mask;
  while (to.slots[i].ref != 0) i = (i + 1) & to.mask;
  to.slots[i] = slot;
  ++to.rows;
}

}  // namespace cairn::storage
