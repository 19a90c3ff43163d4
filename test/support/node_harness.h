// Whole nodes in one thread: a memory file system, a loop and a clock that move only when a test says so, and a network
// that loses nothing. Faults are the simulator's business (test/sim).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/cluster/node.h"
#include "server/session/session.h"
#include "storage/io/memory_file_system.h"
#include "test/support/session_harness.h"
#include "test/unit/storage/fakes.h"

namespace cairn::test {

class NodeHarness;

// Delivers through the loop, to whoever has the address.
class HarnessTransport final : public server::Transport {
 public:
  HarnessTransport(NodeHarness& nodes, std::string address) : nodes_(nodes), address_(std::move(address)) {}
  void set_address(NodeId node, const std::string& address) override { addresses_[node] = address; }
  void send(NodeId to, server::Channel channel, std::string frame) override;
  void flush() override {}
  uint64_t queued_bytes(NodeId, server::Channel) const override { return 0; }
  void call(const std::string& address, std::string request, CallDone done) override;

 private:
  NodeHarness& nodes_;
  const std::string address_;  // of the own node
  std::map<NodeId, std::string> addresses_;
};

// One node with one client connection.
struct HarnessNode {
  server::NodeOptions options;
  std::unique_ptr<HarnessTransport> data, links;
  std::unique_ptr<server::Node> node;
  std::unique_ptr<server::Session> session;

  // What the client has received since it was last asked.
  std::string take() {
    std::string out = session->output().take();
    session->on_output_sent();
    return out;
  }
};

class NodeHarness {
 public:
  storage::test::Machine machine;
  storage::MemoryFileSystem fs;
  storage::InlineDurableWriter writer;
  std::map<std::string, HarnessNode> nodes;  // by peer address

  ~NodeHarness() {
    while (!nodes.empty()) stop(nodes.begin()->first);
  }

  static server::NodeOptions options(const std::string& name) {
    server::NodeOptions o;
    o.data_dir = name;
    o.addresses = {name + ":7379", name + ":6379", name + ":8379"};
    o.ranges = 2;
    o.log.segment_bytes = 1 << 20;
    o.log.first_segment_bytes = 1 << 20;
    return o;
  }

  HarnessNode& start(server::NodeOptions options) {
    HarnessNode& n = nodes[options.addresses.peer];
    n.options = options;
    n.data = std::make_unique<HarnessTransport>(*this, options.addresses.peer);
    n.links = std::make_unique<HarnessTransport>(*this, options.addresses.peer);
    server::NodeEnvironment env;
    env.clock = &machine.clock;
    env.random = &machine.random;
    env.loop = env.link_loop = &machine.loop;
    env.background = &machine.background;
    env.fs = &fs;
    env.writer = &writer;
    env.data = n.data.get();
    env.links = n.links.get();
    env.log = [](server::LogLevel, std::string_view) {};
    env.fatal = [](const Error& error) { throw std::runtime_error(to_string(error)); };
    env.session_output = [](uint64_t) {};
    n.node = std::make_unique<server::Node>(env, options);
    if (const auto started = n.node->start(); !started) throw std::runtime_error(to_string(started.error()));
    n.session = std::make_unique<server::Session>(n.node->new_session_id(), *n.node, server::SessionOptions{});
    n.node->add_session(*n.session);
    return n;
  }
  void stop(const std::string& address) {
    HarnessNode& n = nodes.at(address);
    n.node->stop();
    if (n.node->links() != nullptr) n.node->links()->stop(true);
    dead_.push_back(std::move(n));  // tasks of its transports may still be queued
    dead_.back().session.reset();
    dead_.back().node.reset();
    nodes.erase(address);
  }

  bool background_hangs = false;  // flushes, fetches and whatever else runs there make no progress

  // One event and the end of its turn. Time passes only when there is nothing else to do.
  void step() {
    if (background_hangs ? !machine.loop.run_one() : !machine.step()) pass_time();
    for (auto& [address, n] : nodes) n.node->end_turn();
  }
  // True once `done` holds; false if `limit` has passed first.
  template <class Done>
  bool run_until(Done done, Duration limit = 20 * kSecond) {
    const Instant end = machine.clock.now() + limit;
    while (!done()) {
      if (machine.clock.now() >= end) return false;
      step();
    }
    return true;
  }
  void run_for(Duration time) {
    (void)run_until([] { return false; }, time);
  }

 private:
  void pass_time() {
    if (!machine.loop.fire_timer()) machine.clock.advance(kMillisecond);
  }

  std::vector<HarnessNode> dead_;
};

inline void HarnessTransport::send(NodeId to, server::Channel channel, std::string frame) {
  const auto address = addresses_.find(to);
  const auto self = nodes_.nodes.find(address_);
  if (address == addresses_.end() || self == nodes_.nodes.end() || !self->second.node) return;
  const server::Identity& identity = self->second.node->identity();
  const server::PeerIdentity from{identity.node, identity.incarnation};
  nodes_.machine.loop.post(
      [&nodes = nodes_, to, target = address->second, from, channel, frame = std::move(frame)]() mutable {
        const auto there = nodes.nodes.find(target);
        if (there == nodes.nodes.end() || there->second.node->identity().node != to) return;
        server::TransportEvents* events = there->second.node.get();
        if (channel == server::Channel::kLink) events = there->second.node->links();
        if (events != nullptr) events->on_frame(from, channel, SharedBytes{std::move(frame)});
      });
}

inline void HarnessTransport::call(const std::string& address, std::string request, CallDone done) {
  nodes_.machine.loop.post([&nodes = nodes_, address, request = std::move(request), done = std::move(done)]() mutable {
    const auto there = nodes.nodes.find(address);
    if (there == nodes.nodes.end()) return done(Error{ErrorCode::kUnavailable, address + ": nobody listens"});
    there->second.node->on_call(std::move(request), std::move(done));
  });
}

}  // namespace cairn::test
