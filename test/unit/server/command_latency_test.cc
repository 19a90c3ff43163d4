// Times of commands by family, as the session counts them.
#include "server/session/command_latency.h"

#include <catch2/catch.hpp>
#include <set>

#include "test/support/session_harness.h"

using namespace cairn;
using namespace cairn::server;
using cairn::test::request;
using cairn::test::SessionHarness;

namespace {
uint64_t count(const SessionHarness& h, const char* command) {
  return h.stats.times[CommandFamilies::of(*find_command(command))].view().total();
}
}  // namespace

TEST_CASE("each command has a family, and each family a name of its own") {
  std::set<std::pair<std::string_view, bool>> names;
  for (size_t i = 0; i < CommandFamilies::count(); ++i) {
    CHECK_FALSE(CommandFamilies::group(i).empty());
    CHECK(names.emplace(CommandFamilies::group(i), CommandFamilies::writes(i)).second);
  }
  CHECK(CommandFamilies::of(*find_command("GET")) == CommandFamilies::of(*find_command("MGET")));
  CHECK(CommandFamilies::of(*find_command("GET")) != CommandFamilies::of(*find_command("SET")));
  CHECK(CommandFamilies::of(*find_command("HGET")) != CommandFamilies::of(*find_command("GET")));
}

TEST_CASE("a command is timed when its reply has left") {
  SessionHarness h;
  h.sink.late = true;
  CHECK(h({"SET", "a", "1"}).empty());
  CHECK(count(h, "SET") == 0);
  h.hand_over_all();
  CHECK(count(h, "SET") == 0);
  CHECK(h.take() == "+OK\r\n");
  CHECK(count(h, "SET") == 1);
  CHECK(count(h, "GET") == 0);
}

TEST_CASE("a scattered command is one command, and a pipeline counts each") {
  SessionHarness h;
  (void)h({"MSET", "{a}1", "x", "{a}2", "y"});
  (void)h({"MGET", "a", "b", "c", "d"});
  CHECK(count(h, "MGET") == 1);
  CHECK(count(h, "MSET") == 1);
  std::string pipeline;
  for (int i = 0; i < 100; ++i) pipeline += request({"GET", "a"}) + request({"PING"});
  (void)h.bytes(pipeline);
  CHECK(count(h, "GET") == 101);
}

TEST_CASE("replies that stay behind an earlier one are timed with it") {
  SessionHarness h;
  h.sink.late = true;
  (void)h.bytes(request({"SET", "a", "1"}) + request({"GET", "a"}) + request({"HGET", "h", "f"}));
  REQUIRE(h.sink.queue.size() == 3);
  h.hand_over(2);
  h.hand_over(1);
  (void)h.take();
  CHECK(count(h, "GET") + count(h, "HGET") + count(h, "SET") == 0);
  h.hand_over(0);
  (void)h.take();
  CHECK((count(h, "GET") == 1 && count(h, "HGET") == 1 && count(h, "SET") == 1));
}

TEST_CASE("a transaction is timed as one command") {
  SessionHarness h;
  (void)h({"MULTI"});
  (void)h({"SET", "a", "1"});
  (void)h({"GET", "a"});
  (void)h({"EXEC"});
  CHECK(count(h, "EXEC") == 1);
  CHECK(count(h, "SET") + count(h, "GET") == 0);
  CHECK(CommandFamilies::writes(CommandFamilies::of(*find_command("EXEC"))));
}

TEST_CASE("the tracker forgets what it has counted") {
  LatencyTracker tracker;
  CommandTimes times;
  for (uint64_t i = 0; i < 10'000; ++i) {
    tracker.opened(i, i % 3, i * kMicrosecond);  // never two of a kind
    if (i < 5) continue;
    REQUIRE(tracker.any_below(i - 4));
    tracker.sent(i - 4, (i + 100) * kMicrosecond, times);
    REQUIRE_FALSE(tracker.any_below(i - 4));
  }
  uint64_t all = 0;
  for (const auto& histogram : times) all += histogram.view().total();
  CHECK(all == 9995);
}
