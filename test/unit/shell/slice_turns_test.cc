#include "server/runtime/slice_turns.h"

#include <algorithm>
#include <catch2/catch.hpp>

namespace cairn::server {
namespace {

using Kind = SliceTurns::Kind;

// One low job and one high one that never end, each on its own thread, and no slice takes longer than `slice`.
struct Machine {
  SliceTurns turns;
  Duration slice = 300 * kMicrosecond;
  bool fresh = false;  // the high job is a row of short ones
  Instant now = kSecond, low_ends = kNever, high_ends = kNever;
  Duration low_ran = 0, high_ran = 0, together = 0, longest_high_wait = 0, high_waits_since = 0;

  void step() {
    if (high_ends <= now) {
      turns.end(1, true, now);
      high_ends = kNever;
      high_waits_since = now;
    }
    if (low_ends <= now) {
      turns.end(0, true, now);
      low_ends = kNever;
    }
    // Whoever may, in the order in which the pool looks.
    if (high_ends == kNever && turns.may_begin(fresh ? Kind::kFresh : Kind::kHigh, low_ends == kNever, now)) {
      turns.begin(1, Kind::kHigh, now);
      high_ends = now + slice;
      longest_high_wait = std::max(longest_high_wait, now - high_waits_since);
    }
    if (low_ends == kNever && turns.may_begin(Kind::kLow, true, now)) {
      turns.begin(0, Kind::kLow, now);
      low_ends = now + slice;
    }
    constexpr Duration kStep = 10 * kMicrosecond;
    now += kStep;
    const bool low = low_ends != kNever, high = high_ends != kNever;
    low_ran += low ? kStep : 0;
    high_ran += high ? kStep : 0;
    together += low && high ? kStep : 0;
  }
  void run(Duration time) {
    high_waits_since = now;
    for (const Instant end = now + time; now < end;) step();
  }
  double share(Duration part) const { return static_cast<double>(part) / static_cast<double>(kSecond); }
};

Machine machine(size_t threads, size_t at_once) {
  Machine m{SliceTurns(threads, at_once)};
  m.turns.serving(true);
  return m;
}

}  // namespace

TEST_CASE("with one place, high and low jobs take turns, and low ones have a quarter of the time") {
  Machine m = machine(2, 1);
  m.slice = GENERATE(100 * kMicrosecond, 300 * kMicrosecond, kMillisecond);
  m.run(kSecond);
  CHECK(m.together == 0);
  CHECK(m.share(m.low_ran) == Approx(0.25).margin(0.03));
  CHECK(m.share(m.low_ran + m.high_ran) == Approx(1).margin(0.01));
  CHECK(m.longest_high_wait < 2 * SliceTurns::kTurn);
}

TEST_CASE("short high jobs never wait, and cannot keep low ones from running") {
  Machine m = machine(2, 1);
  m.fresh = true;
  m.run(kSecond);
  CHECK(m.longest_high_wait == 0);
  CHECK(m.share(m.high_ran) == Approx(1).margin(0.01));
  CHECK(m.share(m.low_ran) == Approx(0.25).margin(0.03));
}

TEST_CASE("everything runs at once while nobody is served, or where there are places for all") {
  const bool served = GENERATE(false, true);
  Machine m{SliceTurns(2, served ? 2 : 1)};
  m.turns.serving(served);
  m.run(kSecond);
  CHECK(m.share(m.together) == Approx(1).margin(0.01));
  CHECK_FALSE(m.turns.low_turn());
}

TEST_CASE("a slice that takes long holds nobody up") {
  SliceTurns turns(2, 1);
  turns.serving(true);
  const Instant now = kSecond;
  turns.begin(0, Kind::kLow, now);
  CHECK_FALSE(turns.may_begin(Kind::kHigh, false, now + 1));
  CHECK(turns.may_begin(Kind::kFresh, false, now + 1));
  const Instant again = turns.ask_again(now + 1);
  CHECK(again == now + SliceTurns::kAwake);
  CHECK(turns.may_begin(Kind::kHigh, false, again));
  turns.end(0, true, again);

  turns.begin(1, Kind::kHigh, again);
  CHECK_FALSE(turns.may_begin(Kind::kLow, true, again));
  CHECK(turns.may_begin(Kind::kLow, true, turns.ask_again(again)));
}

TEST_CASE("a place is kept for low jobs in their turn, unless they wait for something else") {
  SliceTurns turns(3, 2);
  turns.serving(true);
  Instant now = kSecond;
  for (const size_t thread : {1, 2}) turns.begin(thread, Kind::kHigh, now);
  CHECK_FALSE(turns.may_begin(Kind::kLow, true, now));
  now += 3 * SliceTurns::kTurn;
  turns.end(1, true, now);
  CHECK(turns.low_turn());
  turns.begin(1, Kind::kHigh, now);
  turns.end(2, true, now);
  CHECK_FALSE(turns.may_begin(Kind::kHigh, true, now));
  CHECK(turns.may_begin(Kind::kHigh, false, now));
  turns.begin(0, Kind::kLow, now);
  turns.end(0, true, now + 2 * SliceTurns::kTurn);
  CHECK_FALSE(turns.low_turn());
  CHECK(turns.may_begin(Kind::kHigh, true, now));
}

TEST_CASE("low jobs are owed nothing for a time in which there were none") {
  SliceTurns turns(2, 1);
  turns.serving(true);
  Instant now = kSecond;
  for (const bool low_waits : {true, true, false, true}) {
    turns.begin(1, Kind::kHigh, now);
    now += SliceTurns::kTurn;
    turns.end(1, low_waits, now);
    CHECK_FALSE(turns.low_turn());
  }
}

}  // namespace cairn::server
