#include "storage/sstable/point_reader.h"

#include "base/assert.h"
#include "storage/sstable/unpacker.h"

namespace cairn::storage {

std::span<char> PointReader::buffer(size_t bytes) {
  CAIRN_ASSERT(bytes <= kStoredBytesMax);
  if (!stored_) stored_ = std::make_unique_for_overwrite<char[]>(kStoredBytesMax + Unpacker::kSlack);
  return {stored_.get(), bytes};
}

// What an unusually large block needed is not kept.
char* PointReader::raw(size_t bytes) {
  const size_t wanted = std::max(bytes, kRawBytesKept);
  if (raw_bytes_ < wanted || raw_bytes_ > std::max(wanted, kRawBytesKept)) {
    raw_ = std::make_unique_for_overwrite<char[]>(wanted + Unpacker::kSlack);
    raw_bytes_ = wanted;
  }
  return raw_.get();
}

// `up_to`(n): makes the first n bytes there.
template <class UpTo>
bool PointReader::Rows::open(const char* raw, size_t bytes, std::string_view key, uint64_t hash, UpTo up_to) {
  if (!up_to(std::min(kHeaderBytes, bytes)) || !find_columns(raw, bytes)) return false;
  if (!up_to(keys_begin()) || !check_columns() || !up_to(values_begin())) return false;
  const uint32_t row = find(key, hash);
  return row == rows() || up_to(value_end(row));
}

Result<const BlockRows*> PointReader::open(size_t size, uint64_t seed, uint64_t offset, const std::string& path,
                                           std::string_view key, uint64_t hash) {
  CAIRN_TRY(const StoredBlock block, check_block({stored_.get(), size}, seed, offset, path));
  bool good = false;
  if (block.compression == Compression::kNone) {
    good = rows_.open(block.payload.data(), block.payload.size(), key, hash, [](size_t) { return true; });
  } else {
    char* const out = raw(block.raw_bytes);
    Unpacker unpacker(block.payload, out, block.raw_bytes);
    good = rows_.open(out, block.raw_bytes, key, hash, [&](size_t bytes) { return unpacker.up_to(bytes); });
  }
  if (!good) return corrupt(path, "malformed data block");
  return &rows_;
}

}  // namespace cairn::storage
