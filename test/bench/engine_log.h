// The write-ahead log of the measured tablet. Which one depends on what the engines that it is compared with do:
//
// - Durable puts go through storage::SharedLog, written on the loop, exactly as in the daemon: whatever was added in a
//   turn of the loop is one durable write.
// - Puts that only have to reach write(2) go through WrittenLog. SharedLog would be no fair match there: it writes
// whole
//   pages past the page cache, because in the daemon nothing counts before it is durable. WrittenLog frames the same
//   bytes (the batch of one put, its index and time) with a length and a checksum and appends them by one write(2), as
//   the logs of the other engines do.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "base/checksum.h"
#include "base/codec.h"
#include "storage/io/file_system.h"

namespace cairn::bench {

// Thread safety: one thread. Never read: the measurements end cleanly.
class WrittenLog {
 public:
  WrittenLog(storage::FileSystem& fs, std::string dir, uint64_t segment_bytes)
      : fs_(fs), dir_(std::move(dir)), segment_bytes_(segment_bytes) {}

  Result<void> append(uint64_t index, uint64_t time_ms, std::string_view batch) {
    if (segments_.empty() || offset_ >= segment_bytes_) CAIRN_TRY_VOID(add_segment(index));
    record_.clear();
    put_u32(record_, static_cast<uint32_t>(batch.size() + 16));
    put_u32(record_, 0);
    put_u64(record_, index);
    put_u64(record_, time_ms);
    record_.append(batch);
    const uint32_t sum = crc32c(std::string_view(record_).substr(8));
    std::memcpy(record_.data() + 4, &sum, sizeof sum);
    CAIRN_TRY_VOID(segments_.back().file->write_at(offset_, record_));
    offset_ += record_.size();
    segments_.back().last_index = index;
    return {};
  }
  // Entries up to `index` are in SSTables.
  Result<void> release(uint64_t index) {
    while (!segments_.empty() && segments_.front().last_index <= index) {
      CAIRN_TRY_VOID(fs_.remove(segments_.front().path));
      segments_.pop_front();
    }
    return {};
  }

 private:
  struct Segment {
    std::string path;
    std::unique_ptr<storage::File> file;
    uint64_t last_index = 0;
  };
  Result<void> add_segment(uint64_t first_index) {
    Segment segment;
    segment.path = storage::join_path(dir_, std::to_string(first_index));
    CAIRN_TRY(segment.file, fs_.open(segment.path, storage::OpenMode::kCreateNew));
    segments_.push_back(std::move(segment));
    offset_ = 0;
    return {};
  }

  storage::FileSystem& fs_;
  std::string dir_;
  uint64_t segment_bytes_;
  std::deque<Segment> segments_;
  uint64_t offset_ = 0;
  std::string record_;
};

}  // namespace cairn::bench
