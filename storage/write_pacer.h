// How fast writes may come while flushes go on, so that memory never fills before a flush has made room: every write
// waits a little instead of some for a whole flush.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/types.h"

namespace cairn::storage {

// The memory that memtables take, against the flushes that free it.
struct WritePressure {
  uint64_t limit_bytes = 0;   // of all memtables
  uint64_t used_bytes = 0;    // of all of them now
  uint64_t sealed_bytes = 0;  // of those that wait for their flush or are being written; freed as each one ends
  Duration flushing = 0;      // since the flush under way has begun
  double flush_rate = 0;      // memtable bytes a second, at which flushes have gone
};

// Nanoseconds from a write to the next one, for every byte of it: what room is left, spread over what the flushes
// still take. 0: nothing waits to be flushed. Flushes that take longer than expected meet writes that slow down ever
// more, by e in a quarter of the time they should have taken, and stop only just below the limit, at kSlowestNsPerByte.
inline constexpr double kSlowestNsPerByte = 10'000;  // a put of 100 bytes in a millisecond
double write_delay_ns_per_byte(const WritePressure& pressure);

// The rate of flushes, from those that went before: about the last kRememberedBytes count.
class FlushRate {
 public:
  static constexpr uint64_t kRememberedBytes = 256u << 20;
  // Memory of `bytes` was written out; `took`: since the flush began, or since the one before ended, if that was later.
  void flushed(uint64_t bytes, Duration took) {
    bytes_ += static_cast<double>(bytes);
    seconds_ += static_cast<double>(took) * 1e-9;
    while (bytes_ > static_cast<double>(kRememberedBytes)) bytes_ /= 2, seconds_ /= 2;
  }
  double bytes_per_second() const { return bytes_ / std::max(seconds_, 1e-6); }

 private:
  // To begin with a guess, which the first large flush outweighs.
  double bytes_ = 16u << 20;
  double seconds_ = 1.0 / 16;
};

// Keeps the pace. Thread safety: one thread.
class WritePacer {
 public:
  static constexpr Duration kOwedMax = 10 * kMillisecond;  // a large write, or a burst, never stops others for longer
  static constexpr uint64_t kRowBytes = 64;                // of a memtable, beside what a write says
  // wait_min: shorter waits are saved up, for the timers and turns of a loop are no finer.
  explicit WritePacer(Duration wait_min) : wait_min_(wait_min) {}
  // A write was let through. `bytes`: what it says; kRowBytes are added here.
  void wrote(uint64_t bytes, double delay_ns_per_byte, Instant now) {
    if (delay_ns_per_byte <= 0) return;
    waiting_ = waiting_ && due_ > now;
    const double owed = static_cast<double>(bytes + kRowBytes) * delay_ns_per_byte;
    due_ = std::max(due_, now) + static_cast<Duration>(std::min(owed, static_cast<double>(kOwedMax)));
    due_ = std::min(due_, now + kOwedMax);
    waiting_ = waiting_ || due_ >= now + wait_min_;
  }
  // Until the next write may come; 0: now. What is owed is forgotten once there is no delay any more.
  Duration wait(double delay_ns_per_byte, Instant now) {
    if (delay_ns_per_byte <= 0) due_ = 0;
    waiting_ = waiting_ && due_ > now;
    return waiting_ ? due_ - now : 0;
  }

 private:
  Duration wait_min_;
  Instant due_ = 0;  // of the next write
  bool waiting_ = false;
};

}  // namespace cairn::storage
