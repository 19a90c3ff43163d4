// One row of a stored block, without the rest of it.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "storage/sstable/block.h"

namespace cairn::storage {

// A block that is looked at once needs no memory of its own: it is read into a buffer that stays, and unpacked no
// further than to the end of the row. Not thread safe.
class PointReader {
 public:
  static constexpr uint32_t kStoredBytesMax = 64u << 10;  // larger blocks are not for it

  // Where to put the stored block. Valid until the next call. Requires: bytes <= kStoredBytesMax.
  std::span<char> buffer(size_t bytes);
  // Searches the first `size` bytes there. The answer: the block's rows, good for find(), and where that finds a row,
  // for all about it. Valid until the next buffer(). `seed` and `offset` as for
  // open_block(), `hash` = hash64(key).
  Result<const BlockRows*> open(size_t size, uint64_t seed, uint64_t offset, const std::string& path,
                                std::string_view key, uint64_t hash);
  bool holds(const BlockRows* rows) const { return rows == &rows_; }

 private:
  // Lays out columns over bytes that are not there yet.
  class Rows : public BlockRows {
   public:
    template <class UpTo>
    bool open(const char* raw, size_t bytes, std::string_view key, uint64_t hash, UpTo up_to);
  };
  static constexpr size_t kRawBytesKept = 64u << 10;
  char* raw(size_t bytes);

  std::unique_ptr<char[]> stored_, raw_;
  size_t raw_bytes_ = 0;
  Rows rows_;
};

}  // namespace cairn::storage
