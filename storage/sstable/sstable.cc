#include "storage/sstable/sstable.h"

#include <algorithm>

#include "base/bytes.h"

namespace cairn::storage {
Result<std::shared_ptr<Sstable>> Sstable::open(FileSystem& fs, const std::string& path, uint64_t number,
                                               OpenMode mode) {
  auto table = std::shared_ptr<Sstable>(new Sstable(fs, path, number));
  CAIRN_TRY_VOID(table->load(mode));
  return table;
}

Sstable::~Sstable() {
  file_.reset();
  if (!retired_.load(std::memory_order_relaxed)) return;
  if (deleter_) {
    deleter_->add(path_);
  } else {
    (void)fs_.remove(path_);  // garbage collection finds it otherwise
  }
}

void Sstable::retire(std::shared_ptr<PacedDeleter> deleter) {
  if (!retired_.exchange(true, std::memory_order_relaxed)) deleter_ = std::move(deleter);
}

Result<void> Sstable::load(OpenMode mode) {
  CAIRN_TRY(file_, fs_.open(path_, mode));
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
  const bool last_keys = (footer.features & kFeatureSeparators) == 0;
  CAIRN_TRY(index_, TableIndex::parse(index, last_keys, properties_.blocks, file_bytes_, path_));
  cached_ = std::make_shared<TableBlocks>(blocks());
  if (properties_.filter.size != 0) {
    CAIRN_TRY(std::string filter, read_meta(properties_.filter));
    filter_ = Filter(std::move(filter));
  }
  if (properties_.prefix_tombstones.size != 0) {
    CAIRN_TRY(const std::string list, read_meta(properties_.prefix_tombstones));
    CAIRN_TRY(prefixes_, parse_prefix_tombstones(list, path_));
  }
  return {};
}

Error Sstable::cut_off(const BlockHandle& handle) const {
  return corrupt(path_, "block at offset " + std::to_string(handle.offset) + " is cut off");
}

Result<std::string> Sstable::read_meta(const BlockHandle& handle) const {
  if (handle.offset > file_bytes_ || handle.size > file_bytes_ - handle.offset) {
    return corrupt(path_, "a block lies outside of the file");
  }
  std::string stored(handle.size, '\0');
  CAIRN_TRY(const size_t got, file_->read_at(handle.offset, stored));
  if (got != handle.size) return cut_off(handle);
  return open_block(stored, seed_, handle.offset, path_);
}

void Sstable::stamp(const RowStamp& stamp) {
  stamp_ = stamp;
  SstableInfo& info = properties_.info;
  info.min_sequence.value = info.max_sequence.value = stamp.sequence;
  info.min_time_ms = info.max_time_ms = stamp.time_ms;
}

Result<StoredBlock> Sstable::check(uint32_t ordinal, std::string_view stored) const {
  const BlockHandle handle = index_.handle(ordinal);
  if (stored.size() != handle.size) return cut_off(handle);
  return check_block(stored, seed_, handle.offset, path_);
}

Result<std::shared_ptr<const Block>> Sstable::unpack(const StoredBlock& block, BlockMemory& memory) const {
  return Block::unpack(block, memory, path_, stamp_);
}

Result<const BlockRows*> Sstable::unpack(const StoredBlock& block, PointReader& reader) const {
  auto rows = reader.open(block, path_);
  if (rows && stamp_) reader.stamp(*stamp_);
  return rows;
}

Result<std::shared_ptr<const Block>> Sstable::unpack(uint32_t ordinal, std::string_view stored) const {
  const BlockHandle handle = index_.handle(ordinal);
  if (stored.size() != handle.size) return cut_off(handle);
  CAIRN_TRY(std::string raw, open_block(stored, seed_, handle.offset, path_));
  return Block::parse(std::move(raw), path_, stamp_);
}

Result<std::shared_ptr<const Block>> Sstable::unpack_or_reread(uint32_t ordinal, std::string_view stored) const {
  auto block = unpack(ordinal, stored);
  if (block || block.error().code != ErrorCode::kCorruption) return block;
  const BlockHandle handle = index_.handle(ordinal);
  const auto file = fs_.open(path_, OpenMode::kReadDirect);
  std::string again(handle.size, '\0');
  if (!file || (*file)->read_at(handle.offset, again).value_or(0) != handle.size) return block;
  auto second = unpack(ordinal, again);
  return second ? std::move(second) : std::move(block);
}

Result<std::shared_ptr<const Block>> Sstable::read_block(uint32_t ordinal) const {
  const BlockHandle handle = index_.handle(ordinal);
  std::string stored = unfilled_string(handle.size);
  CAIRN_TRY(const size_t got, file_->read_at(handle.offset, stored));
  return unpack_or_reread(ordinal, std::string_view(stored).substr(0, got));
}

Result<std::shared_ptr<const Block>> Sstable::read_block(uint32_t ordinal, bool back, ReadAhead& ahead) const {
  const BlockHandle handle = index_.handle(ordinal);
  const auto held = [&] {
    return handle.offset >= ahead.offset && handle.size <= ahead.bytes.size() &&
           handle.offset - ahead.offset <= ahead.bytes.size() - handle.size;
  };
  if (!held()) {
    ahead.window = std::clamp(ahead.window * 2, ReadAhead::kFirstBytes, ReadAhead::kBytesMax);
    // Whole blocks that lie side by side.
    uint64_t begin = handle.offset, end = handle.offset + handle.size;
    for (uint32_t i = ordinal; back ? i-- > 0 : ++i < blocks();) {
      const BlockHandle other = index_.handle(i);
      const bool beside = back ? other.offset + other.size == begin : other.offset == end;
      if (!beside || end - begin + other.size > ahead.window) break;
      (back ? begin : end) = back ? other.offset : end + other.size;
    }
    ahead.offset = begin;
    ahead.bytes.resize(end - begin);
    const auto got = file_->read_at(begin, ahead.bytes);
    ahead.bytes.resize(got ? *got : 0);
    if (!got) return Error(got.error());
    if (!held()) return unpack(ordinal, {});  // cut off
  }
  return unpack_or_reread(ordinal, std::string_view(ahead.bytes).substr(handle.offset - ahead.offset, handle.size));
}

uint64_t Sstable::bytes_before(std::string_view key) const {
  const uint32_t block = index_.find(key);
  return block < index_.size() ? index_.handle(block).offset : data_bytes();
}

uint64_t Sstable::data_bytes() const {
  if (index_.size() == 0) return 0;
  const BlockHandle last = index_.handle(index_.size() - 1);
  return last.offset + last.size;
}

Result<std::optional<StoredBlock>> Sstable::read_stored_cached(uint32_t ordinal, CachedReader& cached,
                                                               std::string& buffer) const {
  const BlockHandle handle = index_.handle(ordinal);
  buffer = unfilled_string(handle.size);
  CAIRN_TRY(const auto got, cached.read(*file_, handle.offset, buffer));
  if (!got) return std::optional<StoredBlock>();
  const auto block = check(ordinal, std::string_view(buffer).substr(0, *got));
  // Whoever reads from the device will tell whether it is so.
  if (!block && block.error().code == ErrorCode::kCorruption) return std::optional<StoredBlock>();
  if (!block) return Error(block.error());
  return std::optional(*block);
}

Result<const BlockRows*> Sstable::read_rows_cached(uint32_t ordinal, CachedReader& cached, PointReader& reader) const {
  const BlockHandle handle = index_.handle(ordinal);
  CAIRN_TRY(const auto got, cached.read(*file_, handle.offset, reader.buffer(handle.size)));
  if (!got) return nullptr;
  if (*got != handle.size) return cut_off(handle);
  auto rows = reader.open(*got, seed_, handle.offset, path_);
  if (rows && stamp_) reader.stamp(*stamp_);
  if (!rows && rows.error().code == ErrorCode::kCorruption) return nullptr;
  return rows;
}

}  // namespace cairn::storage
