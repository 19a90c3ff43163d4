#include <algorithm>
#include <cstring>
#include <utility>

#include "storage/key_head.h"
#include "storage/version/cursors.h"

namespace cairn::storage {
namespace {

constexpr uint32_t kRowsAhead = 4;  // whose values are fetched into the processor's cache

// Only this block's keys are put together, in a buffer that the block's prefix stays in.
class RunCursor final : public TwoWayCursor {
 public:
  RunCursor(const Run& run, BlockSource& source) : run_(run), source_(source) {}

  void prepare_seek(std::string_view lower, int step) override {
    if (step == 0) {
      locate(lower);
      prepared_ = true;
    }
    if (table_ < tables() && ordinal_ < table().blocks()) source_.prefetch(table(), ordinal_, step);
  }

  CursorState seek(std::string_view lower) override {
    back_ = false;
    if (!std::exchange(prepared_, false)) locate(lower);
    prefetch_at_ = 0;
    while (table_ < tables()) {
      if (ordinal_ < table().blocks()) {
        const CursorState state = open(BlockUse::kPoint);
        if (state != CursorState::kRow) return state;
        slot_ = block_->lower_bound(std::max<std::string_view>(lower, run_.infos[table_].smallest));
        if (slot_ >= rows_) return step_up();
        block_->prefetch_values(slot_, kRowsAhead);
        return show();
      }
      if (++table_ < tables()) ordinal_ = table().block_for(run_.infos[table_].smallest);
    }
    return CursorState::kEnd;
  }

  CursorState seek_back(std::string_view upper) override {
    back_ = true;
    prepared_ = false;
    const auto above =
        upper.empty() ? run_.infos.end() : std::ranges::lower_bound(run_.infos, upper, {}, &SstableInfo::smallest);
    table_ = static_cast<size_t>(above - run_.infos.begin());
    while (table_-- > 0) {
      if (table().blocks() == 0) continue;
      const std::string_view end = info().end;
      const std::string_view limit = !end.empty() && (upper.empty() || end < upper) ? end : upper;
      ordinal_ = limit.empty() ? table().blocks() : table().block_for(limit);
      ordinal_ = std::min(ordinal_, table().blocks() - 1);
      const CursorState state = open(BlockUse::kPoint);
      if (state != CursorState::kRow) return state;
      slot_ = limit.empty() ? rows_ : block_->lower_bound(limit);
      return step_down(BlockUse::kPoint);
    }
    return CursorState::kEnd;
  }

  CursorState next() override {
    if (back_) return step_down(BlockUse::kScan);
    if (++slot_ == rows_) return step_up();
    if (slot_ == prefetch_at_) prefetch_next();
    return show();
  }
  const Row& row() const override { return row_; }
  const Error& error() const override { return error_; }

 private:
  size_t tables() const { return run_.tables.size(); }
  const Sstable& table() const { return *run_.tables[table_]; }
  const SstableInfo& info() const { return run_.infos[table_]; }
  // Behind the last block that has rows of the table's.
  uint32_t blocks_end() const {
    return info().end.empty() ? table().blocks() : std::min(table().block_for(info().end) + 1, table().blocks());
  }

  // The table and block where a search begins.
  void locate(std::string_view lower) {
    const auto it = std::ranges::lower_bound(run_.infos, lower, {}, &SstableInfo::largest);
    table_ = static_cast<size_t>(it - run_.infos.begin());
    if (table_ < tables()) ordinal_ = table().block_for(std::max<std::string_view>(lower, run_.infos[table_].smallest));
  }
  // To the first row of the next block.
  CursorState step_up() {
    ++ordinal_;
    do {
      while (ordinal_ >= blocks_end()) {
        ordinal_ = 0;
        if (++table_ == tables()) return CursorState::kEnd;
        if (info().trimmed) return seek(info().smallest);
      }
      const CursorState state = open(BlockUse::kScan);
      if (state != CursorState::kRow) return state;
      if (rows_ == 0) ++ordinal_;  // none of the last block is left
    } while (rows_ == 0);
    slot_ = 0;
    prefetch_at_ = 0;
    prefetch_step_ = 0;
    if (ordinal_ + 1 < table().blocks()) prefetch_next();
    return show();
  }
  // A scan goes on: what it needs first of the next block arrives while it is in this one.
  void prefetch_next() {
    source_.prefetch(table(), ordinal_ + 1, static_cast<int>(prefetch_step_++));
    prefetch_at_ = prefetch_step_ < 3 ? block_->rows() * (1 + prefetch_step_) / 4 : 0;
  }
  // To the row before slot_, in whatever block or table it is.
  CursorState step_down(BlockUse use) {
    while (slot_ == 0) {
      while (ordinal_ == 0) {
        if (table_ == 0) return CursorState::kEnd;
        --table_;
        ordinal_ = blocks_end();
      }
      --ordinal_;
      const CursorState state = open(use);
      if (state != CursorState::kRow) return state;
      slot_ = rows_;
    }
    --slot_;
    show();
    if (!run_.infos[table_].trimmed || row_.key >= run_.infos[table_].smallest) return CursorState::kRow;
    // What is below is no longer the table's.
    ordinal_ = slot_ = 0;
    return step_down(use);
  }
  CursorState open(BlockUse use) {
    auto block = source_.load(table(), ordinal_, use);
    if (!block) {
      error_ = std::move(block).error();
      return CursorState::kFailed;
    }
    if (*block == nullptr) return CursorState::kNeedsDisk;
    if (block_.get() == *block) return CursorState::kRow;
    block_ = (*block)->shared_from_this();
    key_.assign(block_->prefix());
    rows_ = info().end.empty() ? block_->rows() : block_->lower_bound(info().end);
    return CursorState::kRow;
  }
  CursorState show() {
    row_ = block_->row(slot_);
    if (!back_ && slot_ + kRowsAhead < block_->rows()) block_->prefetch_values(slot_ + kRowsAhead, 1);
    const std::string_view suffix = block_->suffix(slot_);
    const size_t prefix = block_->prefix().size();
    if (key_.size() != prefix + suffix.size()) key_.resize(prefix + suffix.size());
    std::memcpy(key_.data() + prefix, suffix.data(), suffix.size());
    row_.key = key_;
    return CursorState::kRow;
  }

  const Run& run_;
  BlockSource& source_;
  size_t table_ = 0;
  uint32_t ordinal_ = 0, slot_ = 0;
  uint32_t rows_ = 0;           // of the block, that are the table's
  uint32_t prefetch_at_ = 0;    // the row at which more of the next block is asked for; 0: no more
  uint32_t prefetch_step_ = 0;  // of what
  bool back_ = false, prepared_ = false;
  std::shared_ptr<const Block> block_;
  std::string key_;
  Row row_;
  Error error_;
};

}  // namespace

std::unique_ptr<TwoWayCursor> run_cursor(const Run& run, BlockSource& source) {
  return std::make_unique<RunCursor>(run, source);
}

}  // namespace cairn::storage
