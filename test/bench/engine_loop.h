// The loop and the background thread of the measured store.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

#include "base/clock.h"
#include "base/executor.h"

namespace cairn::bench {

class SteadyClock final : public Clock {
 public:
  Instant now() const override { return nanoseconds<std::chrono::steady_clock>(); }
  uint64_t wall_ms() const override { return nanoseconds<std::chrono::system_clock>() / kMillisecond; }

 private:
  template <class Source>
  static uint64_t nanoseconds() {
    const auto since = Source::now().time_since_epoch();
    return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(since).count());
  }
};

// Runs on the thread that calls run_ready() and wait(): the client's own.
class BenchLoop final : public Executor {
 public:
  void post(Task task) override {
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
      posted_.store(true, std::memory_order_release);
    }
    changed_.notify_one();
  }
  TimerId run_after(Duration delay, Task task) override {
    timers_.emplace(++last_timer_, Timer{clock_.now() + delay, std::move(task)});
    return last_timer_;
  }
  void cancel(TimerId timer) override { timers_.erase(timer); }

  // What was posted, and timers that are due. True if there was anything.
  bool run_ready() {
    if (!posted_.load(std::memory_order_acquire) && timers_.empty()) return false;
    return run();
  }
  // The same once there is something, or after `longest`.
  bool wait(Duration longest) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, std::chrono::nanoseconds(longest), [this] { return !tasks_.empty(); });
    }
    return run_ready();
  }
  bool idle() const { return timers_.empty() && !posted_.load(std::memory_order_acquire); }

 private:
  struct Timer {
    Instant due;
    Task task;
  };
  bool run() {
    std::deque<Task> tasks;
    {
      const std::lock_guard lock(mutex_);
      tasks.swap(tasks_);
      posted_.store(false, std::memory_order_relaxed);
    }
    for (auto it = timers_.begin(); it != timers_.end();) {
      if (it->second.due > clock_.now()) {
        ++it;
        continue;
      }
      tasks.push_back(std::move(it->second.task));
      it = timers_.erase(it);
    }
    for (Task& task : tasks) task();
    return !tasks.empty();
  }

  SteadyClock clock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;  // guarded by mutex_
  std::atomic<bool> posted_ = false;
  std::map<TimerId, Timer> timers_;
  TimerId last_timer_ = 0;
};

}  // namespace cairn::bench
