#include <algorithm>
#include <utility>

#include "base/checksum.h"
#include "base/codec.h"
#include "storage/sstable/filter.h"
#include "storage/sstable/key_sketch.h"
#include "storage/sstable/sstable.h"

namespace cairn::storage {
namespace {
constexpr size_t kWriteBytes = 256u << 10;  // one write call
}

Result<std::unique_ptr<SstableWriter>> SstableWriter::create(FileSystem& fs, const std::string& path, uint64_t number,
                                                             const SstableWriterOptions& options) {
  CAIRN_TRY(auto file, fs.open(path, OpenMode::kCreateNew));
  return std::unique_ptr<SstableWriter>(new SstableWriter(std::move(file), number, options));
}

void SstableWriter::cover(const SequenceRange& sequences, uint64_t time_ms) {
  SstableInfo& info = properties_.info;
  const bool first = info.max_sequence.value == 0;
  info.min_sequence.value = first ? sequences.min : std::min(info.min_sequence.value, sequences.min);
  info.max_sequence.value = std::max(info.max_sequence.value, sequences.max);
  info.min_time_ms = first ? time_ms : std::min(info.min_time_ms, time_ms);
  info.max_time_ms = std::max(info.max_time_ms, time_ms);
}

Result<void> SstableWriter::add(const Row& row, const SequenceRange& sequences) {
  SstableInfo& info = properties_.info;
  if (info.entries == 0) info.smallest = row.key;
  cover(sequences, row.time_ms);
  if (row.sequence != sequences.max) features_ |= kFeatureNoSequence;
  ++info.entries;
  if (row.kind == OpKind::kDelete) {
    ++properties_.point_tombstones;
    ++block_tombstones_;
  } else if (const uint64_t expiry = options_.expiry != nullptr ? options_.expiry(row.key, row.value) : 0;
             expiry != 0) {
    info.min_expiry_ms = info.expiring == 0 ? expiry : std::min(info.min_expiry_ms, expiry);
    info.max_expiry_ms = std::max(info.max_expiry_ms, expiry);
    ++info.expiring;
  }
  properties_.raw_bytes += row.key.size() + row.value.size();
  if (block_.empty()) add_to_index(row.key);
  ++block_rows_;
  hashes_.push_back(hash64(row.key));
  block_.add(row, hashes_.back());
  if (block_.raw_bytes() >= options_.block_bytes) return close_block();
  return {};
}

Result<void> SstableWriter::close_block() {
  properties_.info.largest = block_.last_key();
  CAIRN_TRY(const BlockHandle handle, write_block(block_.finish(), options_.compression));
  unindexed_ = handle.size;
  ++properties_.blocks;
  if (is_dense(std::exchange(block_rows_, 0), block_tombstones_))
    properties_.info.dense_tombstones += block_tombstones_;
  block_tombstones_ = 0;
  return {};
}

void SstableWriter::add_to_index(std::string_view next_key) {
  if (unindexed_ != 0) index_.add(properties_.info.largest, next_key, std::exchange(unindexed_, 0));
}

Result<BlockHandle> SstableWriter::write_block(std::string_view raw, Compression compression) {
  const uint64_t at = offset_ + buffer_.size();
  const std::string stored = seal_block(raw, compression, number_, at);
  const auto kind = static_cast<Compression>(stored[stored.size() - kTrailerBytes]);
  if (kind == Compression::kZstd) features_ |= kFeatureZstd;
  buffer_.append(stored);
  CAIRN_TRY_VOID(drain(kWriteBytes));
  return BlockHandle{at, static_cast<uint32_t>(stored.size())};
}

Result<void> SstableWriter::drain(size_t keep_below) {
  if (buffer_.size() < keep_below) return {};
  CAIRN_TRY_VOID(file_->write_at(offset_, buffer_));
  offset_ += buffer_.size();
  buffer_.clear();
  return {};
}

Result<TableProperties> SstableWriter::finish(uint64_t run, uint32_t level) {
  if (!block_.empty()) CAIRN_TRY_VOID(close_block());
  add_to_index({});
  SstableInfo& info = properties_.info;
  info.id = number_;
  info.run = run;
  info.level = level;
  info.tombstones = properties_.point_tombstones + prefixes_.size();
  for (const auto& tombstone : prefixes_) {
    if (info.entries == 0 && info.smallest.empty()) info.smallest = tombstone.prefix;
    if (info.entries == 0) info.largest = std::max(info.largest, tombstone.prefix);
    cover({tombstone.sequence, tombstone.sequence}, tombstone.time_ms);
  }
  if (!prefixes_.empty()) {
    CAIRN_TRY(properties_.prefix_tombstones, write_block(encode_prefix_tombstones(prefixes_), options_.compression));
  }
  const std::string filter = build_filter(options_.filter, hashes_, options_.filter_bits_per_key);
  if (!filter.empty()) {
    CAIRN_TRY(properties_.filter, write_block(filter, Compression::kNone));
  }
  if (info.entries >= KeySketch::kRowsMin) {
    KeySketch sketch;
    for (const uint64_t hash : hashes_) sketch.add(hash);
    properties_.sketch = sketch.bytes();
  }
  Footer footer;
  footer.seed = number_;
  CAIRN_TRY(footer.index, write_block(index_.finish(properties_.blocks), options_.compression));
  CAIRN_TRY(footer.properties, write_block(encode_properties(properties_), Compression::kNone));
  footer.features = features_ | (options_.filter == FilterKind::kFuse ? kFeatureFuseFilter : 0);
  buffer_.append(encode_footer(footer));
  CAIRN_TRY_VOID(drain(0));
  CAIRN_TRY_VOID(file_->sync());
  properties_.info.bytes = offset_;
  return properties_;
}

}  // namespace cairn::storage
