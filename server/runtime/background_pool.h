// Background threads for flushes, compactions, row fetches and segment preparation.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "base/executor.h"

namespace cairn::server {

// Thread safety: any thread. Between two slices of a low job a high one may run. All threads but the first are for
// high jobs only; the first, which gets less of the processors, leaves them those while they are idle. Destruction
// waits for the running slices and drops the rest.
class BackgroundPool final : public BackgroundExecutor {
 public:
  explicit BackgroundPool(size_t threads);
  ~BackgroundPool() override;
  void submit(JobPriority priority, Slice slice) override;
  void stop();

 private:
  void work(bool high_only);
  bool takes_high(bool high_only) const;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Slice> high_, low_;  // guarded by mutex_
  size_t idle_high_ = 0;          // threads for high jobs that wait for one; guarded by mutex_
  bool stopped_ = false;          // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace cairn::server
