// Counters and histograms. Written by one thread or several, read by the metrics page at any time.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

#include "base/types.h"

namespace cairn {

// Thread safety: any thread. Relaxed: a reader may be a moment behind.
class Counter {
 public:
  void add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  // For a counter that only one thread writes: no locked instruction.
  void add_owned(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void set(uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// Powers of two from 1 us to about 67 s; the last bucket takes everything above.
class DurationHistogram {
 public:
  static constexpr size_t kBuckets = 27;
  void record(Duration d) {
    const uint64_t us = d / kMicrosecond;
    const auto bucket = std::min<size_t>(static_cast<size_t>(std::bit_width(us)), kBuckets - 1);
    buckets_[bucket].add();
    sum_ns_.add(d);
  }
  uint64_t count(size_t bucket) const { return buckets_[bucket].get(); }
  // Upper bound of a bucket in seconds.
  static double upper_bound_s(size_t bucket) { return static_cast<double>(uint64_t{1} << bucket) * 1e-6; }
  uint64_t sum_ns() const { return sum_ns_.get(); }

 private:
  std::array<Counter, kBuckets> buckets_;
  Counter sum_ns_;
};

}  // namespace cairn
