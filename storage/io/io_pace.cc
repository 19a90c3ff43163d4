#include "storage/io/io_pace.h"

#include <algorithm>

#include "base/assert.h"

namespace cairn::storage {

Result<void> IoPaceOptions::validate() const {
  const auto bad = [](const char* what) { return Error{ErrorCode::kInvalidArgument, std::string("io: ") + what}; };
  if (target < 10 * kMicrosecond || target > 10 * kSecond) return bad("target must be from 10 us to 10 s");
  if (rate_min < (1u << 20)) return bad("rate_min must be at least 1 MiB a second");
  if (rate_max < rate_min) return bad("rate_max must not be below rate_min");
  if (interval < kMillisecond || interval > 10 * kSecond) return bad("interval must be from 1 ms to 10 s");
  return {};
}

IoPace::IoPace(const IoPaceOptions& options) : options_(options), rate_(static_cast<double>(options.rate_max)) {}

void IoPace::read_began(Instant now) {
  adjust(now);
  if (!limits(now)) earn(now);  // from here on there is a limit: nothing is owed for what was done without
  ++reading_;
  last_read_ = std::max(now, Instant{1});
}

void IoPace::read_ended(Instant now, Duration took) {
  CAIRN_ASSERT(reading_ > 0);
  --reading_;
  last_read_ = std::max(now, Instant{1});
  ++reads_;
  slow_ += took > options_.target ? 1 : 0;
  adjust(now);
}

void IoPace::adjust(Instant now) {
  if (now < interval_began_ + options_.interval) return;
  interval_began_ = now;
  if (reads_ == 0) return;
  const auto most = static_cast<double>(options_.rate_max), least = static_cast<double>(options_.rate_min);
  earn(now);  // at the rate that held
  rate_ = slow_ * kSlowShare > reads_ ? rate_ * kShrink : rate_ + most / kGrowths;
  rate_ = std::clamp(rate_, least, most);
  reads_ = slow_ = 0;
}

void IoPace::earn(Instant now) {
  if (!limits(now)) {
    owed_ = 0;
  } else if (now > earned_at_) {
    owed_ = std::max(0.0, owed_ - static_cast<double>(now - earned_at_) * 1e-9 * rate_);
  }
  earned_at_ = std::max(earned_at_, now);
}

void IoPace::moved(Instant now, uint64_t bytes) {
  earn(now);
  if (limits(now)) owed_ += static_cast<double>(bytes);
}

Duration IoPace::wait(Instant now) {
  adjust(now);
  earn(now);
  const auto due = static_cast<Duration>(owed_ / rate_ * 1e9);
  return due < kWaitMin ? 0 : std::min(due, kWaitMax);
}

}  // namespace cairn::storage
