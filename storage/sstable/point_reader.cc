#include "storage/sstable/point_reader.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "storage/sstable/format.h"

namespace cairn::storage {

std::span<char> PointReader::buffer(size_t bytes) {
  CAIRN_ASSERT(bytes <= kStoredBytesMax);
  if (!stored_) stored_ = std::make_unique_for_overwrite<char[]>(kStoredBytesMax);
  return {stored_.get(), bytes};
}

// What an unusually large block needed is not kept.
char* PointReader::raw(size_t bytes) {
  const size_t wanted = std::max(bytes, kRawBytesKept);
  if (raw_bytes_ != wanted) {
    raw_ = std::make_unique_for_overwrite<char[]>(wanted);
    raw_bytes_ = wanted;
  }
  return raw_.get();
}

std::shared_ptr<const void> PointReader::keep(std::string_view& value) {
  std::shared_ptr<char[]> own;
  char* to = nullptr;
  if (value.size() > kSmallValueBytes) {
    own = std::make_shared_for_overwrite<char[]>(value.size());
    to = own.get();
  } else {
    if (!piece_ || kPieceBytes - piece_used_ < value.size()) {
      piece_ = std::make_shared_for_overwrite<char[]>(kPieceBytes);
      piece_used_ = 0;
    }
    to = piece_.get() + piece_used_;
    piece_used_ += value.size();
  }
  std::memcpy(to, value.data(), value.size());
  value = {to, value.size()};
  return own ? own : piece_;
}

Result<const BlockRows*> PointReader::open(size_t size, uint64_t seed, uint64_t offset, const std::string& path) {
  CAIRN_TRY(const StoredBlock block, check_block({stored_.get(), size}, seed, offset, path));
  return open(block, path);
}

Result<const BlockRows*> PointReader::open(const StoredBlock& block, const std::string& path) {
  stored_block_ = block;
  const char* rows = block.payload.data();
  if (block.compression != Compression::kNone) {
    char* const out = raw(block.raw_bytes);
    if (!unpack_block(block, out)) return corrupt(path, "malformed data block");
    rows = out;
  }
  if (!rows_.lay_out(rows, block.raw_bytes)) return corrupt(path, "malformed data block");
  return &rows_;
}

}  // namespace cairn::storage
