#include "server/runtime/event_loop.h"

#include <time.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <chrono>

namespace cairn::server {
namespace {
uint64_t read_clock(clockid_t id) {
  timespec t{};
  clock_gettime(id, &t);
  return static_cast<uint64_t>(t.tv_sec) * kSecond + static_cast<uint64_t>(t.tv_nsec);
}
}  // namespace

Instant RealClock::now() const { return read_clock(CLOCK_BOOTTIME); }
uint64_t RealClock::wall_ms() const { return read_clock(CLOCK_REALTIME) / kMillisecond; }

EventLoop::EventLoop(const Clock& clock) : clock_(clock), context_(1), timer_(context_) {}
EventLoop::~EventLoop() = default;

void EventLoop::post(Task task) { boost::asio::post(context_, std::move(task)); }

TimerId EventLoop::run_after(Duration delay, Task task) {
  const TimerId id = next_timer_++;
  const Instant at = clock_.now() + delay;
  timers_.emplace(std::pair(at, id), std::move(task));
  due_.emplace(id, at);
  arm();
  return id;
}

void EventLoop::cancel(TimerId timer) {
  const auto found = due_.find(timer);
  if (found == due_.end()) return;
  timers_.erase({found->second, timer});
  due_.erase(found);
}

void EventLoop::arm() {
  if (timers_.empty()) return;
  const Instant at = timers_.begin()->first.first;
  if (at >= armed_) return;  // an earlier wake-up will find it
  armed_ = at;
  const Instant now = clock_.now();
  timer_.expires_after(std::chrono::nanoseconds(at > now ? at - now : 0));
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    armed_ = kNever;
    fire();
    arm();
  });
}

void EventLoop::fire() {
  const Instant now = clock_.now();
  const TimerId fresh = next_timer_;  // what is set from here on waits for the next time, even if it is due at once
  for (;;) {
    auto next = timers_.begin();
    while (next != timers_.end() && next->first.first <= now && next->first.second >= fresh) ++next;
    if (next == timers_.end() || next->first.first > now) return;
    Task task = std::move(next->second);
    due_.erase(next->first.second);
    timers_.erase(next);
    task();
  }
}

size_t EventLoop::poll() {
  size_t ran = 0;
  while (ran < kHandlersPerTurn && context_.poll_one() != 0) ++ran;
  return ran;
}

// Where work rarely comes in time, looking for it only takes the processor from those who would bring it.
bool EventLoop::spin_pays() { return spin_ > 0 && (spin_hits_ >= kSpinScale / 2 || ++spins_left_out_ % 16 == 0); }

void EventLoop::lap(LoopProfile::Phase phase) {
  const Instant now = clock_.now();
  const Duration passed = now > lap_ ? now - lap_ : 0;
  lap_ = now;
  profile_.add(phase, passed);
  if (phase != LoopProfile::Phase::kIdle) busy_ += passed;
}

size_t EventLoop::wait() {
  if (spin_pays()) {
    const Instant until = lap_ + spin_;
    size_t ran = 0;
    do {
      lap(LoopProfile::Phase::kIdle);
      ran = poll();
    } while (ran == 0 && lap_ < until);
    spin_hits_ += ran > 0 ? (kSpinScale - spin_hits_) / 16 : -(spin_hits_ / 16);
    if (ran > 0) return ran;
  }
  // One call waits and runs the first handler. The processor's time tells them apart.
  const uint64_t used = read_clock(CLOCK_THREAD_CPUTIME_ID);
  context_.run_one();
  const Instant now = clock_.now();
  const Duration passed = now > lap_ ? now - lap_ : 0;
  const Duration busy = std::min<Duration>(read_clock(CLOCK_THREAD_CPUTIME_ID) - used, passed);
  profile_.add(LoopProfile::Phase::kIdle, passed - busy);
  lap_ = now - busy;
  return 1 + poll();
}

void EventLoop::run(const std::function<void()>& end_turn) {
  const auto guard = boost::asio::make_work_guard(context_);
  lap_ = clock_.now();
  while (!stopped_.load(std::memory_order_relaxed)) {
    if (poll() == 0) wait();
    lap(LoopProfile::Phase::kEvents);
    turns_.add_owned();
    end_turn();
    profile_.turn(std::exchange(busy_, 0));
  }
}

void EventLoop::stop() {
  stopped_ = true;
  post([] {});
}

}  // namespace cairn::server
