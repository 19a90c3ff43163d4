#include "server/runtime/slice_turns.h"

#include <algorithm>
#include <utility>

namespace cairn::server {

size_t SliceTurns::awake(Instant now) const {
  return static_cast<size_t>(std::ranges::count_if(running_, [now](const Running& r) { return r.awake(now); }));
}

bool SliceTurns::may_begin(Kind kind, bool low_ready, Instant now) const {
  if (!limits_ || kind == Kind::kFresh) return true;
  if (kind == Kind::kLow) return turn_ || awake(now) < at_once_;
  return awake(now) + (turn_ && low_ready ? 1 : 0) < at_once_;
}

Instant SliceTurns::ask_again(Instant now) const {
  Instant next = now + kAwake;  // somebody may have ceased to be served
  for (const Running& r : running_) {
    if (r.awake(now)) next = std::min(next, r.begun + kAwake);
  }
  return next;
}

void SliceTurns::begin(size_t thread, Kind kind, Instant now) {
  running_[thread] = {now, kind};
  low_runs_ |= kind == Kind::kLow;
}

void SliceTurns::end(size_t thread, bool low_waits, Instant now) {
  const auto [begun, kind] = std::exchange(running_[thread], {});
  const auto took = static_cast<double>(now > begun ? now - begun : 0);
  if (kind == Kind::kLow) {
    low_runs_ = false;
    owed_ = std::max(owed_ - took, -kOwedMax);
    turn_ = turn_ && owed_ > 0;
  } else if (!low_runs_) {
    owed_ = low_waits ? std::min(owed_ + took * kOwedShare, kOwedMax) : std::min(owed_, 0.0);
    turn_ = low_waits && (turn_ || owed_ >= kTurn);
  }
}

}  // namespace cairn::server
