#include "storage/compaction/output_job.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/checksum.h"

namespace cairn::storage {
namespace {
constexpr uint64_t kSliceBytes = 256u << 10;
constexpr size_t kDeletedMax = 1u << 14;  // prefixes: more take longer to sort than a few bytes a row are worth
}  // namespace

std::string sstable_path(const std::string& dir, uint64_t number) {
  char name[32];
  std::snprintf(name, sizeof name, "%016llx.sst", static_cast<unsigned long long>(number));
  return join_path(dir, name);
}

OlderRuns::OlderRuns(std::shared_ptr<const Version> version, uint64_t run) : version_(std::move(version)) {
  while (first_ < version_->runs.size() && version_->runs[first_].number >= run) ++first_;
}

bool OlderRuns::may_hold(std::string_view key) const {
  const uint64_t hash = hash64(key);
  for (size_t i = first_; i < version_->runs.size(); ++i) {
    const Sstable* table = table_for(version_->runs[i], key);
    if (table != nullptr && table->filter().may_contain(hash)) return true;
  }
  return false;
}

bool OlderRuns::may_hold_prefix(std::string_view prefix) const {
  for (size_t i = first_; i < version_->runs.size(); ++i) {
    const auto& infos = version_->runs[i].infos;
    const auto it = std::ranges::lower_bound(infos, prefix, {}, &SstableInfo::largest);
    if (it != infos.end() && (it->smallest <= prefix || it->smallest.starts_with(prefix))) return true;
  }
  return false;
}

OutputJob::OutputJob(OutputPlan plan, std::unique_ptr<RowCursor> source)
    : plan_(std::move(plan)), source_(std::move(source)) {}

// One that was given up may end anywhere.
OutputJob::~OutputJob() { remove_files(); }

void OutputJob::remove_files() {
  writer_.reset();
  tables_.clear();
  kept_.clear();
  plan_.temp.set(0);
  for (const uint64_t number : std::exchange(numbers_, {})) (void)plan_.fs->remove(sstable_path(plan_.dir, number));
}

std::vector<std::shared_ptr<Sstable>> OutputJob::take() {
  numbers_.clear();
  return std::move(tables_);
}

bool OutputJob::step() {
  auto result = work();
  if (result) {
    plan_.temp.set(bytes_so_far());
    return phase_ != Phase::kDone;
  }
  error_ = std::move(result).error();
  phase_ = Phase::kDone;
  remove_files();
  return false;
}

Result<void> OutputJob::work() {
  switch (phase_) {
    case Phase::kStart:
      note_deleted();
      at_ = source_->seek({});
      phase_ = Phase::kRows;
      return {};
    case Phase::kRows: return write_rows();
    case Phase::kCheck: return check_slice();
    case Phase::kDone: return {};
  }
  return {};
}

// Whatever part of its file counts in the tablet: a prefix too many costs some bytes, no more.
void OutputJob::note_deleted() {
  const auto version = std::move(plan_.version);  // inputs may go as soon as nobody else reads them
  if (version == nullptr) return;
  size_t count = plan_.prefixes.size();
  for (const Run& run : version->runs) {
    for (const auto& table : run.tables) count += table->prefixes().size();
  }
  if (count > kDeletedMax) return;
  deleted_.emplace();
  const auto add = [&](const PrefixTombstone& t) { deleted_->add(t.prefix, t.sequence, t.time_ms); };
  std::ranges::for_each(plan_.prefixes, add);
  for (const Run& run : version->runs) {
    for (const auto& table : run.tables) std::ranges::for_each(table->prefixes().list(), add);
  }
}

Result<void> OutputJob::write_rows() {
  for (uint64_t bytes = 0; at_ == CursorState::kRow && bytes < kSliceBytes && !rest_;) {
    bytes += source_->row().key.size() + source_->row().value.size() + 32;
    CAIRN_TRY_VOID(write_row(source_->row()));
    if (!rest_) at_ = source_->next();
  }
  if (rest_) return end_rows();
  if (at_ == CursorState::kRow) return {};
  if (at_ != CursorState::kEnd) {
    source_failed_ = true;
    return Error(source_->error());
  }
  CAIRN_TRY_VOID(put_prefixes({}));
  return end_rows();
}

Result<void> OutputJob::write_row(Row row) {
  if (writer_ && writer_->bytes() >= plan_.table_bytes_max) {
    if (auto cut = cut_before(row.key)) {
      CAIRN_TRY_VOID(put_prefixes(*cut));
      CAIRN_TRY_VOID(close_writer());
      if (plan_.one_table) {
        rest_ = std::move(cut);
        return {};
      }
    }
  }
  if (plan_.now_ms > 0 && row.kind == OpKind::kPut && plan_.writer.expiry != nullptr) {
    const uint64_t expiry = plan_.writer.expiry(row.key, row.value);
    if (expiry != 0 && expiry <= plan_.now_ms) {
      row.kind = OpKind::kDelete;
      row.value = {};
    }
  }
  if (row.kind == OpKind::kDelete && plan_.older && !plan_.older->may_hold(row.key)) return {};
  if (!writer_) CAIRN_TRY_VOID(open_writer());
  last_key_ = row.key;
  const bool numbered = row.sequence != kNoSequence;
  const SequenceRange sequences = numbered ? SequenceRange{row.sequence, row.sequence} : plan_.sequences;
  if (deleted_ && sequence_may_go(*deleted_, row.key)) row.sequence = kNoSequence;
  return writer_->add(row, sequences);
}

// The outermost deleted prefix above the key, or the key itself, if it lies behind everything that was written.
std::optional<std::string> OutputJob::cut_before(std::string_view key) const {
  for (size_t i = next_prefix_; i < plan_.prefixes.size() && plan_.prefixes[i].prefix <= key; ++i) {
    const std::string& prefix = plan_.prefixes[i].prefix;
    if (key.starts_with(prefix)) return prefix > last_key_ ? std::optional(prefix) : std::nullopt;
  }
  return std::string(key);
}

// Those below a key, or all.
Result<void> OutputJob::put_prefixes(std::string_view before) {
  for (; next_prefix_ < plan_.prefixes.size(); ++next_prefix_) {
    const PrefixTombstone& tombstone = plan_.prefixes[next_prefix_];
    if (!before.empty() && tombstone.prefix >= before) break;
    if (plan_.older && !plan_.older->may_hold_prefix(tombstone.prefix)) continue;
    if (!writer_) CAIRN_TRY_VOID(open_writer());
    writer_->add_prefix_tombstone(tombstone);
  }
  return {};
}

Result<void> OutputJob::end_rows() {
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
    check_ahead_ = {};
    checked_rows_ = 0;
    check_key_.clear();
  }
  const Sstable& table = *tables_[check_table_];
  std::string key;
  for (uint64_t bytes = 0; check_block_ < table.blocks() && bytes < kSliceBytes; ++check_block_) {
    CAIRN_TRY(const auto block, table.read_block(check_block_, false, check_ahead_));
    bytes += block->bytes();
    if (kept_bytes_ + block->bytes() <= plan_.keep_bytes) {
      kept_bytes_ += block->bytes();
      kept_.push_back({check_table_, check_block_, block});
    }
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
