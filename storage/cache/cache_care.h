// What a block cache has to take in and to let go of when the tables of a tablet change.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "storage/cache/block_cache.h"

namespace cairn::storage {

// One compaction brings thousands of blocks and ends tables that have as many in the cache: too much for one turn of a
// loop (16 MiB of blocks took one 20 to 50 ms, most of it the first touch of their memory). Here it waits, in order,
// and is done in steps of some 30 us, between which the owner rests. Thread safety: that of the cache.
class CacheCare {
 public:
  explicit CacheCare(BlockCache& cache) : cache_(cache) {}

  // Return true if nothing waited before: somebody has to call step() then.
  bool insert(std::shared_ptr<TableBlocks> table, uint32_t ordinal, std::shared_ptr<const Block> block);
  bool forget(std::shared_ptr<TableBlocks> table);  // nobody asks for its blocks any more
  // Does a little of it. False: nothing is left.
  bool step();

 private:
  static constexpr int kInserts = 8;          // in one step
  static constexpr uint32_t kSlots = 4096;    // looked at in one step
  static constexpr uint32_t kForgotten = 64;  // blocks, in one step
  struct Work {
    std::shared_ptr<TableBlocks> table;
    uint32_t ordinal;                    // of the block; or where to go on with forgetting
    std::shared_ptr<const Block> block;  // null: forget
  };
  bool add(Work work);

  BlockCache& cache_;
  std::deque<Work> work_;
};

}  // namespace cairn::storage
