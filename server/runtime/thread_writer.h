// Durable log writes on a thread of their own: for disks on which a write takes long enough to be worth two wake-ups.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>

#include "base/executor.h"
#include "storage/log/durable_writer.h"

namespace cairn::server {

// Thread safety: write() on the loop of the log; one write at a time.
class ThreadDurableWriter final : public storage::DurableWriter {
 public:
  explicit ThreadDurableWriter(Executor& loop);
  ~ThreadDurableWriter() override;
  void write(storage::File& file, uint64_t offset, std::string_view data, Done done) override;

 private:
  void work();

  Executor& loop_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Job> job_;  // guarded by mutex_
  bool stopped_ = false;    // guarded by mutex_
  std::thread thread_;
};

}  // namespace cairn::server
