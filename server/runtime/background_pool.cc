#include "server/runtime/background_pool.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>

#include "base/assert.h"

namespace cairn::server {
namespace {

constexpr Duration kRestMin = 100 * kMicrosecond;  // shorter ones stay owed: timers are no finer

uint64_t nanoseconds(clockid_t clock) {
  timespec at{};
  ::clock_gettime(clock, &at);
  return static_cast<uint64_t>(at.tv_sec) * kSecond + static_cast<uint64_t>(at.tv_nsec);
}

std::chrono::steady_clock::time_point time_point(Instant at) {
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(at));
}

}  // namespace

BackgroundPool::BackgroundPool(size_t threads, double headroom)
    : pace_({.processors = usable_processors(), .headroom = headroom}) {
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this, high_only = i > 0] { work(high_only); });
}

BackgroundPool::~BackgroundPool() { stop(); }

void BackgroundPool::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
  threads_.clear();
}

void BackgroundPool::submit(JobPriority priority, Slice slice) {
  jobs_.fetch_add(1, std::memory_order_relaxed);
  {
    const std::lock_guard lock(mutex_);
    (priority == JobPriority::kHigh ? high_ : low_).push_back(std::move(slice));
  }
  // Threads for high jobs only do not wake for low ones: notify all, there are few.
  changed_.notify_all();
}

bool BackgroundPool::takes_high(bool high_only) const { return high_only ? !high_.empty() : high_.size() > idle_high_; }

// Puts the high jobs that are due at `now` back to their queue, and says when there is something to do that only waits
// for its time: at or before `now` only if it is a low job. kNever: nothing.
Instant BackgroundPool::next_due(bool high_only, Instant now) {
  Instant next = !high_only && !low_.empty() ? low_due_ : kNever;
  for (size_t i = 0; i < resting_.size();) {
    if (resting_[i].first <= now) {
      high_.push_back(std::move(resting_[i].second));
      resting_.erase(resting_.begin() + static_cast<ptrdiff_t>(i));
      changed_.notify_all();  // it may be another thread that takes it
    } else {
      next = std::min(next, resting_[i++].first);
    }
  }
  return next;
}

// Until there is something for such a thread. False: the end.
bool BackgroundPool::wait(std::unique_lock<std::mutex>& lock, bool high_only) {
  if (high_only) ++idle_high_;
  while (!stopped_) {
    const Instant now = nanoseconds(CLOCK_MONOTONIC), due = next_due(high_only, now);
    if (takes_high(high_only) || due <= now) break;
    if (due == kNever) {
      changed_.wait(lock);
    } else {
      changed_.wait_until(lock, time_point(due));
    }
  }
  if (high_only) --idle_high_;
  return !stopped_;
}

// After a slice that took so long.
Duration BackgroundPool::rest(Duration slice, bool high) {
  const double longest = (high ? CpuPace::kHighRestMax : CpuPace::kLowRestMax) * static_cast<double>(slice);
  const Duration rest = pace_.rest(nanoseconds(CLOCK_MONOTONIC), static_cast<Duration>(longest),
                                   nanoseconds(CLOCK_PROCESS_CPUTIME_ID), used_);
  return rest >= kRestMin ? rest : 0;
}

void BackgroundPool::go_on(bool high, Slice slice, Duration rest) {
  if (!high) return low_.push_back(std::move(slice));
  if (rest > 0) return resting_.emplace_back(nanoseconds(CLOCK_MONOTONIC) + rest, std::move(slice)), void();
  high_.push_back(std::move(slice));
  if (idle_high_ > 0) changed_.notify_all();  // a thread of its own may go on with it
}

void BackgroundPool::work(bool high_only) {
  pthread_setname_np(pthread_self(), high_only ? "cairn-fetch" : "cairn-compact");
  // The loops go first when cores are short.
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), high_only ? 1 : 5);
  std::unique_lock lock(mutex_);
  while (wait(lock, high_only)) {
    const bool high = takes_high(high_only);
    std::deque<Slice>& queue = high ? high_ : low_;
    CAIRN_ASSERT(!queue.empty() && (high || !high_only));
    Slice slice = std::move(queue.front());
    queue.pop_front();
    lock.unlock();
    const Duration before = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
    const bool more = slice();
    if (!more) jobs_.fetch_sub(1, std::memory_order_release);
    const Duration took = nanoseconds(CLOCK_THREAD_CPUTIME_ID) - before;
    lock.lock();
    used_ += took;
    const Duration resting = rest(took, high);
    if (!high) low_due_ = resting > 0 ? nanoseconds(CLOCK_MONOTONIC) + resting : 0;
    if (more && !stopped_) {
      go_on(high, std::move(slice), resting);
    } else {
      lock.unlock();
      slice = nullptr;  // what it owns is released outside the lock
      lock.lock();
    }
  }
}

}  // namespace cairn::server
