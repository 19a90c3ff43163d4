// Bump allocation with 32-bit references. Chunks grow from 4 KiB to 2 MiB, so an idle memtable costs nothing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/assert.h"
#include "storage/memtable/slab_pool.h"

namespace cairn::storage {

// Thread safety: one writer; anyone may read once nobody writes any more. Memory is freed with the arena
// only.
class Arena {
 public:
  // `pool`, if there is one: where the large chunks come from and go to.
  explicit Arena(std::shared_ptr<SlabPool> pool = nullptr) : pool_(std::move(pool)) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() {
    for (const Chunk& chunk : chunks_) {
      if (chunk.of_pool) {
        pool_->give(SlabPool::Slab(chunk.bytes));
      } else {
        delete[] chunk.bytes;
      }
    }
  }

  // 8-byte aligned. `ref`, if wanted, finds the same bytes again through at().
  char* allocate(size_t bytes, uint32_t* ref = nullptr) {
    bytes = (bytes + 7) & ~size_t{7};
    if (bytes > left_) add_chunk(bytes);
    char* at = chunks_[open_].bytes + used_in_open_;
    if (ref != nullptr) *ref = static_cast<uint32_t>(open_ << kOffsetBits | used_in_open_ >> 3);
    used_in_open_ += bytes;
    left_ -= bytes;
    used_ += bytes;
    return at;
  }
  char* at(uint32_t ref) const {
    return chunks_[ref >> kOffsetBits].bytes + (static_cast<size_t>(ref & ((1u << kOffsetBits) - 1)) << 3);
  }
  uint64_t used() const { return used_; }

 private:
  struct Chunk {
    char* bytes;
    bool of_pool;
  };
  static constexpr size_t kOffsetBits = 18;  // 8-byte units in a chunk of 2 MiB
  static constexpr size_t kChunkMin = 4u << 10, kChunkMax = SlabPool::kSlabBytes;

  void add_chunk(size_t bytes) {
    // A large value has a chunk of its own; only its start can be referred to.
    const size_t size = std::max(bytes, std::min(kChunkMax, kChunkMin << std::min<size_t>(chunks_.size(), 9)));
    CAIRN_ASSERT(chunks_.size() < (size_t{1} << (32 - kOffsetBits)));
    const bool of_pool = pool_ != nullptr && size == kChunkMax;
    chunks_.push_back({nullptr, false});
    chunks_.back().bytes = of_pool ? pool_->take().release() : new char[size];
    chunks_.back().of_pool = of_pool;
    open_ = chunks_.size() - 1;
    used_in_open_ = 0;
    left_ = size;
  }

  std::shared_ptr<SlabPool> pool_;
  std::vector<Chunk> chunks_;
  size_t open_ = 0, used_in_open_ = 0, left_ = 0;
  uint64_t used_ = 0;
};

}  // namespace cairn::storage
