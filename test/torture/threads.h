// Real threads and a real loop for a tablet store, so that what they share can be watched (scripts/sanitize tsan).
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/executor.h"

namespace cairn::storage::test {

class SteadyClock final : public Clock {
 public:
  Instant now() const override {
    const auto since = std::chrono::steady_clock::now().time_since_epoch();
    return static_cast<Instant>(std::chrono::duration_cast<std::chrono::nanoseconds>(since).count());
  }
  uint64_t wall_ms() const override { return now() / kMillisecond; }
};

// Whoever calls run_one() is the loop.
class ThreadLoop final : public Executor {
 public:
  explicit ThreadLoop(const Clock& clock) : clock_(clock) {}
  void post(Task task) override {
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    changed_.notify_one();
  }
  TimerId run_after(Duration delay, Task task) override {
    timers_.emplace(++last_timer_, std::pair(clock_.now() + delay, std::move(task)));
    return last_timer_;
  }
  void cancel(TimerId timer) override { timers_.erase(timer); }
  // A task, or a timer whose time has come. `wait`: until there is a task, or for a moment.
  bool run_one(bool wait) {
    for (auto it = timers_.begin(); it != timers_.end(); ++it) {
      if (it->second.first > clock_.now()) continue;
      Task due = std::move(it->second.second);
      timers_.erase(it);
      due();
      return true;
    }
    Task task;
    {
      std::unique_lock lock(mutex_);
      if (wait) changed_.wait_for(lock, std::chrono::milliseconds(1), [&] { return !tasks_.empty(); });
      if (tasks_.empty()) return false;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
    return true;
  }

 private:
  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;  // under mutex_
  std::map<TimerId, std::pair<Instant, Task>> timers_;
  TimerId last_timer_ = 0;
};

// Ends with the slices that run; the rest is dropped.
class ThreadPool final : public BackgroundExecutor {
 public:
  explicit ThreadPool(size_t threads) {
    for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }
  ~ThreadPool() override {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  void submit(JobPriority, Slice slice) override {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(slice));
    }
    changed_.notify_one();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return stopped_ || !jobs_.empty(); });
      if (stopped_) return;
      Slice slice = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      const bool more = slice();
      if (!more) slice = nullptr;  // what it owns goes here, too, and not under the lock
      lock.lock();
      if (more) jobs_.push_back(std::move(slice));
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Slice> jobs_;  // under mutex_
  bool stopped_ = false;    // likewise
  std::vector<std::thread> threads_;
};

}  // namespace cairn::storage::test
