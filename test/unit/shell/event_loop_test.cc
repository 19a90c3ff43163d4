// The loop's turns: nothing that is always ready keeps a turn from ending.
#include "server/runtime/event_loop.h"

#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <catch2/catch.hpp>

#include "test/unit/storage/fakes.h"

using namespace cairn;
using namespace cairn::server;

namespace {
constexpr size_t kEnough = 100 * EventLoop::kHandlersPerTurn;  // a loop that never ends a turn gives up here

// Runs until `turns` turns have ended, or `ran` says that it was too long.
size_t run_turns(EventLoop& loop, const size_t& ran, size_t turns) {
  size_t ended = 0;
  loop.run([&] {
    if (++ended == turns || ran >= kEnough) loop.stop();
  });
  return ended;
}
}  // namespace

TEST_CASE("a timer of no delay that arms itself again does not keep the turn from ending") {
  RealClock clock;
  EventLoop loop(clock);
  size_t ran = 0;
  std::function<void()> again = [&] {
    if (++ran < kEnough) loop.run_after(0, again);
  };
  loop.run_after(0, again);
  CHECK(run_turns(loop, ran, 3) == 3);
  CHECK(ran <= 3 * EventLoop::kHandlersPerTurn);
}

TEST_CASE("the same when the clock stands still") {
  storage::test::FakeClock clock;
  EventLoop loop(clock);
  size_t ran = 0;
  std::function<void()> again = [&] {
    if (++ran < kEnough) loop.run_after(0, again);
  };
  loop.run_after(0, again);
  CHECK(run_turns(loop, ran, 3) == 3);
  CHECK(ran <= 3 * EventLoop::kHandlersPerTurn);
}

TEST_CASE("a task that posts itself does not keep the turn from ending, and sockets are served beside it") {
  RealClock clock;
  EventLoop loop(clock);
  boost::asio::local::stream_protocol::socket a(loop.context()), b(loop.context());
  boost::asio::local::connect_pair(a, b);
  size_t ran = 0, received = 0;
  std::function<void()> again = [&] {
    if (++ran < kEnough) loop.post(again);
  };
  loop.post(again);
  char in = 0, out = 'x';
  boost::asio::async_read(b, boost::asio::buffer(&in, 1), [&](const boost::system::error_code&, size_t n) {
    received = n;
    loop.stop();
  });
  boost::asio::async_write(a, boost::asio::buffer(&out, 1), [](const boost::system::error_code&, size_t) {});
  size_t ended = 0;
  loop.run([&] { ++ended; });
  CHECK(received == 1);
  CHECK(ended > 0);
  CHECK(ran < 10 * EventLoop::kHandlersPerTurn);
}

TEST_CASE("timers run in the order of their time, and not after cancel()") {
  storage::test::FakeClock clock;
  EventLoop loop(clock);
  std::string order;
  loop.run_after(2, [&] { order += 'b'; });
  const TimerId never = loop.run_after(3, [&] { order += 'x'; });
  loop.run_after(1, [&] {
    order += 'a';
    loop.cancel(never);  // due in the same round
    loop.run_after(0, [&] { order += 'd'; });
  });
  loop.run_after(4, [&] { order += 'c'; });
  clock.advance(10);
  size_t turns = 0;
  loop.run([&] {
    if (++turns == 10 || order.size() == 4) loop.stop();
  });
  CHECK(order == "abcd");
}
