// Bump allocation with 32-bit references. Chunks grow from 4 KiB to 1 MiB, so an idle memtable costs nothing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/assert.h"

namespace cairn::storage {

// Thread safety: one writer; anyone may read once nobody writes any more. Memory is freed with the arena
// only.
class Arena {
 public:
  // 8-byte aligned. `ref`, if wanted, finds the same bytes again through at().
  char* allocate(size_t bytes, uint32_t* ref = nullptr) {
    bytes = (bytes + 7) & ~size_t{7};
    if (bytes > left_) add_chunk(bytes);
    char* at = chunks_[open_].get() + used_in_open_;
    if (ref != nullptr) *ref = static_cast<uint32_t>(open_ << kOffsetBits | used_in_open_ >> 3);
    used_in_open_ += bytes;
    left_ -= bytes;
    used_ += bytes;
    return at;
  }
  char* at(uint32_t ref) const {
    return chunks_[ref >> kOffsetBits].get() + (static_cast<size_t>(ref & ((1u << kOffsetBits) - 1)) << 3);
  }
  uint64_t used() const { return used_; }

 private:
  static constexpr size_t kOffsetBits = 17;  // 8-byte units in a chunk of 1 MiB
  static constexpr size_t kChunkMin = 4u << 10, kChunkMax = 1u << 20;

  void add_chunk(size_t bytes) {
    // A large value has a chunk of its own; only its start can be referred to.
    const size_t size = std::max(bytes, std::min(kChunkMax, kChunkMin << std::min<size_t>(chunks_.size(), 8)));
    CAIRN_ASSERT(chunks_.size() < (size_t{1} << (32 - kOffsetBits)));
    chunks_.push_back(std::make_unique_for_overwrite<char[]>(size));
    open_ = chunks_.size() - 1;
    used_in_open_ = 0;
    left_ = size;
  }

  std::vector<std::unique_ptr<char[]>> chunks_;
  size_t open_ = 0, used_in_open_ = 0, left_ = 0;
  uint64_t used_ = 0;
};

}  // namespace cairn::storage
