// Sockets watched edge-triggered: every change is reported once, under the socket's own token.
#include "server/net/readiness.h"

#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <vector>

using namespace cairn;
using namespace cairn::server;

namespace {
struct Pair {
  Pair() { REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0); }
  ~Pair() {
    for (int fd : ends) {
      if (fd >= 0) ::close(fd);
    }
  }
  void close_far() {
    ::close(ends[1]);
    ends[1] = -1;
  }
  int ends[2];
};

struct Fixture {
  Fixture() { REQUIRE(readiness.open().has_value()); }
  // What has been reported since the last call.
  std::vector<Readiness::Event> reports() {
    context.restart();
    context.poll();
    return std::exchange(events, {});
  }
  boost::asio::io_context context{1};
  std::vector<Readiness::Event> events;
  Readiness readiness{context, [this](const Readiness::Event& event) { events.push_back(event); }};
};
}  // namespace

TEST_CASE("a new socket is reported with what it is ready for already") {
  Fixture f;
  Pair idle, waiting;
  REQUIRE(::send(waiting.ends[1], "x", 1, 0) == 1);
  REQUIRE(f.readiness.add(idle.ends[0], 7).has_value());
  REQUIRE(f.readiness.add(waiting.ends[0], 8).has_value());
  const auto reports = f.reports();
  REQUIRE(reports.size() == 2);
  for (const auto& report : reports) {
    CHECK(report.writable);
    CHECK(report.readable == (report.token == 8));
    CHECK_FALSE(report.hangup);
  }
  CHECK(f.reports().empty());
}

TEST_CASE("input is reported when it arrives, not for as long as it lies there") {
  Fixture f;
  Pair pair;
  REQUIRE(f.readiness.add(pair.ends[0], 1).has_value());
  f.reports();
  REQUIRE(::send(pair.ends[1], "x", 1, 0) == 1);
  REQUIRE(f.reports().size() == 1);
  CHECK(f.reports().empty());
  REQUIRE(::send(pair.ends[1], "y", 1, 0) == 1);
  const auto again = f.reports();
  REQUIRE(again.size() == 1);
  CHECK(again[0].readable);
}

TEST_CASE("room in a full socket, and the end of a stream, are reported") {
  Fixture f;
  Pair pair;
  REQUIRE(f.readiness.add(pair.ends[0], 1).has_value());
  f.reports();
  std::vector<char> bytes(1 << 20);
  while (::send(pair.ends[0], bytes.data(), bytes.size(), 0) > 0) {
  }
  CHECK(f.reports().empty());
  while (::recv(pair.ends[1], bytes.data(), bytes.size(), 0) > 0) {
  }
  const auto room = f.reports();
  REQUIRE_FALSE(room.empty());
  CHECK(room.back().writable);
  pair.close_far();
  const auto end = f.reports();
  REQUIRE_FALSE(end.empty());
  CHECK(end.back().hangup);
  CHECK(end.back().readable);
}

TEST_CASE("a closed descriptor is not reported any more") {
  Fixture f;
  Pair pair;
  REQUIRE(f.readiness.add(pair.ends[0], 1).has_value());
  f.reports();
  REQUIRE(::send(pair.ends[1], "x", 1, 0) == 1);
  ::close(pair.ends[0]);
  pair.ends[0] = -1;
  CHECK(f.reports().empty());
}
