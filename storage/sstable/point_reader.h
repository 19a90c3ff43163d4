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
  // The same of one whose checksum was right, wherever its bytes are. They and the reader keep the rows valid.
  Result<const BlockRows*> open(const StoredBlock& block, const std::string& path);
  const StoredBlock& stored() const { return stored_block_; }  // what was opened last
  void stamp(const RowStamp& stamp) { rows_.stamp(stamp); }    // what open() gave last
  bool holds(const BlockRows* rows) const { return rows == &rows_; }
  // Copies `value` to memory that the answer keeps valid, whatever the reader does then; moves the view to there.
  std::shared_ptr<const void> keep(std::string_view& value);

 private:
  struct Rows : BlockRows {
    using BlockRows::lay_out;
    using BlockRows::stamp;
  };
  static constexpr size_t kRawBytesKept = 64u << 10;
  // Small values lie side by side in pieces of this size: what still holds one holds all of its piece.
  static constexpr size_t kPieceBytes = 4u << 10, kSmallValueBytes = kPieceBytes / 8;
  char* raw(size_t bytes);

  std::unique_ptr<char[]> stored_, raw_;
  size_t raw_bytes_ = 0;
  Rows rows_;
  StoredBlock stored_block_;
  std::shared_ptr<char[]> piece_;
  size_t piece_used_ = 0;
};

}  // namespace cairn::storage
