// How long commands took: a histogram for each, and Redis' latency monitor of spikes above a threshold.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace cairn::server {

// Microseconds in buckets whose width is at most an eighth of their value. Thread safety: none.
class LatencyHistogram {
 public:
  void record(Duration d) {
    ++buckets_[bucket_of(d / kMicrosecond)];
    ++count_;
  }
  uint64_t count() const { return count_; }
  // Upper end in microseconds of the bucket that holds the `fraction` (0 to 1) quantile; 0 if nothing was recorded.
  uint64_t quantile_us(double fraction) const;
  // (2^k, how many took less than 2^k microseconds) for each k at which that number grows.
  std::vector<std::pair<uint64_t, uint64_t>> by_powers_of_two() const;

 private:
  static constexpr size_t kBuckets = 256;
  // Below 16 each value has its own; above, eight buckets to a power of two. The last takes what is above 2^33.
  static size_t bucket_of(uint64_t us) {
    if (us < 16) return static_cast<size_t>(us);
    const auto shift = static_cast<size_t>(std::bit_width(us)) - 4;
    const size_t bucket = 8 * shift + static_cast<size_t>(us >> shift);
    return bucket < kBuckets ? bucket : kBuckets - 1;
  }
  static uint64_t upper_us(size_t bucket) {
    if (bucket < 16) return bucket;
    const size_t shift = bucket / 8 - 1;
    return ((static_cast<uint64_t>(bucket - 8 * shift) + 1) << shift) - 1;
  }

  std::array<uint64_t, kBuckets> buckets_{};
  uint64_t count_ = 0;
};

// Spikes by event, as LATENCY LATEST and HISTORY show them: the largest of each second, the newest 160 seconds that had
// one. Events are "command" and, for commands of constant time, "fast-command". Thread safety: none.
class LatencyMonitor {
 public:
  static constexpr size_t kSamplesMax = 160;
  struct Sample {
    uint64_t second = 0;  // since 1970
    uint64_t ms = 0;
  };
  struct Event {
    std::deque<Sample> samples;  // oldest first
    uint64_t max_ms = 0;         // since the last reset
  };
  void record(std::string_view event, uint64_t second, uint64_t ms);
  const std::map<std::string, Event, std::less<>>& events() const { return events_; }
  bool reset(std::string_view event);  // false: there is no such event
  size_t reset_all();                  // how many there were

 private:
  std::map<std::string, Event, std::less<>> events_;
};

}  // namespace cairn::server
