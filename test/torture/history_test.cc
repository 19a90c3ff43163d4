#include <catch2/catch.hpp>

#include "test/torture/history.h"

namespace cairn::storage {

TEST_CASE("a tablet answers like a map, through flushes, compactions, crashes and replays") {
  test::HistoryCounts counts;
  for (uint64_t seed = 1; seed <= 120; ++seed) REQUIRE_NOTHROW(test::run_tablet_history(seed, {}, counts));
  // A table was trimmed to a key below its rows, which a deleted prefix in front of them reached.
  REQUIRE_NOTHROW(test::run_tablet_history(146, {}, counts));
  CHECK(counts.operations > 20'000);
  CHECK(counts.ingestions > 500);
}

TEST_CASE("a tablet whose power is cut at any call shows a state that it was in, and goes on") {
  test::HistoryCounts counts;
  const test::HistoryOptions options{.outcomes = 2, .crash_points_max = 40};
  for (uint64_t seed = 201; seed <= 220; ++seed) REQUIRE_NOTHROW(test::run_tablet_history(seed, options, counts));
  CHECK(counts.crash_points >= 500);
  CHECK(counts.outcomes == 2 * counts.crash_points);
}

TEST_CASE("tablets that are split and merged hold what their ranges held, whatever compacts them") {
  test::HistoryCounts counts;
  for (uint64_t seed = 1; seed <= 60; ++seed) REQUIRE_NOTHROW(test::run_reshape_history(seed, {}, counts));
  CHECK(counts.reshapes > 600);
  CHECK(counts.ingestions > 300);
}

TEST_CASE("a split or merge whose power is cut at any call has happened wholly or not at all") {
  test::HistoryCounts counts;
  const test::HistoryOptions options{.outcomes = 2, .crash_points_max = 60};
  for (uint64_t seed = 201; seed <= 210; ++seed) REQUIRE_NOTHROW(test::run_reshape_history(seed, options, counts));
  CHECK(counts.crash_points >= 500);
}

TEST_CASE("a tablet answers like a map on real threads") {
  test::HistoryCounts counts;
  for (uint64_t seed = 1; seed <= 20; ++seed) REQUIRE_NOTHROW(test::run_thread_history(seed, counts));
  CHECK(counts.operations > 10'000);
  CHECK(counts.ingestions > 100);
}

TEST_CASE("whatever was durable survives any crash, and the log stays usable") {
  test::HistoryCounts counts;
  for (uint64_t seed = 1; seed <= 200; ++seed) REQUIRE_NOTHROW(test::run_log_history(seed, {}, counts));
}

TEST_CASE("a log whose power is cut at any call keeps what was acknowledged, and goes on") {
  test::HistoryCounts counts;
  const test::HistoryOptions options{.outcomes = 2, .crash_points_max = 40};
  for (uint64_t seed = 201; seed <= 220; ++seed) REQUIRE_NOTHROW(test::run_log_history(seed, options, counts));
  CHECK(counts.crash_points >= 500);
}

}  // namespace cairn::storage
