// Unlinking of files that nobody needs any more, in the background and at a bounded rate: to give back many GiB at once
// keeps a file system's journal, and a device that is told of every freed block, from everything else.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "base/clock.h"
#include "base/executor.h"
#include "base/metrics.h"
#include "storage/io/file_system.h"

namespace cairn::storage {

struct PacedDeleterOptions {
  uint64_t bytes_per_second = 512u << 20;  // 0: at once
  uint64_t free_bytes_min = 0;             // with less free on the disk nothing is held back
};

// Large files shrink step by step before they go, unless they have another name: then only this one goes. A file whose
// removal fails stays, as does what is left in the queue at the end: the next start finds both.
//
// Thread safety: add() and add_dir() from any thread, all else on the loop. `fs` outlives every owner; what else the
// environment has must live until close().
class PacedDeleter : public std::enable_shared_from_this<PacedDeleter> {
 public:
  struct Environment {
    FileSystem* fs;
    BackgroundExecutor* background;
    Executor* loop;
    const Clock* clock;
    std::string dir;  // on whose disk there is to be room
  };
  static constexpr uint64_t kStepBytes = 64u << 20;  // given back at once
  static constexpr size_t kStepFiles = 64;           // removed at once

  PacedDeleter(Environment env, PacedDeleterOptions options) : env_(std::move(env)), options_(options) {}
  // Nobody else uses the path from now on, and none like it is created before it is gone.
  void add(std::string path) { push({std::move(path), false}); }
  // A directory with the files in it; it has no directories.
  void add_dir(std::string dir) { push({std::move(dir), true}); }
  // Space is needed: until the queue is empty nothing is held back.
  void hurry();
  void set_rate(uint64_t bytes_per_second) { options_.bytes_per_second = bytes_per_second; }
  // Nothing more is begun; what comes later is removed at once.
  void close();

  uint64_t waiting() const;  // files and directories
  const Counter& removed() const { return removed_; }
  const Counter& removed_bytes() const { return removed_bytes_; }
  const Counter& failures() const { return failures_; }

 private:
  struct Item {
    std::string path;
    bool dir = false;
  };
  struct Step {
    uint64_t bytes = 0;
    size_t files = 0;
    bool full() const { return bytes >= kStepBytes || files >= kStepFiles; }
  };
  void push(Item item);
  void next();
  bool held_back() const;
  Step work();
  bool remove_one(const Item& item, Step& step);
  bool unlink(const std::string& path);
  void worked(const Step& step);

  Environment env_;
  PacedDeleterOptions options_;
  mutable std::mutex mutex_;
  std::deque<Item> queue_;  // under mutex_, as the next two
  bool running_ = false;    // a step is posted, under way or waits for its time
  bool closed_ = false;
  bool hurried_ = false;
  Instant free_at_ = 0;  // from then on the next step may begin
  TimerId timer_ = 0;
  Counter removed_, removed_bytes_, failures_;
};

}  // namespace cairn::storage
