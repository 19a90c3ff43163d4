// Makes segments ready for use: zero-fills new files, or takes over dead ones. Runs in slices on a background
// thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "storage/io/file_system.h"

namespace cairn::storage {

struct PreparedSegment {
  uint64_t sequence = 0;
  uint64_t bytes = 0;
  bool recycled = false;
  std::shared_ptr<File> file;  // open for durable writes
};

// Thread safety: one thread at a time. `fs` outlives it.
class SegmentMaker {
 public:
  // `recycle` = sequence of a dead segment of exactly `bytes`, or 0: a new file.
  SegmentMaker(FileSystem& fs, std::string dir, uint64_t sequence, uint64_t bytes, uint64_t recycle);
  // One slice. True while more remains; then result() is set. A failed new file is removed again.
  bool step();
  Result<PreparedSegment>& result() { return *result_; }

 private:
  Result<bool> fill();  // true once the segment is in place
  Result<bool> take_over();
  Result<bool> finish();

  FileSystem& fs_;
  std::string dir_, path_, temporary_;
  uint64_t sequence_, bytes_, recycle_;
  uint64_t filled_ = 0;
  std::unique_ptr<File> file_;
  std::optional<Result<PreparedSegment>> result_;
};

}  // namespace cairn::storage
