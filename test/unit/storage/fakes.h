// A loop, background threads and a clock that move only when a test says so, in an order drawn from a seed.
#pragma once

#include <deque>
#include <map>
#include <vector>

#include "base/clock.h"
#include "base/executor.h"
#include "base/random.h"
#include "storage/log/durable_writer.h"

namespace cairn::storage::test {

class FakeClock final : public Clock {
 public:
  Instant now() const override { return now_; }
  uint64_t wall_ms() const override { return now_ / kMillisecond; }
  void advance(Duration by) { now_ += by; }

 private:
  Instant now_ = kSecond;
};

class FakeLoop final : public Executor {
 public:
  explicit FakeLoop(FakeClock& clock) : clock_(clock) {}
  void post(Task task) override { tasks_.push_back(std::move(task)); }
  TimerId run_after(Duration delay, Task task) override {
    timers_.emplace(++last_timer_, std::pair(clock_.now() + delay, std::move(task)));
    return last_timer_;
  }
  void cancel(TimerId timer) override { timers_.erase(timer); }
  bool run_one() {
    if (tasks_.empty()) return false;
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    task();
    return true;
  }
  // Moves time to the next timer and runs it.
  bool fire_timer() {
    if (timers_.empty()) return false;
    auto next = timers_.begin();
    for (auto it = timers_.begin(); it != timers_.end(); ++it) {
      if (it->second.first < next->second.first) next = it;
    }
    if (next->second.first > clock_.now()) clock_.advance(next->second.first - clock_.now());
    Task task = std::move(next->second.second);
    timers_.erase(next);
    task();
    return true;
  }
  bool idle() const { return tasks_.empty(); }

 private:
  FakeClock& clock_;
  std::deque<Task> tasks_;
  std::map<TimerId, std::pair<Instant, Task>> timers_;
  TimerId last_timer_ = 0;
};

class FakeBackground final : public BackgroundExecutor {
 public:
  explicit FakeBackground(Random& random) : random_(random) {}
  void submit(JobPriority, Slice slice) override { jobs_.push_back(std::move(slice)); }
  // One slice of some job.
  bool run_one() {
    if (jobs_.empty()) return false;
    const size_t i = random_.below(jobs_.size());
    Slice job = std::move(jobs_[i]);
    jobs_.erase(jobs_.begin() + static_cast<ptrdiff_t>(i));
    if (job()) jobs_.push_back(std::move(job));
    return true;
  }
  bool idle() const { return jobs_.empty(); }

 private:
  Random& random_;
  std::vector<Slice> jobs_;
};

// A device that takes its time: a write begins at once and ends when finish() is called.
class SlowWriter final : public DurableWriter {
 public:
  void write(File& file, uint64_t offset, std::string_view data, Done done) override {
    (void)file.write_at(offset, data);  // in the device's cache: a crash may tear it
    file_ = &file;
    offset_ = offset;
    data_ = data;
    done_ = std::move(done);
  }
  bool finish() {
    if (!file_) return false;
    File* file = std::exchange(file_, nullptr);
    Done done = std::move(done_);
    done(file->write_durable(offset_, data_));
    return true;
  }

 private:
  File* file_ = nullptr;
  uint64_t offset_ = 0;
  std::string_view data_;
  Done done_;
};

// All of them under one seed.
struct Machine {
  explicit Machine(uint64_t seed = 1) : random(seed), loop(clock), background(random) {}
  SeededRandom random;
  FakeClock clock;
  FakeLoop loop;
  FakeBackground background;

  bool step() {
    if (random.chance(0.5)) return loop.run_one() || background.run_one();
    return background.run_one() || loop.run_one();
  }
  void settle() {
    while (step()) {
    }
  }
};

}  // namespace cairn::storage::test
