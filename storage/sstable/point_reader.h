// A stored block that is looked at once.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "storage/sstable/block.h"

namespace cairn::storage {

// Such a block needs no memory of its own: it is read into a buffer that stays, and unpacked into another one. Not
// thread safe.
class PointReader {
 public:
  static constexpr uint32_t kStoredBytesMax = 64u << 10;  // larger blocks are not for it

  // Where to put the stored block. Valid until the next call. Requires: bytes <= kStoredBytesMax.
  std::span<char> buffer(size_t bytes);
  // The rows of the block in its first `size` bytes, valid until the next buffer(). `seed` and `offset` as for
  // open_block().
  Result<const BlockRows*> open(size_t size, uint64_t seed, uint64_t offset, const std::string& path);
  bool holds(const BlockRows* rows) const { return rows == &rows_; }

 private:
  struct Rows : BlockRows {
    using BlockRows::lay_out;
  };
  static constexpr size_t kRawBytesKept = 64u << 10;
  char* raw(size_t bytes);

  std::unique_ptr<char[]> stored_, raw_;
  size_t raw_bytes_ = 0;
  Rows rows_;
};

}  // namespace cairn::storage
