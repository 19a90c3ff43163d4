#include "storage/log/segment_maker.h"

#include <algorithm>

#include "storage/log/log_format.h"

namespace cairn::storage {
namespace {
constexpr uint64_t kSliceBytes = 512u << 10;
}

SegmentMaker::SegmentMaker(FileSystem& fs, std::string dir, uint64_t sequence, uint64_t bytes, uint64_t recycle)
    : fs_(fs),
      dir_(std::move(dir)),
      path_(join_path(dir_, segment_name(sequence))),
      temporary_(path_ + ".tmp"),
      sequence_(sequence),
      bytes_(bytes),
      recycle_(recycle) {}

bool SegmentMaker::step() {
  auto done = recycle_ != 0 ? take_over() : fill();
  if (done && !*done) return true;
  if (done) done = finish();
  if (done) return false;
  file_.reset();
  // The half-made file has no use; should its removal fail, recovery does it.
  if (recycle_ == 0) (void)fs_.remove(temporary_);
  result_ = Result<PreparedSegment>(with_context(std::move(done).error(), "preparing a log segment"));
  return false;
}

Result<bool> SegmentMaker::fill() {
  static const std::string zeroes(kSliceBytes, '\0');
  if (!file_) {
    CAIRN_TRY(const bool stale, fs_.exists(temporary_));
    if (stale) CAIRN_TRY_VOID(fs_.remove(temporary_));
    CAIRN_TRY(file_, fs_.open(temporary_, OpenMode::kCreateNew));
    CAIRN_TRY_VOID(file_->write_at(0, encode_segment_header({.sequence = sequence_, .bytes = bytes_})));
    filled_ = kLogAlign;
  }
  const uint64_t part = std::min(kSliceBytes, bytes_ - filled_);
  CAIRN_TRY_VOID(file_->write_at(filled_, std::string_view(zeroes).substr(0, part)));
  // Each part by itself: writes of the log would wait for all that the device has been given at once.
  CAIRN_TRY_VOID(file_->sync());
  filled_ += part;
  if (filled_ < bytes_) return false;
  file_.reset();
  CAIRN_TRY_VOID(fs_.rename(temporary_, path_));
  CAIRN_TRY_VOID(fs_.sync_dir(dir_));
  return true;
}

Result<bool> SegmentMaker::take_over() {
  // The new name first: until the header follows, it contradicts the name and the file counts as empty.
  CAIRN_TRY_VOID(fs_.rename(join_path(dir_, segment_name(recycle_)), path_));
  CAIRN_TRY_VOID(fs_.sync_dir(dir_));
  CAIRN_TRY(file_, fs_.open(path_, OpenMode::kReadWrite));
  CAIRN_TRY_VOID(file_->write_durable(0, encode_segment_header({.sequence = sequence_, .bytes = bytes_})));
  file_.reset();
  return true;
}

Result<bool> SegmentMaker::finish() {
  CAIRN_TRY(auto file, fs_.open(path_, OpenMode::kLog));
  result_ = Result<PreparedSegment>(
      PreparedSegment{sequence_, bytes_, recycle_ != 0, std::shared_ptr<File>(std::move(file))});
  return true;
}

}  // namespace cairn::storage
