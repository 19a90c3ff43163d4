// One event loop on one thread: Asio for sockets, a timer queue, and a hook that runs after each batch of events.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <utility>

#include "base/clock.h"
#include "base/executor.h"
#include "base/metrics.h"
#include "server/runtime/loop_profile.h"

namespace cairn::server {

class RealClock final : public Clock {
 public:
  Instant now() const override;       // CLOCK_BOOTTIME
  uint64_t wall_ms() const override;  // CLOCK_REALTIME
};

// Thread safety: post() and stop() from any thread; the rest on the loop's own thread (or before run()).
class EventLoop final : public Executor {
 public:
  explicit EventLoop(const Clock& clock);
  ~EventLoop() override;

  void post(Task task) override;
  TimerId run_after(Duration delay, Task task) override;
  void cancel(TimerId timer) override;

  // Runs until stop(). After every batch of events `end_turn` is called once. A batch is what is ready, but at most
  // kHandlersPerTurn handlers: tasks, timers or sockets that are always ready delay neither the end of the turn nor
  // each other for ever.
  void run(const std::function<void()>& end_turn);
  void stop();
  static constexpr size_t kHandlersPerTurn = 1024;

  boost::asio::io_context& context() { return context_; }
  // How long an idle loop looks for work before it blocks, as long as that finds some more often than not. 0: it
  // blocks at once.
  void set_spin(Duration spin) { spin_ = spin; }
  const Counter& turns() const { return turns_; }

  // On the loop's thread: the time since the last lap (or the start of what runs) belongs to `phase`.
  void lap(LoopProfile::Phase phase);
  const LoopProfile& profile() const { return profile_; }

 private:
  void arm();
  void fire();
  size_t poll();  // handlers run
  bool spin_pays();
  size_t wait();  // for work, spinning first; handlers run

  const Clock& clock_;
  boost::asio::io_context context_;
  boost::asio::steady_timer timer_;
  Instant armed_ = kNever;
  std::map<std::pair<Instant, TimerId>, Task> timers_;
  std::map<TimerId, Instant> due_;
  TimerId next_timer_ = 1;
  Duration spin_ = 0;
  static constexpr int kSpinScale = 1 << 12;
  int spin_hits_ = kSpinScale;  // share of the last dozens of spins that found work
  uint32_t spins_left_out_ = 0;
  std::atomic<bool> stopped_{false};
  Counter turns_;
  LoopProfile profile_;
  Instant lap_ = 0;    // when the last lap ended
  Duration busy_ = 0;  // of this turn
};

}  // namespace cairn::server
