#include "storage/sstable/table_scrub.h"

#include <algorithm>
#include <utility>

namespace cairn::storage {
namespace {
constexpr uint64_t kSliceBytes = 256u << 10;
}

Result<bool> TableScrub::step() {
  if (!copy_) {
    CAIRN_TRY_VOID(open());
  } else if (auto read = read_blocks(); !read) {
    ahead_ = {};
    return std::move(read).error();
  }
  return next_block_ < copy_->blocks();
}

// Footer, properties, index, filter and deleted prefixes.
Result<void> TableScrub::open() {
  auto opened = Sstable::open(fs_, table_->path(), table_->number(), OpenMode::kReadDirect);
  if (!opened) {
    Error error = std::move(opened).error();
    if (error.code == ErrorCode::kNotFound) error.code = ErrorCode::kCorruption;  // nobody may have removed it yet
    return error;
  }
  if ((*opened)->info().entries != table_->info().entries || (*opened)->file_bytes() != table_->file_bytes()) {
    return corrupt(table_->path(), "is not the table that was written");
  }
  copy_ = std::move(*opened);
  uint64_t rows_bytes = 0;
  for (uint32_t i = 0; i < copy_->blocks(); ++i) rows_bytes += copy_->stored_bytes(i);
  bytes_read_ = copy_->file_bytes() - std::min(rows_bytes, copy_->file_bytes());
  return {};
}

Result<void> TableScrub::read_blocks() {
  for (uint64_t bytes = 0; next_block_ < copy_->blocks() && bytes < kSliceBytes; ++next_block_) {
    CAIRN_TRY(const auto block, copy_->read_block(next_block_, false, ahead_));
    rows_ += block->rows();
    bytes += copy_->stored_bytes(next_block_);
    bytes_read_ += copy_->stored_bytes(next_block_);
  }
  if (next_block_ == copy_->blocks() && rows_ != copy_->info().entries) {
    return corrupt(copy_->path(), "rows are missing");
  }
  return {};
}

}  // namespace cairn::storage
