#include "storage/compaction/output_job.h"

#include <cstdio>

namespace cairn::storage {
namespace {
constexpr uint64_t kSliceBytes = 256u << 10;
}

std::string sstable_path(const std::string& dir, uint64_t number) {
  char name[32];
  std::snprintf(name, sizeof name, "%016llx.sst", static_cast<unsigned long long>(number));
  return join_path(dir, name);
}

OutputJob::OutputJob(OutputPlan plan, std::unique_ptr<RowCursor> source)
    : plan_(std::move(plan)), source_(std::move(source)) {}

OutputJob::~OutputJob() {
  for (const auto& table : tables_) table->retire();
}

bool OutputJob::step() {
  auto result = work();
  if (result) return phase_ != Phase::kDone;
  error_ = std::move(result).error();
  phase_ = Phase::kDone;
  writer_.reset();
  tables_.clear();
  for (const uint64_t number : numbers_) (void)plan_.fs->remove(sstable_path(plan_.dir, number));
  return false;
}

Result<void> OutputJob::work() {
  switch (phase_) {
    case Phase::kStart:
      at_ = source_->seek({});
      phase_ = Phase::kRows;
      return {};
    case Phase::kRows: return write_rows();
    case Phase::kCheck: return check_slice();
    case Phase::kDone: return {};
  }
  return {};
}

Result<void> OutputJob::write_rows() {
  for (uint64_t bytes = 0; at_ == CursorState::kRow && bytes < kSliceBytes; at_ = source_->next()) {
    const Row& row = source_->row();
    bytes += row.key.size() + row.value.size() + 32;
    if (plan_.drop_tombstones && row.kind == OpKind::kDelete) continue;
    if (writer_ && writer_->bytes() >= plan_.table_bytes_max) CAIRN_TRY_VOID(close_writer());
    if (!writer_) CAIRN_TRY_VOID(open_writer());
    CAIRN_TRY_VOID(writer_->add(row));
  }
  if (at_ == CursorState::kRow) return {};
  if (at_ != CursorState::kEnd) {
    source_failed_ = true;
    return Error(source_->error());
  }
  if (!plan_.drop_tombstones && !plan_.prefixes.empty()) {
    if (!writer_) CAIRN_TRY_VOID(open_writer());
    for (const auto& tombstone : plan_.prefixes) writer_->add_prefix_tombstone(tombstone);
  }
  if (writer_) CAIRN_TRY_VOID(close_writer());
  if (!numbers_.empty()) CAIRN_TRY_VOID(plan_.fs->sync_dir(plan_.dir));
  phase_ = numbers_.empty() ? Phase::kDone : Phase::kCheck;
  return {};
}

Result<void> OutputJob::open_writer() {
  number_ = plan_.new_number();
  CAIRN_TRY(writer_, SstableWriter::create(*plan_.fs, sstable_path(plan_.dir, number_), number_, plan_.writer));
  numbers_.push_back(number_);
  return {};
}

Result<void> OutputJob::close_writer() {
  expected_rows_.push_back(writer_->rows());
  CAIRN_TRY(const auto properties, writer_->finish(plan_.run, plan_.level));
  bytes_written_ += properties.info.bytes;
  writer_.reset();
  return {};
}

// Reads back what was written: every checksum, the order of keys, the number of rows.
Result<void> OutputJob::check_slice() {
  if (check_table_ == tables_.size()) {
    const uint64_t number = numbers_[check_table_];
    CAIRN_TRY(auto table, Sstable::open(*plan_.fs, sstable_path(plan_.dir, number), number));
    tables_.push_back(std::move(table));
    check_block_ = 0;
    checked_rows_ = 0;
    check_key_.clear();
  }
  const Sstable& table = *tables_[check_table_];
  std::string key;
  for (uint64_t bytes = 0; check_block_ < table.blocks() && bytes < kSliceBytes; ++check_block_) {
    CAIRN_TRY(const auto block, table.read_block(check_block_));
    bytes += block->bytes();
    for (uint32_t i = 0; i < block->rows(); ++i, ++checked_rows_) {
      block->key(i, key);
      if (checked_rows_ > 0 && key <= check_key_) return corrupt(table.path(), "rows written out of order");
      check_key_.swap(key);
    }
  }
  if (check_block_ < table.blocks()) return {};
  if (checked_rows_ != expected_rows_[check_table_])
    return corrupt(table.path(), "rows are missing right after writing");
  if (++check_table_ == numbers_.size()) phase_ = Phase::kDone;
  return {};
}

}  // namespace cairn::storage
