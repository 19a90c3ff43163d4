// What a measured stretch took: latencies, processor time, bytes.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "base/types.h"

namespace cairn::bench {

// Latencies in steps of at most 1.6 %. Not thread safe; histograms of several threads are added up.
class Latencies {
 public:
  void add(Duration ns, uint64_t times = 1) {
    counts_[bucket_of(ns)] += times;
    total_ += times;
    max_ = std::max(max_, ns);
  }
  void add(const Latencies& other) {
    for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    total_ += other.total_;
    max_ = std::max(max_, other.max_);
  }
  uint64_t total() const { return total_; }
  double max_us() const { return static_cast<double>(max_) / 1000; }
  // Microseconds that the share `q` of (0, 1] does not exceed; 0 if there is nothing.
  double quantile_us(double q) const {
    const double wanted = q * static_cast<double>(total_);
    double below = 0;
    for (size_t i = 0; i < counts_.size(); ++i) {
      below += static_cast<double>(counts_[i]);
      if (counts_[i] > 0 && below >= wanted) return std::min(static_cast<double>(middle_of(i)) / 1000, max_us());
    }
    return 0;
  }

 private:
  static constexpr unsigned kStepBits = 6;  // steps per power of two: 64
  static constexpr uint64_t kSteps = uint64_t{1} << kStepBits;
  static size_t bucket_of(uint64_t ns) {
    if (ns < kSteps) return ns;
    const auto shift = static_cast<unsigned>(std::bit_width(ns)) - kStepBits - 1;
    return (shift + 1) * kSteps + (ns >> shift) - kSteps;
  }
  static uint64_t middle_of(size_t bucket) {
    if (bucket < kSteps) return bucket;
    const unsigned shift = static_cast<unsigned>(bucket / kSteps) - 1;
    return ((kSteps + bucket % kSteps) << shift) + ((uint64_t{1} << shift) >> 1);
  }
  std::vector<uint64_t> counts_ = std::vector<uint64_t>((64 - kStepBits + 1) * kSteps, 0);
  uint64_t total_ = 0;
  Duration max_ = 0;
};

// Counters of this process.
struct ProcessUse {
  double cpu_s = 0;            // of all threads, user and system
  uint64_t written_bytes = 0;  // towards the device: pages dirtied and direct writes
  static ProcessUse now();
};

Instant monotonic_ns();
uint64_t directory_bytes(const std::string& dir);  // of all files below it
double median(std::vector<double> values);         // 0: there are none

// How one cell went. Goes through a pipe as it is.
struct CellResult {
  double ops_per_s = 0;
  double p50_us = 0, p99_us = 0, p999_us = 0, p9999_us = 0, max_us = 0;
  double cpu_us_per_op = 0;
  uint64_t bytes_written = 0;
  uint64_t final_bytes = 0;
};

}  // namespace cairn::bench
