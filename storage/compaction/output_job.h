// Writes the rows of a cursor into new SSTables and checks them: the work of flushes and compactions, in
// slices.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/row.h"
#include "storage/sstable/sstable.h"

namespace cairn::storage {

struct OutputPlan {
  FileSystem* fs = nullptr;
  std::string dir;
  std::function<uint64_t()> new_number;  // thread safe
  SstableWriterOptions writer;
  uint64_t table_bytes_max = ~0ull;
  uint64_t run = 0;
  uint32_t level = 0;
  bool drop_tombstones = false;  // nothing older is left for them to hide
  std::vector<PrefixTombstone> prefixes;
};

// Thread safety: one thread at a time. Files of a job that failed or was not taken are removed.
class OutputJob {
 public:
  OutputJob(OutputPlan plan, std::unique_ptr<RowCursor> source);
  ~OutputJob();
  // About 256 KiB of work. True while more remains.
  bool step();

  const std::optional<Error>& error() const { return error_; }
  bool source_failed() const { return source_failed_; }  // the error is one of reading, not of writing
  std::vector<std::shared_ptr<Sstable>> take() { return std::move(tables_); }
  uint64_t bytes_written() const { return bytes_written_; }

 private:
  enum class Phase : uint8_t { kStart, kRows, kCheck, kDone };
  Result<void> work();
  Result<void> write_rows();
  Result<void> open_writer();
  Result<void> close_writer();
  Result<void> check_slice();

  OutputPlan plan_;
  std::unique_ptr<RowCursor> source_;
  Phase phase_ = Phase::kStart;
  CursorState at_ = CursorState::kEnd;
  std::unique_ptr<SstableWriter> writer_;
  uint64_t number_ = 0;
  std::vector<uint64_t> numbers_;  // files made
  std::vector<uint64_t> expected_rows_;
  std::vector<std::shared_ptr<Sstable>> tables_;
  size_t check_table_ = 0;
  uint32_t check_block_ = 0;
  uint64_t checked_rows_ = 0;
  std::string check_key_;
  uint64_t bytes_written_ = 0;
  std::optional<Error> error_;
  bool source_failed_ = false;
};

std::string sstable_path(const std::string& dir, uint64_t number);

}  // namespace cairn::storage
