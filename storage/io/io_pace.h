// How fast compactions may use the device, so that reads that somebody waits for stay quick.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/types.h"

namespace cairn::storage {

struct IoPaceOptions {
  Duration target = 5 * kMillisecond;      // of a read that is waited for; [10us, 10s]
  uint64_t rate_min = 16u << 20;           // bytes a second, read and written; at least 1 MiB
  uint64_t rate_max = 1ull << 30;          // at least rate_min
  Duration interval = 100 * kMillisecond;  // between two changes of the rate; [1ms, 10s]
  Result<void> validate() const;
};

// A bucket of byte tokens whose rate grows by addition and shrinks by multiplication, by the time that reads from the
// device take that somebody waits for (AIMD). Nobody waits: there is no limit. Thread safety: one thread at a time.
class IoPace {
 public:
  // What was done is owed, and the next slice waits until it is earned.
  explicit IoPace(const IoPaceOptions& options);

  void read_began(Instant now);
  void read_ended(Instant now, Duration took);
  // `bytes` were read and written in the background.
  void moved(Instant now, uint64_t bytes);
  // Until the next slice may begin; 0: now. What would be below kWaitMin stays owed: timers are no finer.
  static constexpr Duration kWaitMin = kMillisecond;
  static constexpr Duration kWaitMax = kSecond;
  Duration wait(Instant now);

  uint64_t rate() const { return static_cast<uint64_t>(rate_); }  // bytes a second, when there is a limit
  // Somebody waits for a read, or did until a moment ago.
  bool limits(Instant now) const { return reading_ > 0 || (last_read_ != 0 && now < last_read_ + options_.interval); }

 private:
  static constexpr uint64_t kSlowShare = 20;  // one of so many reads may take longer than the target
  static constexpr double kShrink = 0.7;
  static constexpr double kGrowths = 32;  // from nothing to rate_max
  void adjust(Instant now);
  void earn(Instant now);

  IoPaceOptions options_;
  double rate_;
  double owed_ = 0;  // bytes
  Instant earned_at_ = 0;
  Instant last_read_ = 0;  // when one began or ended; 0: none has yet
  Instant interval_began_ = 0;
  uint64_t reading_ = 0;           // under way
  uint64_t reads_ = 0, slow_ = 0;  // ended in this interval
};

}  // namespace cairn::storage
