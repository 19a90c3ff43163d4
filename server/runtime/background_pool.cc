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

BackgroundPool::BackgroundPool(size_t threads, double headroom, size_t processors)
    : pace_({.processors = usable_processors(), .headroom = headroom}),
      turns_(threads, std::max<size_t>(processors, 2) - 1) {
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this, i] { work(i); });
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
    if (priority == JobPriority::kHigh) {
      high_.push_back({std::move(slice), Kind::kFresh});
    } else {
      low_.push_back({std::move(slice), Kind::kLow});
    }
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
      high_.push_back({std::move(resting_[i].second), Kind::kHigh});
      resting_.erase(resting_.begin() + static_cast<ptrdiff_t>(i));
      changed_.notify_all();  // it may be another thread that takes it
    } else {
      next = std::min(next, resting_[i++].first);
    }
  }
  return next;
}

BackgroundPool::Job BackgroundPool::take(std::deque<Job>& queue, std::deque<Job>::iterator job) {
  Job taken = std::move(*job);
  queue.erase(job);
  return taken;
}

// What such a thread does next. `refused`: there is something, but no place.
std::optional<BackgroundPool::Job> BackgroundPool::choose(bool high_only, Instant now, bool& refused) {
  const bool low = low_due(now);
  if (low && !high_only && turns_.low_turn()) return take(low_, low_.begin());
  const auto may_begin = [&](const Job& job) { return turns_.may_begin(job.kind, low && first_idle_, now); };
  if (takes_high(high_only)) {
    const auto next = std::ranges::find_if(high_, may_begin);
    if (next != high_.end()) return take(high_, next);
    refused = true;
  }
  if (!low || high_only) return std::nullopt;
  if (may_begin(low_.front())) return take(low_, low_.begin());
  refused = true;
  return std::nullopt;
}

// Until there is something for such a thread. Nothing: the end.
std::optional<BackgroundPool::Job> BackgroundPool::wait(std::unique_lock<std::mutex>& lock, bool high_only) {
  std::optional<Job> job;
  if (high_only) ++idle_high_;
  while (!stopped_) {
    bool refused = false;
    const Instant now = nanoseconds(CLOCK_MONOTONIC);
    Instant due = next_due(high_only, now);
    if ((job = choose(high_only, now, refused))) break;
    if (!high_only) first_idle_ = true;
    if (std::exchange(place_left_, false)) changed_.notify_all();  // for those who were refused before
    if (due <= now) due = kNever;                                  // a low job that was refused
    if (refused) due = std::min(due, turns_.ask_again(now));
    if (due == kNever) {
      changed_.wait(lock);
    } else {
      changed_.wait_until(lock, time_point(due));
    }
  }
  if (high_only) --idle_high_;
  if (!high_only) first_idle_ = false;
  place_left_ = false;
  return job;
}

// After a slice that took so long.
Duration BackgroundPool::rest(Duration slice, bool high) {
  const double longest = (high ? CpuPace::kHighRestMax : CpuPace::kLowRestMax) * static_cast<double>(slice);
  const Duration rest = pace_.rest(nanoseconds(CLOCK_MONOTONIC), static_cast<Duration>(longest),
                                   nanoseconds(CLOCK_PROCESS_CPUTIME_ID), used_);
  turns_.serving(pace_.serving());
  return rest >= kRestMin ? rest : 0;
}

void BackgroundPool::go_on(Job job, Duration rest) {
  if (job.kind == Kind::kLow) return low_.push_back(std::move(job));
  job.kind = Kind::kHigh;
  if (rest > 0) return resting_.emplace_back(nanoseconds(CLOCK_MONOTONIC) + rest, std::move(job.slice)), void();
  high_.push_back(std::move(job));
  if (idle_high_ > 0) changed_.notify_all();  // a thread of its own may go on with it
}

// One slice, without the lock.
void BackgroundPool::run(std::unique_lock<std::mutex>& lock, size_t thread, Job job) {
  const bool high = job.kind != Kind::kLow;
  CAIRN_ASSERT(high || thread == 0);
  turns_.begin(thread, job.kind, nanoseconds(CLOCK_MONOTONIC));
  lock.unlock();
  const Duration before = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
  const bool more = job.slice();
  if (!more) jobs_.fetch_sub(1, std::memory_order_release);
  const Duration took = nanoseconds(CLOCK_THREAD_CPUTIME_ID) - before;
  lock.lock();
  used_ += took;
  const Duration resting = rest(took, high);
  const Instant now = nanoseconds(CLOCK_MONOTONIC);
  place_left_ = true;
  turns_.end(thread, low_due(now), now);
  if (!high) low_due_ = resting > 0 ? now + resting : 0;
  if (more && !stopped_) return go_on(std::move(job), resting);
  lock.unlock();
  job.slice = nullptr;  // what it owns is released outside the lock
  lock.lock();
}

void BackgroundPool::work(size_t thread) {
  const bool high_only = thread > 0;
  pthread_setname_np(pthread_self(), high_only ? "cairn-fetch" : "cairn-compact");
  // The loops go first when cores are short.
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), high_only ? 1 : 5);
  std::unique_lock lock(mutex_);
  while (std::optional<Job> job = wait(lock, high_only)) run(lock, thread, std::move(*job));
}

}  // namespace cairn::server
