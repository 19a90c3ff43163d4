// Which blocks of one table are in memory, by ordinal: a lookup finds them without hashing.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "storage/sstable/block.h"

namespace cairn::storage {

class TableBlocks;

// A block in the cache; see BlockCache.
struct CachedBlock {
  std::shared_ptr<TableBlocks> table;
  uint32_t ordinal = 0;
  bool in_main = false;
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
  // What every lookup looks at is one word: a block and whether it was used since it was last looked at, or when it
  // passed by (low bits of that number, see BlockCache; 0: never).
  class Slot {
   public:
    const Block* block() const {
      return (word_ & kPresent) != 0 ? reinterpret_cast<const Block*>(word_ & ~kMarks) : nullptr;
    }
    uint32_t passed() const { return (word_ & kPresent) != 0 ? 0 : static_cast<uint32_t>(word_ >> 32); }
    bool used() const { return (word_ & (kPresent | kUsed)) == (kPresent | kUsed); }
    void hold(const Block* block) { word_ = reinterpret_cast<uintptr_t>(block) | kPresent; }
    void set_used(bool used) { word_ = used ? word_ | kUsed : word_ & ~kUsed; }  // requires: block() != nullptr
    void pass(uint32_t number) { word_ = uint64_t{number} << 32; }               // and lets go of a block

   private:
    static constexpr uint64_t kPresent = 1, kUsed = 2, kMarks = 3;
    static_assert(alignof(Block) > kMarks && sizeof(uintptr_t) == sizeof(uint64_t));
    uint64_t word_ = 0;
  };
  std::vector<Slot> slots_;
  std::vector<std::list<CachedBlock>::iterator> places_;  // in the cache; of those that are there
};

}  // namespace cairn::storage
