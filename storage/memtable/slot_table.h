// Where the rows of a memtable are, by their hashes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace cairn::storage {

// Extendible hashing (Fagin, Nievergelt, Pippenger, Strong, "Extendible hashing - a fast access method for dynamic
// files", ACM TODS 1979): a directory by the highest bits of the hash leads to segments of open addressing. A full
// segment splits by itself, so no write waits until a table of megabytes was made and filled.
//
// Thread safety: one writer; anyone may read while nobody writes.
class SlotTable {
 public:
  struct Slot {
    uint32_t hash = 0;
    uint32_t ref = 0;  // of the row; 0 = empty
  };

  // The slot of the row for which `same`(ref) holds, or the empty one where it is to be put. Then added() must follow.
  // Requires: reserved().
  template <class Same>
  Slot& place(uint32_t hash, Same same) {
    return const_cast<Slot&>(std::as_const(*this).find(hash, same));
  }
  // The same; an empty slot: there is no such row.
  template <class Same>
  const Slot& find(uint32_t hash, Same same) const {
    const Entry& entry = directory_[index(hash)];
    size_t i = hash & entry.mask;
    while (entry.slots[i].ref != 0 && (entry.slots[i].hash != hash || !same(entry.slots[i].ref)))
      i = (i + 1) & entry.mask;
    return entry.slots[i];
  }
  bool reserved() const { return !directory_.empty(); }
  void reserve();
  // A slot that place() gave was filled. Moves slots.
  void added(uint32_t hash) {
    Segment& segment = *segments_[directory_[index(hash)].segment];
    if (++segment.rows * 4 > segment.size() * 3) make_room(hash);
  }
  void prefetch(uint32_t hash) const {
    if (!directory_.empty()) __builtin_prefetch(&usual_slot(hash));
  }
  // Where the row most likely is.
  const Slot& usual_slot(uint32_t hash) const {
    const Entry& entry = directory_[index(hash)];
    return entry.slots[hash & entry.mask];
  }
  uint64_t bytes() const { return bytes_ + directory_.size() * sizeof(Entry); }

 private:
  struct Segment {
    std::unique_ptr<Slot[]> slots;
    uint32_t mask = 0;
    uint32_t depth = 0;  // bits of the hash that its rows have in common
    uint32_t rows = 0;
    uint32_t size() const { return mask + 1; }
  };
  struct Entry {  // of the directory
    Slot* slots;
    uint32_t mask;
    uint32_t segment;
  };
  static constexpr uint32_t kSlotsMin = 16, kSlotsUsual = 4096;  // of a segment
  static constexpr uint32_t kDepthMax = 16;                      // then segments grow instead

  size_t index(uint32_t hash) const { return static_cast<size_t>(uint64_t{hash} >> (32 - depth_)); }
  void make_room(uint32_t hash);
  void resize(Segment& segment, uint32_t slots);
  void split(uint32_t number, uint32_t hash);
  void publish(uint32_t number, uint32_t hash);
  static void move(const Slot& slot, Segment& to);

  std::vector<Entry> directory_;  // 2^depth_, several may lead to one segment
  uint32_t depth_ = 0;
  std::vector<std::unique_ptr<Segment>> segments_;
  uint64_t bytes_ = 0;  // of slots
};

}  // namespace cairn::storage
