// Background threads for flushes, compactions, row fetches and segment preparation.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/executor.h"
#include "server/runtime/cpu_pace.h"

namespace cairn::server {

// Thread safety: any thread. Between two slices of a low job a high one may run. All threads but the first are for
// high jobs only; the first, which gets less of the processors, leaves them those while they are idle. Between slices,
// jobs rest as CpuPace says: a high one by itself, all low ones together. Destruction waits for the running slices and
// drops the rest.
class BackgroundPool final : public BackgroundExecutor {
 public:
  // `headroom`: of the processors that the process may use; see CpuPace.
  static constexpr double kHeadroom = 0.12;
  explicit BackgroundPool(size_t threads, double headroom = kHeadroom);
  ~BackgroundPool() override;
  void submit(JobPriority priority, Slice slice) override;
  void stop();
  bool idle() const { return jobs_.load(std::memory_order_acquire) == 0; }  // no job runs, waits or rests

 private:
  void work(bool high_only);
  bool takes_high(bool high_only) const;
  bool wait(std::unique_lock<std::mutex>& lock, bool high_only);
  Duration rest(Duration slice, bool high);
  void go_on(bool high, Slice slice, Duration rest);
  Instant next_due(bool high_only, Instant now);

  std::atomic<size_t> jobs_ = 0;  // that have not ended
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Slice> high_, low_;                    // guarded by mutex_
  size_t idle_high_ = 0;                            // threads for high jobs that wait for one; guarded by mutex_
  bool stopped_ = false;                            // guarded by mutex_
  Duration used_ = 0;                               // processor time of all slices so far; guarded by mutex_
  CpuPace pace_;                                    // guarded by mutex_
  Instant low_due_ = 0;                             // no low slice begins before; guarded by mutex_
  std::vector<std::pair<Instant, Slice>> resting_;  // high jobs, and when they go on; guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace cairn::server
