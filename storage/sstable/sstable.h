// An open SSTable and the writer of new ones.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/cache/table_blocks.h"
#include "storage/io/cached_reader.h"
#include "storage/io/paced_deleter.h"
#include "storage/sstable/block.h"
#include "storage/sstable/filter.h"
#include "storage/sstable/format.h"
#include "storage/sstable/index.h"
#include "storage/sstable/point_reader.h"

namespace cairn::storage {

// What one reader of adjacent blocks has read beyond the block it asked for. Not thread safe.
struct ReadAhead {
  static constexpr uint32_t kFirstBytes = 8u << 10;  // doubled with every read
  static constexpr uint32_t kBytesMax = 256u << 10;
  uint32_t window = 0;  // bytes of the read before
  uint64_t offset = 0;  // in the file, of `bytes`
  std::string bytes;
};

// Thread safety: any thread. Ownership: shared; once retire() was called the file goes with the last owner.
class Sstable {
 public:
  // Reads footer, properties, index, filter and prefix tombstones; checks them and the checksums.
  static Result<std::shared_ptr<Sstable>> open(FileSystem& fs, const std::string& path, uint64_t number,
                                               OpenMode mode = OpenMode::kRead);
  ~Sstable();
  // `deleter`: who unlinks the file then; null: whoever was the last owner.
  void retire(std::shared_ptr<PacedDeleter> deleter);

  // Whatever the file says, all rows count as written then. Requires: nobody reads it yet, and it has no deleted
  // prefixes.
  void stamp(const RowStamp& stamp);

  uint64_t number() const { return number_; }
  const std::string& path() const { return path_; }
  const TableProperties& properties() const { return properties_; }
  const SstableInfo& info() const { return properties_.info; }
  const PrefixTombstones& prefixes() const { return prefixes_; }
  const Filter& filter() const { return filter_; }
  uint64_t file_bytes() const { return file_bytes_; }

  uint32_t blocks() const { return index_.size(); }
  uint32_t block_for(std::string_view key) const {
    return index_.find(key);
  }  // the only one that may hold it;
     // blocks() = none
  // Of the file, in front of the block that may hold it.
  uint64_t bytes_before(std::string_view key) const;
  uint64_t data_bytes() const;  // of its blocks of rows
  // Which of its blocks the cache holds. For the owner's loop, like the cache.
  const std::shared_ptr<TableBlocks>& cached() const { return cached_; }
  // A block that is damaged is read once more from the device itself: memory may have rotted and not the medium.
  Result<std::shared_ptr<const Block>> read_block(uint32_t ordinal) const;
  // The same for one that goes on to the next block, or to the one before: those are read along.
  Result<std::shared_ptr<const Block>> read_block(uint32_t ordinal, bool back, ReadAhead& ahead) const;
  // To `buffer`; nullopt where the caller would have to wait for the device, and for a block that looks damaged from
  // here.
  Result<std::optional<StoredBlock>> read_stored_cached(uint32_t ordinal, CachedReader& cached,
                                                        std::string& buffer) const;
  // The same to where it can be looked at; see PointReader. Null: as above. Requires: stored_bytes() <=
  // PointReader::kStoredBytesMax.
  Result<const BlockRows*> read_rows_cached(uint32_t ordinal, CachedReader& cached, PointReader& reader) const;
  uint32_t stored_bytes(uint32_t ordinal) const { return handle(ordinal).size; }

  // For who reads a block by itself: where it lies, and what its stored bytes hold.
  const File& file() const { return *file_; }
  BlockHandle handle(uint32_t ordinal) const { return index_.handle(ordinal); }
  Result<StoredBlock> check(uint32_t ordinal, std::string_view stored) const;
  Result<std::shared_ptr<const Block>> unpack(const StoredBlock& block, BlockMemory& memory) const;
  Result<const BlockRows*> unpack(const StoredBlock& block, PointReader& reader) const;

 private:
  Sstable(FileSystem& fs, std::string path, uint64_t number) : fs_(fs), path_(std::move(path)), number_(number) {}
  Result<void> load(OpenMode mode);
  Error cut_off(const BlockHandle& handle) const;
  Result<std::string> read_meta(const BlockHandle& handle) const;
  Result<std::shared_ptr<const Block>> unpack(uint32_t ordinal, std::string_view stored) const;
  Result<std::shared_ptr<const Block>> unpack_or_reread(uint32_t ordinal, std::string_view stored) const;

  FileSystem& fs_;
  std::string path_;
  uint64_t number_;
  std::unique_ptr<File> file_;
  uint64_t file_bytes_ = 0;
  uint64_t seed_ = 0;
  std::optional<RowStamp> stamp_;
  TableProperties properties_;
  PrefixTombstones prefixes_;
  Filter filter_;
  TableIndex index_;
  std::shared_ptr<TableBlocks> cached_;
  std::atomic<bool> retired_{false};
  std::shared_ptr<PacedDeleter> deleter_;  // of whoever retired it first
};

// Both inside.
struct SequenceRange {
  uint64_t min = 0;
  uint64_t max = 0;
};

struct SstableWriterOptions {
  uint32_t block_bytes = 2u << 10;
  uint32_t filter_bits_per_key = 10;  // of Bloom filters; 0: no filter of any kind
  Compression compression = kDefaultCompression;
  RowExpiry expiry = nullptr;
  FilterKind filter = FilterKind::kBloom;
};

// Writes one file, rows in key order. Thread safety: one thread at a time. After an error the file is
// worthless.
class SstableWriter {
 public:
  static Result<std::unique_ptr<SstableWriter>> create(FileSystem& fs, const std::string& path, uint64_t number,
                                                       const SstableWriterOptions& options);
  Result<void> add(const Row& row) { return add(row, {row.sequence, row.sequence}); }
  // `sequences`: what the row counts as in the properties, if its own is not to be kept (kNoSequence).
  Result<void> add(const Row& row, const SequenceRange& sequences);
  void add_prefix_tombstone(const PrefixTombstone& tombstone) { prefixes_.push_back(tombstone); }
  uint64_t bytes() const { return offset_ + buffer_.size() + block_.raw_bytes(); }
  uint64_t rows() const { return properties_.info.entries; }
  bool empty() const { return rows() == 0 && prefixes_.empty(); }
  // Writes the rest and syncs the file; the directory is the caller's.
  Result<TableProperties> finish(uint64_t run, uint32_t level);

 private:
  SstableWriter(std::unique_ptr<File> file, uint64_t number, const SstableWriterOptions& options)
      : file_(std::move(file)), number_(number), options_(options) {}
  Result<BlockHandle> write_block(std::string_view raw, Compression compression);
  Result<void> close_block();
  void add_to_index(std::string_view next_key);
  Result<void> drain(size_t keep_below);
  void cover(const SequenceRange& sequences, uint64_t time_ms);

  std::unique_ptr<File> file_;
  uint64_t number_;
  SstableWriterOptions options_;
  uint32_t features_ = kFeatureSearchColumns | kFeatureSeparators;
  TableProperties properties_;
  BlockBuilder block_;
  std::string buffer_;  // not written yet; starts at offset_
  uint64_t offset_ = 0;
  IndexBuilder index_;
  uint64_t block_rows_ = 0, block_tombstones_ = 0;  // of block_
  uint32_t unindexed_ = 0;  // stored size of the last block, until the first key of the next one is known
  std::vector<uint64_t> hashes_;
  std::vector<PrefixTombstone> prefixes_;
};

}  // namespace cairn::storage
