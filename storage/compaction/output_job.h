// Writes the rows of a cursor into new SSTables and checks them: the work of flushes and compactions, in
// slices.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "storage/row.h"
#include "storage/sstable/sstable.h"
#include "storage/version/version.h"

namespace cairn::storage {

// The runs of a version below those that a compaction writes. Thread safety: any thread.
class OlderRuns {
 public:
  // The runs below `run`.
  OlderRuns(std::shared_ptr<const Version> version, uint64_t run);
  bool may_hold(std::string_view key) const;            // a row of this key: ranges and filters tell
  bool may_hold_prefix(std::string_view prefix) const;  // a row that starts with it: ranges tell

 private:
  std::shared_ptr<const Version> version_;
  size_t first_ = 0;
};

// May a row do without its sequence in a file that is written now? A row's sequence is only ever compared with those of
// deleted prefixes: runs say which version of a key is newer, and files which of them a clear has taken. A prefix that
// is deleted from now on is newer than every row in any file; so only a prefix that some file of the tablet has already
// could hide the row wrongly. `deleted`: all of these, and those that go into the new file.
inline bool sequence_may_go(const PrefixTombstones& deleted, std::string_view key) {
  return deleted.covering(key) == 0;
}

// What is written and not installed yet, as a part of a sum. Thread safety: one thread at a time; the sum: any.
class TempBytes {
 public:
  TempBytes() = default;
  explicit TempBytes(std::shared_ptr<std::atomic<uint64_t>> sum) : sum_(std::move(sum)) {}
  TempBytes(TempBytes&& other) noexcept : sum_(std::move(other.sum_)), bytes_(std::exchange(other.bytes_, 0)) {}
  TempBytes& operator=(TempBytes&& other) noexcept {
    set(0);
    sum_ = std::move(other.sum_);
    bytes_ = std::exchange(other.bytes_, 0);
    return *this;
  }
  ~TempBytes() { set(0); }
  void set(uint64_t bytes) {
    if (sum_ != nullptr) sum_->fetch_add(bytes - bytes_, std::memory_order_relaxed);  // modulo 2^64
    bytes_ = bytes;
  }

 private:
  std::shared_ptr<std::atomic<uint64_t>> sum_;  // null: nobody asks
  uint64_t bytes_ = 0;
};

struct OutputPlan {
  FileSystem* fs = nullptr;
  std::string dir;
  std::function<uint64_t()> new_number;  // thread safe
  SstableWriterOptions writer;
  uint64_t table_bytes_max = ~0ull;
  bool one_table = false;  // end with the first full one; see rest()
  uint64_t run = 0;
  uint32_t level = 0;
  // Deletions whose keys they cannot have are dropped; none: all are kept.
  std::optional<OlderRuns> older;
  uint64_t now_ms = 0;                    // rows that expired up to it become deletions; 0: none do
  std::vector<PrefixTombstone> prefixes;  // sorted
  // All that the tablet has in files; rows lose the sequences that they do not need there. Null: they keep them.
  std::shared_ptr<const Version> version;
  SequenceRange sequences;  // of the files that rows without a sequence come from
  uint64_t keep_bytes = 0;  // of the blocks that take_kept() may have
  TempBytes temp;           // follows what is written
};

// A block of what a job has written.
struct KeptBlock {
  size_t table = 0;  // which of take()
  uint32_t ordinal = 0;
  std::shared_ptr<const Block> block;
};

// Thread safety: one thread at a time. Files of a job that failed or was not taken are removed.
//
// Tables are cut only between keys that no deleted prefix has in common, and every deleted prefix goes into the table
// whose keys it covers: so any table can be compacted without its neighbours.
class OutputJob {
 public:
  OutputJob(OutputPlan plan, std::unique_ptr<RowCursor> source);
  ~OutputJob();
  // About 256 KiB of work. True while more remains.
  bool step();

  const std::optional<Error>& error() const { return error_; }
  bool source_failed() const { return source_failed_; }  // the error is one of reading, not of writing
  std::vector<std::shared_ptr<Sstable>> take();
  // As many as may be kept of those that the check has read: nobody need read them again.
  std::vector<KeptBlock> take_kept() { return std::move(kept_); }
  uint64_t bytes_written() const { return bytes_written_; }
  uint64_t bytes_so_far() const { return bytes_written_ + (writer_ ? writer_->bytes() : 0); }
  TempBytes take_temp() { return std::move(plan_.temp); }  // goes with what take() gives
  // With `one_table`: the first key that was not worked on. None: all were.
  const std::optional<std::string>& rest() const { return rest_; }

 private:
  enum class Phase : uint8_t { kStart, kRows, kCheck, kDone };
  Result<void> work();
  void note_deleted();
  Result<void> write_rows();
  Result<void> write_row(Row row);
  std::optional<std::string> cut_before(std::string_view key) const;
  Result<void> put_prefixes(std::string_view before);
  Result<void> end_rows();
  Result<void> open_writer();
  Result<void> close_writer();
  Result<void> check_slice();
  void remove_files();

  OutputPlan plan_;
  std::unique_ptr<RowCursor> source_;
  Phase phase_ = Phase::kStart;
  CursorState at_ = CursorState::kEnd;
  std::unique_ptr<SstableWriter> writer_;
  std::string last_key_;  // in the writer
  size_t next_prefix_ = 0;
  std::optional<PrefixTombstones> deleted_;  // see sequence_may_go(); none: rows keep their sequences
  std::optional<std::string> rest_;
  uint64_t number_ = 0;
  std::vector<uint64_t> numbers_;  // files made
  std::vector<uint64_t> expected_rows_;
  std::vector<std::shared_ptr<Sstable>> tables_;
  size_t check_table_ = 0;
  uint32_t check_block_ = 0;
  ReadAhead check_ahead_;
  uint64_t checked_rows_ = 0;
  std::string check_key_;
  std::vector<KeptBlock> kept_;
  uint64_t kept_bytes_ = 0;
  uint64_t bytes_written_ = 0;
  std::optional<Error> error_;
  bool source_failed_ = false;
};

std::string sstable_path(const std::string& dir, uint64_t number);

}  // namespace cairn::storage
