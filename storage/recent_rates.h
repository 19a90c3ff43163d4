// Rates over the last minutes, from counters that only grow.
#pragma once

#include <cstdint>
#include <deque>

#include "base/types.h"

namespace cairn::storage {

// Thread safety: one thread.
class RecentRates {
 public:
  static constexpr Duration kWindow = 600 * kSecond;
  static constexpr Duration kStep = 10 * kSecond;  // samples are no closer, but for the newest
  // Values since the start; none ever goes down.
  struct Totals {
    uint64_t user_bytes = 0;        // of the users' writes
    uint64_t written_bytes = 0;     // by flushes and compactions
    uint64_t compaction_bytes = 0;  // read and written by compactions
    uint64_t compaction_ns = 0;     // in which one was under way; two at once count twice
  };
  // Times never go back.
  void sample(Instant now, const Totals& totals) {
    now_ = totals;
    if (!samples_.empty() && now < samples_.back().at + kStep) return;
    samples_.push_back({now, totals});
    // The newest of those that are old enough is where the window begins.
    while (samples_.size() > 1 && samples_[1].at + kWindow <= now) samples_.pop_front();
  }
  // Bytes written per byte of the users'; 0: nothing to go by.
  double write_amplification() const {
    return ratio(now_.written_bytes - first().written_bytes, now_.user_bytes - first().user_bytes);
  }
  // Read and written, per second in which a compaction ran; 0: none has ended.
  double compaction_bytes_per_second() const {
    return ratio(now_.compaction_bytes - first().compaction_bytes, now_.compaction_ns - first().compaction_ns) * 1e9;
  }

 private:
  struct Sample {
    Instant at;
    Totals totals;
  };
  static double ratio(uint64_t a, uint64_t b) { return b == 0 ? 0 : static_cast<double>(a) / static_cast<double>(b); }
  const Totals& first() const { return samples_.empty() ? now_ : samples_.front().totals; }

  std::deque<Sample> samples_;
  Totals now_;
};

}  // namespace cairn::storage
