// Which blocks of one table are in memory, by ordinal: a lookup finds them without hashing.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "storage/cache/packed_queue.h"
#include "storage/cache/use_worth.h"
#include "storage/sstable/block.h"

namespace cairn::storage {

class TableBlocks;

// An unpacked block in the cache; see BlockCache.
struct CachedBlock {
  std::shared_ptr<TableBlocks> table;
  uint32_t ordinal = 0;
  uint32_t order = 0;
  bool in_main = false;
  bool scanned = false;  // what brought it was a scan
  uint64_t bytes = 0;
  std::shared_ptr<const Block> block;
};

// Ownership: shared by the table and those of its blocks that are in the cache. Thread safety: the loop of the cache's
// owner; it may be destroyed on any thread.
class TableBlocks {
 public:
  explicit TableBlocks(uint32_t blocks) : slots_(blocks), places_(blocks) {}

 private:
  friend class BlockCache;
  // What every lookup looks at is one word: a block in one of its forms and how often it was used since it was last
  // looked at (UseWorth), or when it passed by (low bits of that number, see BlockCache; 0: never).
  class Slot {
   public:
    const Block* block() const {
      return (word_ & (kPresent | kPacked)) == kPresent ? reinterpret_cast<const Block*>(word_ & ~kMarks) : nullptr;
    }
    PackedBlock* packed() const {
      return (word_ & (kPresent | kPacked)) == (kPresent | kPacked) ? reinterpret_cast<PackedBlock*>(word_ & ~kMarks)
                                                                    : nullptr;
    }
    bool present() const { return (word_ & kPresent) != 0; }
    uint32_t passed() const { return present() ? 0 : static_cast<uint32_t>(word_ >> 32); }
    void hold(const Block* block) { word_ = reinterpret_cast<uintptr_t>(block) | kPresent; }
    void hold(const PackedBlock* block) { word_ = reinterpret_cast<uintptr_t>(block) | kPresent | kPacked; }
    void pass(uint32_t number) { word_ = uint64_t{number} << 32; }  // and lets go of a block
    // Requires: present().
    uint32_t uses() const { return static_cast<uint32_t>(word_ >> kUsesAt) & UseWorth::kCountMax; }
    void set_uses(uint32_t uses) {
      word_ = (word_ & ~(uint64_t{UseWorth::kCountMax} << kUsesAt)) | uint64_t{uses} << kUsesAt;
    }

   private:
    static constexpr uint64_t kPresent = 1, kPacked = 2, kMarks = 31;
    static constexpr int kUsesAt = 2;
    static_assert((UseWorth::kCountMax << kUsesAt) < kMarks && alignof(Block) > kMarks &&
                  alignof(PackedBlock) > kMarks);
    static_assert(sizeof(uintptr_t) == sizeof(uint64_t));
    uint64_t word_ = 0;
  };
  std::vector<Slot> slots_;
  std::vector<std::list<CachedBlock>::iterator> places_;  // in the cache; of those that are there unpacked
  uint32_t packed_ = 0;                                   // blocks that are there packed
  std::shared_ptr<TableBlocks> self_;                     // they share it, all together
};

}  // namespace cairn::storage
