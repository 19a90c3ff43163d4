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
  explicit TableBlocks(uint32_t blocks) : slots_(blocks) {}

 private:
  friend class BlockCache;
  struct Slot {
    const Block* block = nullptr;
    std::list<CachedBlock>::iterator place;  // if there is a block
    uint32_t passed = 0;                     // low bits of the number of its passing by, see BlockCache; 0: never
    bool used = false;                       // since it was last looked at
  };
  std::vector<Slot> slots_;
};

}  // namespace cairn::storage
