#include "storage/sstable/sstable.h"

#include <algorithm>

#include "base/checksum.h"
#include "base/codec.h"
#include "storage/sstable/filter.h"

namespace cairn::storage {

Result<std::shared_ptr<Sstable>> Sstable::open(FileSystem& fs, const std::string& path, uint64_t number) {
  auto table = std::shared_ptr<Sstable>(new Sstable(fs, path, number));
  CAIRN_TRY_VOID(table->load());
  return table;
}

Sstable::~Sstable() {
  file_.reset();
  if (retired_.load(std::memory_order_relaxed)) (void)fs_.remove(path_);  // garbage collection finds it otherwise
}

Result<void> Sstable::load() {
  CAIRN_TRY(file_, fs_.open(path_, OpenMode::kRead));
  CAIRN_TRY(file_bytes_, file_->size());
  if (file_bytes_ < kFooterBytes) return corrupt(path_, "shorter than a footer");
  char raw[kFooterBytes];
  CAIRN_TRY(const size_t got, file_->read_at(file_bytes_ - kFooterBytes, raw));
  CAIRN_TRY(const Footer footer, parse_footer({raw, got}, path_));
  seed_ = footer.seed;
  CAIRN_TRY(const std::string properties, read_meta(footer.properties));
  CAIRN_TRY(properties_, parse_properties(properties, path_));
  properties_.info.bytes = file_bytes_;
  CAIRN_TRY(const std::string index, read_meta(footer.index));
  CAIRN_TRY_VOID(parse_index(index));
  if (properties_.filter.size != 0) {
    CAIRN_TRY(filter_, read_meta(properties_.filter));
  }
  if (properties_.prefix_tombstones.size != 0) {
    CAIRN_TRY(const std::string list, read_meta(properties_.prefix_tombstones));
    CAIRN_TRY(prefixes_, parse_prefix_tombstones(list, path_));
  }
  return {};
}

Result<std::string> Sstable::read_meta(const BlockHandle& handle) const {
  if (handle.offset > file_bytes_ || handle.size > file_bytes_ - handle.offset) {
    return corrupt(path_, "a block lies outside of the file");
  }
  std::string stored(handle.size, '\0');
  CAIRN_TRY(const size_t got, file_->read_at(handle.offset, stored));
  if (got != handle.size) return corrupt(path_, "block at offset " + std::to_string(handle.offset) + " is cut off");
  return open_block(stored, seed_, handle.offset, path_);
}

// Per block: last key, offset, stored size.
Result<void> Sstable::parse_index(std::string_view bytes) {
  Decoder in(bytes);
  const uint64_t count = in.varint();
  if (count != properties_.blocks || count > bytes.size()) return corrupt(path_, "index does not fit the properties");
  index_.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    const std::string_view key = in.bytes();
    IndexEntry entry{static_cast<uint32_t>(keys_.size()), static_cast<uint32_t>(key.size()), {}};
    entry.handle.offset = in.varint();
    const uint64_t size = in.varint();
    entry.handle.size = static_cast<uint32_t>(size);
    if (!in.ok() || size > file_bytes_ || entry.handle.offset > file_bytes_ - size) {
      return corrupt(path_, "malformed index");
    }
    keys_.append(key);
    index_.push_back(entry);
  }
  if (!in.at_end()) return corrupt(path_, "malformed index");
  return {};
}

bool Sstable::may_contain(uint64_t hash) const { return filter_may_contain(filter_, hash); }

uint32_t Sstable::block_for(std::string_view key) const {
  uint32_t low = 0;
  for (uint32_t n = blocks(); n > 0;) {
    const uint32_t half = n / 2;
    if (last_key(low + half) < key) {
      low += half + 1;
      n -= half + 1;
    } else {
      n = half;
    }
  }
  return low;
}

Result<std::shared_ptr<const Block>> Sstable::unpack(uint32_t ordinal, std::string_view stored) const {
  const BlockHandle& handle = index_[ordinal].handle;
  if (stored.size() != handle.size) {
    return corrupt(path_, "block at offset " + std::to_string(handle.offset) + " is cut off");
  }
  CAIRN_TRY(std::string raw, open_block(stored, seed_, handle.offset, path_));
  return Block::parse(std::move(raw), path_);
}

Result<std::shared_ptr<const Block>> Sstable::read_block(uint32_t ordinal) const {
  const BlockHandle& handle = index_[ordinal].handle;
  std::string stored(handle.size, '\0');
  CAIRN_TRY(const size_t got, file_->read_at(handle.offset, stored));
  return unpack(ordinal, std::string_view(stored).substr(0, got));
}

Result<std::shared_ptr<const Block>> Sstable::read_block_cached(uint32_t ordinal) const {
  const BlockHandle& handle = index_[ordinal].handle;
  std::string stored(handle.size, '\0');
  CAIRN_TRY(const auto got, file_->read_cached(handle.offset, stored));
  if (!got) return std::shared_ptr<const Block>();
  return unpack(ordinal, std::string_view(stored).substr(0, *got));
}

}  // namespace cairn::storage
