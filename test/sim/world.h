// Virtual time: one queue of events, one source of chance, one trace hash. Everything of a simulated cluster hangs on
// it.
#pragma once

#include <cstdint>
#include <cstdio>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

#include "base/checksum.h"
#include "base/clock.h"
#include "base/executor.h"
#include "base/random.h"

namespace cairn::sim {

class World {
 public:
  explicit World(uint64_t seed) : random(seed) {}

  Instant now() const { return now_; }
  // Runs `task` at `at` (not before now). Events of one instant run in order of scheduling.
  void at(Instant at, Task task) {
    events_.push(Event{std::max(at, now_), next_++, std::make_shared<Task>(std::move(task))});
  }
  void after(Duration delay, Task task) { at(now_ + delay, std::move(task)); }
  // Runs the next event; false: there is none.
  bool step() {
    if (events_.empty()) return false;
    Event event = events_.top();
    events_.pop();
    now_ = event.at;
    ++ran_;
    (*event.task)();
    return true;
  }
  uint64_t events() const { return ran_; }
  // Destroys what was to happen, as long as what it refers to is there.
  void forget_events() { events_ = {}; }
  // What happened, in order: two runs of one seed must agree.
  void trace(std::string_view what, uint64_t a = 0, uint64_t b = 0) {
    hash_ = hash64(what, hash_ ^ (now_ * 0x9E3779B97F4A7C15ull) ^ (a << 32) ^ b);
    if (verbose)
      std::printf("%10.6f %.*s %llu %llu\n", static_cast<double>(now_) * 1e-9, static_cast<int>(what.size()),
                  what.data(), static_cast<unsigned long long>(a), static_cast<unsigned long long>(b));
  }
  uint64_t hash() const { return hash_; }

  SeededRandom random;
  bool verbose = false;
  // Exponentially distributed with this mean.
  Duration exponential(Duration mean);

 private:
  struct Event {
    Instant at;
    uint64_t order;
    std::shared_ptr<Task> task;
    bool operator<(const Event& other) const {  // the queue's top is the earliest
      return at != other.at ? at > other.at : order > other.order;
    }
  };
  Instant now_ = kSecond;
  uint64_t next_ = 0;
  uint64_t ran_ = 0;
  uint64_t hash_ = 0;
  std::priority_queue<Event> events_;
};

// One node's clocks. The monotonic one drifts; the wall clock also jumps, freezes and strobes.
class SimClock final : public Clock {
 public:
  explicit SimClock(World& world) : world_(world) {}
  Instant now() const override {
    const uint64_t elapsed = world_.now() - since_;
    return base_ + elapsed + static_cast<uint64_t>(static_cast<int64_t>(elapsed) / 1'000'000 * drift_ppm_);
  }
  uint64_t wall_ms() const override {
    const uint64_t t = frozen_ ? frozen_at_ : world_.now();
    return static_cast<uint64_t>(static_cast<int64_t>(1'700'000'000'000 + t / kMillisecond) + wall_offset_ms_);
  }
  void set_drift(int64_t ppm) {
    base_ = now();
    since_ = world_.now();
    drift_ppm_ = ppm;
  }
  void jump_wall(int64_t ms) { wall_offset_ms_ += ms; }
  void set_wall_offset(int64_t ms) { wall_offset_ms_ = ms; }
  void freeze_wall(bool frozen) {
    frozen_ = frozen;
    frozen_at_ = world_.now();
  }
  // Real duration after which this clock has moved by `d`.
  Duration real(Duration d) const {
    return static_cast<Duration>(static_cast<int64_t>(d) - static_cast<int64_t>(d) / 1'000'000 * drift_ppm_);
  }

 private:
  World& world_;
  Instant base_ = kSecond;
  Instant since_ = kSecond;
  int64_t drift_ppm_ = 0;
  int64_t wall_offset_ms_ = 0;
  bool frozen_ = false;
  Instant frozen_at_ = 0;
};

// The state of one process that its loops share: alive, paused, slow.
struct Process {
  bool alive = true;
  Instant paused_until = 0;
  uint64_t slowness = 1;  // tasks take so many times as long
};

// One loop of a process. Tasks run in order, each taking a little time; none runs in a dead process.
class SimExecutor final : public Executor {
 public:
  SimExecutor(World& world, SimClock& clock, std::shared_ptr<Process> process, Task after_task)
      : world_(world), clock_(clock), process_(std::move(process)), after_task_(std::move(after_task)) {}
  void post(Task task) override { schedule(world_.now() + world_.random.between(500, 5000), std::move(task)); }
  TimerId run_after(Duration delay, Task task) override {
    const TimerId id = next_timer_++;
    auto live = std::make_shared<bool>(true);
    timers_[id] = live;
    // A late wake-up is normal.
    const Duration real = clock_.real(delay) + world_.random.between(1000, 100'000);
    world_.after(real, [this, process = process_, live, id, task = std::move(task)]() mutable {
      if (!process->alive || !*live) return;
      schedule(world_.now(), [this, live, id, task = std::move(task)]() mutable {
        if (!*live) return;
        timers_.erase(id);
        task();
      });
    });
    return id;
  }
  void cancel(TimerId timer) override {
    const auto found = timers_.find(timer);
    if (found == timers_.end()) return;
    *found->second = false;
    timers_.erase(found);
  }

 private:
  void schedule(Instant at, Task task) {
    if (!process_->alive) return;
    last_ = std::max(last_ + 1, at);
    run_at(last_, std::make_shared<Task>(std::move(task)));
  }
  void run_at(Instant at, std::shared_ptr<Task> task) {
    world_.at(at, [this, process = process_, task] {
      if (!process->alive) return;
      if (process->paused_until > world_.now()) {  // stopped: everything waits, in order
        run_at(process->paused_until, task);
        return;
      }
      const uint64_t cost = world_.random.between(1000, 10'000) * process->slowness;
      last_ = std::max(last_, world_.now() + cost);
      (*task)();
      if (process->alive && after_task_) after_task_();
    });
  }

  World& world_;
  SimClock& clock_;
  std::shared_ptr<Process> process_;
  Task after_task_;
  Instant last_ = 0;
  TimerId next_timer_ = 1;
  std::map<TimerId, std::shared_ptr<bool>> timers_;
};

// Background threads: slices of jobs, one after another, each taking disk-like time.
class SimBackground final : public BackgroundExecutor {
 public:
  SimBackground(World& world, std::shared_ptr<Process> process) : world_(world), process_(std::move(process)) {}
  void submit(JobPriority priority, Slice slice) override {
    (priority == JobPriority::kHigh ? high_ : low_).push_back(std::make_shared<Slice>(std::move(slice)));
    wake();
  }
  uint64_t slowness = 1;

 private:
  void wake() {
    if (running_ || (high_.empty() && low_.empty())) return;
    running_ = true;
    world_.after(world_.random.between(20, 400) * kMicrosecond * slowness, [this, process = process_] {
      if (!process->alive) return;
      running_ = false;
      if (process->paused_until > world_.now()) {
        running_ = true;
        world_.at(process->paused_until, [this, process] {
          if (!process->alive) return;
          running_ = false;
          wake();
        });
        return;
      }
      auto& queue = !high_.empty() ? high_ : low_;
      if (queue.empty()) return;
      const std::shared_ptr<Slice> slice = queue.front();
      queue.pop_front();
      if ((*slice)()) queue.push_back(slice);
      wake();
    });
  }
  World& world_;
  std::shared_ptr<Process> process_;
  std::deque<std::shared_ptr<Slice>> high_, low_;
  bool running_ = false;
};

}  // namespace cairn::sim
