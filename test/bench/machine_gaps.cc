#include "test/bench/machine_gaps.h"

#include <atomic>

#include "server/runtime/background_pool.h"

namespace cairn::bench {

Latencies machine_gaps(Duration length) {
  constexpr Duration kSlice = 300 * kMicrosecond;  // about that of a flush or a compaction
  std::atomic<bool> stop = false;
  const auto busy = [&stop] {
    for (const Instant end = monotonic_ns() + kSlice; monotonic_ns() < end;) {
    }
    return !stop.load(std::memory_order_relaxed);
  };
  Latencies gaps;
  server::BackgroundPool background(2);
  background.submit(JobPriority::kLow, busy);
  background.submit(JobPriority::kHigh, busy);
  const Instant end = monotonic_ns() + length;
  for (Instant last = monotonic_ns(); last < end;) {
    const Instant now = monotonic_ns();
    gaps.add(now - last);
    last = now;
  }
  stop.store(true, std::memory_order_relaxed);
  return gaps;
}

}  // namespace cairn::bench
