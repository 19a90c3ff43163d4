#pragma once

#include "base/types.h"

namespace cairn {

// Time as one node sees it. Thread safety: any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  // Monotonic and counting suspend (CLOCK_BOOTTIME). Leases and timers use only this.
  virtual Instant now() const = 0;
  // Milliseconds since 1970. May jump. For expiry stamps and for people; safety never depends on it.
  virtual uint64_t wall_ms() const = 0;
};

}  // namespace cairn
