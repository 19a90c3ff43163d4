// The write-ahead log of the measured tablet. Which one depends on what the engines that it is compared with do:
//
// - Durable puts go through storage::SharedLog, written on the loop, exactly as in the daemon: whatever was added in a
//   turn of the loop is one durable write.
// - Puts that only have to reach write(2) go through WrittenLog. SharedLog would be no fair match there: it writes
// whole
//   pages past the page cache, because in the daemon nothing counts before it is durable. WrittenLog frames the same
//   bytes (the batch of one put, its index and time) with a length and a checksum and appends them by one write(2), as
//   the logs of the other engines do. Its segments are SharedLog's: of the same size, filled with zeros in the
//   background before use, and recycled.
#pragma once

#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "base/codec.h"
#include "base/executor.h"
#include "storage/io/file_system.h"

namespace cairn::bench {

// Thread safety: one thread, that of `loop`. Never read: the measurements end cleanly. Removes its files in the end.
// Errors of the background are met again by those who write.
class WrittenLog {
 public:
  WrittenLog(storage::FileSystem& fs, Executor& loop, BackgroundExecutor& background, std::string dir)
      : fs_(fs), loop_(loop), background_(background), dir_(std::move(dir)) {
    auto first = make_segment();
    if (first && fill(*first)) ready_.push_back(std::move(*first));
  }
  ~WrittenLog() {
    for (auto* list : {&ready_, &used_}) {
      for (const Segment& segment : *list) (void)fs_.remove(segment.path);
    }
  }

  Result<void> append(uint64_t index, uint64_t time_ms, std::string_view batch) {
    record_.clear();
    put_u32(record_, static_cast<uint32_t>(batch.size() + 16));
    put_u32(record_, 0);
    put_u64(record_, index);
    put_u64(record_, time_ms);
    record_.append(batch);
    const uint32_t sum = crc32c(std::string_view(record_).substr(8));
    std::memcpy(record_.data() + 4, &sum, sizeof sum);
    if (used_.empty() || offset_ + record_.size() > kSegmentBytes) CAIRN_TRY_VOID(next_segment());
    CAIRN_TRY_VOID(used_.back().file->write_at(offset_, record_));
    offset_ += record_.size();
    used_.back().last_index = index;
    return {};
  }
  // Entries up to `index` are in SSTables. What is written at present stays.
  void release(uint64_t index) {
    while (used_.size() > 1 && used_.front().last_index <= index) {
      ready_.push_back(std::move(used_.front()));
      used_.pop_front();
    }
  }

 private:
  static constexpr uint64_t kSegmentBytes = 16u << 20;
  struct Segment {
    std::string path;
    std::unique_ptr<storage::File> file;
    uint64_t last_index = 0;
  };

  Result<Segment> make_segment() {
    Segment segment;
    segment.path = storage::join_path(dir_, std::to_string(++made_));
    CAIRN_TRY(segment.file, fs_.open(segment.path, storage::OpenMode::kCreateNew));
    return segment;
  }
  static bool fill(Segment& segment) {
    // In small pieces: the page cache keeps what one write brings in one folio, and a later write into a large one is
    // slower the larger it is.
    const std::string zeros(4096, '\0');
    for (uint64_t at = 0; at < kSegmentBytes; at += zeros.size()) {
      if (!segment.file->write_at(at, zeros)) return false;
    }
    return true;
  }
  Result<void> next_segment() {
    if (ready_.empty()) {
      CAIRN_TRY(auto segment, make_segment());
      ready_.push_back(std::move(segment));
    }
    used_.push_back(std::move(ready_.front()));
    ready_.pop_front();
    offset_ = 0;
    if (ready_.empty()) prepare();
    return {};
  }
  // Requires: the background ends before the log does.
  void prepare() {
    auto made = make_segment();
    if (!made) return;
    auto segment = std::make_shared<Segment>(std::move(*made));
    background_.submit(JobPriority::kHigh, [this, segment] {
      if (fill(*segment)) loop_.post([this, segment] { ready_.push_back(std::move(*segment)); });
      return false;
    });
  }

  storage::FileSystem& fs_;
  Executor& loop_;
  BackgroundExecutor& background_;
  std::string dir_;
  uint64_t made_ = 0;
  std::deque<Segment> ready_, used_;
  uint64_t offset_ = 0;
  std::string record_;
};

}  // namespace cairn::bench
