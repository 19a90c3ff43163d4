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

// The counts of a DurationHistogram at one moment.
struct HistogramView {
  static constexpr size_t kBuckets = 27;
  std::array<uint64_t, kBuckets> counts{};
  uint64_t sum_ns = 0;

  uint64_t total() const {
    uint64_t n = 0;
    for (const uint64_t count : counts) n += count;
    return n;
  }
  // What was recorded since `before`.
  HistogramView since(const HistogramView& before) const {
    HistogramView out;
    for (size_t i = 0; i < kBuckets; ++i) out.counts[i] = counts[i] - before.counts[i];
    out.sum_ns = sum_ns - before.sum_ns;
    return out;
  }
  // Seconds that the share `q` of [0, 1] stays below, straight between the bounds of its bucket; 0 if there is nothing.
  double quantile_s(double q) const {
    const double wanted = q * static_cast<double>(total());
    double below = 0;
    for (size_t i = 0; i < kBuckets; ++i) {
      const auto here = static_cast<double>(counts[i]);
      if (here > 0 && below + here >= wanted) {
        const double low = i == 0 ? 0 : static_cast<double>(uint64_t{1} << (i - 1)) * 1e-6;
        const double high = static_cast<double>(uint64_t{1} << i) * 1e-6;
        return low + (high - low) * (wanted - below) / here;
      }
      below += here;
    }
    return 0;
  }
};

// How often each small number came: 0 to kLargest, and everything above together. Thread safety: one thread writes, any
// reads.
class CountHistogram {
 public:
  static constexpr size_t kLargest = 16;
  static constexpr size_t kBuckets = kLargest + 2;
  static size_t bucket_of(uint64_t n) { return std::min<uint64_t>(n, kLargest + 1); }
  void record_owned(uint64_t n) {
    buckets_[bucket_of(n)].add_owned();
    sum_.add_owned(n);
  }
  uint64_t count(size_t bucket) const { return buckets_[bucket].get(); }
  uint64_t sum() const { return sum_.get(); }
  // `times` numbers of one bucket; their sum is told apart.
  void add_owned(size_t bucket, uint64_t times) { buckets_[bucket].add_owned(times); }
  void add_sum_owned(uint64_t n) { sum_.add_owned(n); }

 private:
  std::array<Counter, kBuckets> buckets_;
  Counter sum_;
};

// Powers of two from 1 us to about 67 s; the last bucket takes everything above.
class DurationHistogram {
 public:
  static constexpr size_t kBuckets = HistogramView::kBuckets;
  void record(Duration d) {
    buckets_[bucket_of(d)].add();
    sum_ns_.add(d);
  }
  // `times` of the same length, in a histogram that only one thread writes: no locked instruction.
  void record_owned(Duration d, uint64_t times = 1) {
    buckets_[bucket_of(d)].add_owned(times);
    sum_ns_.add_owned(d * times);
  }
  uint64_t count(size_t bucket) const { return buckets_[bucket].get(); }
  // Upper bound of a bucket in seconds.
  static double upper_bound_s(size_t bucket) { return static_cast<double>(uint64_t{1} << bucket) * 1e-6; }
  uint64_t sum_ns() const { return sum_ns_.get(); }
  HistogramView view() const {
    HistogramView out;
    for (size_t i = 0; i < kBuckets; ++i) out.counts[i] = buckets_[i].get();
    out.sum_ns = sum_ns_.get();
    return out;
  }

 private:
  static size_t bucket_of(Duration d) {
    return std::min<size_t>(static_cast<size_t>(std::bit_width(d / kMicrosecond)), kBuckets - 1);
  }
  std::array<Counter, kBuckets> buckets_;
  Counter sum_ns_;
};

}  // namespace cairn
