// Which slices of background work may run at the same time, so that a processor stays free for the loops.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/types.h"

namespace cairn::server {

// A loop that wakes while every processor has a background thread waits for the kernel to take one from it: a tick of
// up to 4 ms where the kernel is not preempted, and again at every one. So while somebody is served, at most so many
// slices run at once as leave a processor free:
//
// - A high job that comes begins at once: somebody may wait for it. Its further slices have to find a place.
// - A low slice begins where there is a place, or when it is the low jobs' turn: they are owed a third of the time that
//   high slices take while they wait, a quarter of all. A turn begins when kTurn is owed and ends when nothing is, and
//   a place is kept for it meanwhile.
// - A slice that takes longer than kAwake counts no more: most likely it waits for a device, and leaves the processor
//   to others.
//
// No clock, no threads; not thread safe.
class SliceTurns {
 public:
  enum class Kind : uint8_t { kFresh, kHigh, kLow };  // the first slice of a high job, another one, one of a low job
  static constexpr Duration kTurn = kMillisecond, kAwake = 2 * kMillisecond;

  // `at_once`: slices; at least 1.
  SliceTurns(size_t threads, size_t at_once) : at_once_(at_once), running_(threads) {}

  // While nobody is served, and where there are no more threads than places, everything may begin.
  void serving(bool serving) { limits_ = serving && at_once_ < running_.size(); }
  bool low_turn() const { return limits_ && turn_; }
  // `low_ready`: a low job and the thread for it wait for nothing else.
  bool may_begin(Kind kind, bool low_ready, Instant now) const;
  // After a refusal: when the answer may be another one although no slice has ended.
  Instant ask_again(Instant now) const;

  void begin(size_t thread, Kind kind, Instant now);
  // `low_waits`: a low job could have had the time of this slice.
  void end(size_t thread, bool low_waits, Instant now);

 private:
  static constexpr double kOwedShare = 1.0 / 3;
  static constexpr double kOwedMax = 2 * kTurn;
  struct Running {
    Instant begun = kNever;  // kNever: nothing
    Kind kind = Kind::kFresh;
    bool awake(Instant now) const { return begun != kNever && now < begun + kAwake; }
  };
  size_t awake(Instant now) const;

  size_t at_once_;
  std::vector<Running> running_;  // by thread
  bool limits_ = false, turn_ = false, low_runs_ = false;
  double owed_ = 0;  // ns, to low jobs; negative: had in advance
};

}  // namespace cairn::server
