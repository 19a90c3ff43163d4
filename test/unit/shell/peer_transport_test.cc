// Frames to a node that is not there yet, or no more: they arrive, or somebody is told.
#include "server/net/peer_transport.h"
#include "server/net/endpoints.h"
#include "server/net/peer_listener.h"

#include <catch2/catch.hpp>
#include <functional>

using namespace cairn;
using namespace cairn::server;

namespace {
struct Events final : TransportEvents {
  void on_frame(const PeerIdentity&, Channel, SharedBytes frame) override { frames.emplace_back(frame.view()); }
  void on_disconnected(NodeId, Channel, bool) override { ++disconnected; }
  void on_unsent(NodeId, Channel) override { ++unsent; }
  void on_call(std::string, Transport::CallDone done) override { done(std::string()); }
  std::vector<std::string> frames;
  int disconnected = 0, unsent = 0;
};

// Two nodes on one loop.
struct Fixture {
  static constexpr NodeId kHere{1}, kThere{2};
  Fixture() {
    // An address that was free a moment ago.
    boost::asio::ip::tcp::acceptor probe(loop.context());
    REQUIRE(listen_on(probe, "127.0.0.1:0").has_value());
    address = "127.0.0.1:" + std::to_string(probe.local_endpoint().port());
    here.set_events(&at_here);
    here.set_identity(cluster, {kHere, {1}});
    here.set_address(kThere, address);
    there.set_events(&at_there);
    there.set_identity(cluster, {kThere, {1}});
  }
  void run_until(const std::function<bool()>& done) {
    while (!done()) {
      here.flush();
      loop.context().run_one();
    }
  }
  const std::string cluster = std::string(16, 'c');
  RealClock clock;
  EventLoop loop{clock};
  Events at_here, at_there;
  PeerTransport here{loop, "secret", [](LogLevel, std::string_view) {}};
  PeerTransport there{loop, "secret", [](LogLevel, std::string_view) {}};
  PeerListener listener{
      loop, "secret",
      [this](boost::asio::ip::tcp::socket socket, const PeerHello& hello) { there.adopt(std::move(socket), hello); },
      [](LogLevel, std::string_view) {}};
  std::string address;
};
}  // namespace

TEST_CASE("data frames for a node that nobody can reach are dropped, and that is told") {
  Fixture f;
  f.here.send(Fixture::kThere, Channel::kData, "lost");
  f.run_until([&] { return f.at_here.unsent > 0; });
  // Between two attempts nothing is lost without a word either.
  f.here.send(Fixture::kThere, Channel::kData, "queued");
  const int told = f.at_here.unsent;
  CHECK(f.here.queued_bytes(Fixture::kThere, Channel::kData) > 0);
  f.run_until([&] { return f.at_here.unsent > told; });
  CHECK(f.here.queued_bytes(Fixture::kThere, Channel::kData) == 0);
}

TEST_CASE("data frames wait for the next attempt to connect") {
  Fixture f;
  f.here.send(Fixture::kThere, Channel::kData, "lost");
  f.run_until([&] { return f.at_here.unsent > 0; });
  REQUIRE(f.listener.listen(f.address).has_value());
  f.listener.set_identity(f.cluster, {Fixture::kThere, {1}});
  f.here.send(Fixture::kThere, Channel::kData, "arrives");
  f.run_until([&] { return !f.at_there.frames.empty(); });
  CHECK(f.at_there.frames == std::vector<std::string>{"arrives"});
}

TEST_CASE("more than may wait for a connection is dropped as a whole, and that is told once") {
  Fixture f;
  const std::string large(1 << 20, 'x');
  for (int i = 0; i < 20; ++i) f.here.send(Fixture::kThere, Channel::kData, large);
  f.run_until([&] { return f.at_here.unsent > 0; });
  CHECK(f.here.queued_bytes(Fixture::kThere, Channel::kData) == 0);
  CHECK(f.here.metrics().dropped.get() > 0);
}
