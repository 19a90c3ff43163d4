// When a processor should poll for reads.
#pragma once

#include <algorithm>

#include "base/types.h"

namespace cairn::server {

// A read of what the kernel holds costs a loop 0.5 to 2 us by a system call (kernels that keep their page tables apart,
// and guests of some hypervisors, are at the upper end), more than half of what the whole lookup takes. A thread of the
// kernel that polls for reads spares the loop that call, but takes a processor of its own as long as it polls. So it
// should only while reads come so fast that their calls take a good part of the loop's time, and while there is a
// processor that nobody else wants. Whether there really is one shows in how long answers take: where the loop has to
// wait for them, polling pauses. No clock, no threads; not thread safe.
class ReadPolling {
 public:
  static constexpr uint64_t kReadsPerLook = 256;
  static constexpr Duration kFast = 2 * kMillisecond;  // what so many reads take at most: 128,000 a second
  static constexpr double kWaitingMax = 1.0 / 8;       // of the time, in which the loop waits for answers that are late
  static constexpr Duration kWaitingBurst = 2 * kMillisecond;
  static constexpr Duration kPauseMin = 10 * kMillisecond, kPauseMax = kSecond;

  // Every read, whichever way it goes. True: look() is due before it.
  bool counted() { return ++reads_ % kReadsPerLook == 0; }
  // `spare`: nobody else wants one of the processors. `waited`: for late answers since the last look.
  void look(Instant now, bool spare, Duration waited) {
    const Duration took = now - last_;
    last_ = now;
    owed_ = std::max(0.0, owed_ + static_cast<double>(waited) - kWaitingMax * static_cast<double>(took));
    if (owed_ > static_cast<double>(kWaitingBurst)) {
      owed_ = 0;
      paused_until_ = now + pause_;
      pause_ = std::min(2 * pause_, kPauseMax);
    } else if (polls_ && now >= paused_until_ + pause_) {
      pause_ = kPauseMin;  // it went well for as long as it would have paused
    }
    polls_ = took <= kFast && spare && now >= paused_until_;
  }
  bool polls() const { return polls_; }

 private:
  uint64_t reads_ = 0;
  Instant last_ = 0, paused_until_ = 0;
  double owed_ = 0;  // ns of waiting beyond what may be
  Duration pause_ = kPauseMin;
  bool polls_ = false;
};

}  // namespace cairn::server
