// Commands that wait for a leader or go to another node, against a host that a test drives.
#include "server/cluster/forwarding.h"

#include <catch2/catch.hpp>

#include "server/commands/command.h"

using namespace cairn;
using namespace cairn::server;

namespace {

struct Host final : ForwardingHost {
  Instant clock = kSecond;
  bool here = false;  // this node leads
  NodeId leader;
  std::vector<std::string> ran;        // keys, in order
  std::vector<std::string> delivered;  // "SEQUENCE REPLY"
  std::vector<std::string> frames;
  std::vector<bool> larges;
  std::function<void(const ReplyTarget&)> on_deliver;

  Instant now() const override { return clock; }
  bool leads(RangeId) override { return here; }
  bool execute_here(RangeId, const CommandCall& call, std::string& reply) override {
    ran.emplace_back(call.argv[1]);
    reply = "+OK\r\n";
    return true;
  }
  NodeId leader_of(RangeId) override { return leader; }
  void learn_leader(RangeId, NodeId) override {}
  void send_forward(NodeId, std::string frame, bool large) override {
    frames.push_back(std::move(frame));
    larges.push_back(large);
  }
  void deliver(const ReplyTarget& target, std::string_view reply) override {
    delivered.push_back(std::to_string(target.sequence) + " " +
                        std::string(reply.substr(0, reply.find_first_of(" \r"))));
    if (on_deliver) on_deliver(target);
  }
  bool route(const CommandCall&, Instant) override { return false; }
  void pump_later(Duration) override {}
};

constexpr RangeId kRange{3};

void add(Forwarding& forwarding, const std::string& key, uint64_t sequence) {
  const std::string_view argv[] = {"GET", key};
  forwarding.add(7, kRange, {find_command("GET"), argv, 0, 2, {ReplyTarget::Kind::kSession, {}, 7, sequence}});
}
void add_write(Forwarding& forwarding, const std::string& key, uint64_t sequence) {
  const std::string_view argv[] = {"DEL", key};
  forwarding.add(7, kRange, {find_command("DEL"), argv, 0, 2, {ReplyTarget::Kind::kSession, {}, 7, sequence}});
}

}  // namespace

TEST_CASE("a reply that brings the next command of its connection keeps the order") {
  Host host;
  Forwarding forwarding(host, 5 * kSecond);
  for (uint64_t i = 0; i < 3; ++i) add(forwarding, std::to_string(i), i);
  CHECK(forwarding.waiting() == 3);
  host.on_deliver = [&](const ReplyTarget& target) {
    if (target.sequence < 5) add(forwarding, std::to_string(target.sequence + 10), target.sequence + 10);
  };
  host.here = true;
  forwarding.pump_all();
  CHECK(host.ran == std::vector<std::string>{"0", "1", "2", "10", "11", "12"});
  CHECK(host.delivered.size() == 6);
  CHECK(forwarding.waiting() == 0);
  CHECK_FALSE(forwarding.busy(7, kRange));
}

TEST_CASE("a reply that ends its connection takes along what waits behind it") {
  Host host;
  Forwarding forwarding(host, 5 * kSecond);
  for (uint64_t i = 0; i < 3; ++i) add(forwarding, std::to_string(i), i);
  host.on_deliver = [&](const ReplyTarget&) { forwarding.session_closed(7); };
  host.here = true;
  forwarding.pump_all();
  CHECK(host.ran == std::vector<std::string>{"0"});
  CHECK(forwarding.waiting() == 0);
  CHECK_FALSE(forwarding.busy(7, kRange));
}

TEST_CASE("what finds no leader in time is answered, what was sent to one that is lost is told apart") {
  Host host;
  Forwarding forwarding(host, 5 * kSecond);
  add(forwarding, "a", 1);
  host.clock += 5 * kSecond - 1;
  forwarding.pump_all();
  CHECK(host.delivered.empty());
  host.clock += 1;
  forwarding.pump_all();
  CHECK(host.delivered == std::vector<std::string>{"1 -CLUSTERDOWN"});

  host.delivered.clear();
  host.leader = {2};
  add(forwarding, "a", 2);
  const std::string_view write[] = {"SET", "a", "1"};
  forwarding.add(7, kRange, {find_command("SET"), write, 0, 2, {ReplyTarget::Kind::kSession, {}, 7, 3}});
  CHECK(host.frames.size() == 2);
  host.leader = {};
  forwarding.peer_lost({2});
  CHECK(host.delivered == std::vector<std::string>{"3 -INDETERMINATE"});
  CHECK(forwarding.waiting() == 1);  // the read is tried again
  host.leader = {3};
  forwarding.pump_all();
  CHECK(host.frames.size() == 3);
}

TEST_CASE("what never left for a peer is tried again in order, writes too, until its time is over") {
  Host host;
  host.leader = {2};
  Forwarding forwarding(host, 5 * kSecond);
  add_write(forwarding, "a", 1);
  add(forwarding, "b", 2);
  REQUIRE(host.frames.size() == 2);
  forwarding.peer_unsent({3}, false);
  CHECK(host.frames.size() == 2);
  forwarding.peer_unsent({2}, false);
  CHECK(host.delivered.empty());
  CHECK(host.frames.size() == 2);  // after a pause
  forwarding.pump_all();
  REQUIRE(host.frames.size() == 4);
  const auto first = ForwardFrame::decode(host.frames[2]), second = ForwardFrame::decode(host.frames[3]);
  REQUIRE((first && second));
  CHECK((first->argv[1] == "a" && second->argv[1] == "b" && first->epoch == second->epoch));

  // The same, but somebody else leads meanwhile: here.
  forwarding.peer_unsent({2}, false);
  host.here = true;
  forwarding.pump_all();
  CHECK(host.ran == std::vector<std::string>{"a", "b"});
  CHECK(forwarding.waiting() == 0);

  host.here = false;
  host.delivered.clear();
  add_write(forwarding, "c", 3);
  host.clock += 5 * kSecond;
  forwarding.peer_unsent({2}, false);
  CHECK(host.delivered == std::vector<std::string>{"3 -CLUSTERDOWN"});
  CHECK(forwarding.waiting() == 0);
}

TEST_CASE("a large command travels alone, by its own way, and in its turn") {
  Host host;
  host.leader = {2};
  Forwarding forwarding(host, 5 * kSecond);
  const std::string large(kLargeFrameBytes + 1, 'x');
  add(forwarding, "a", 1);
  add(forwarding, large, 2);
  add(forwarding, "b", 3);
  REQUIRE(host.larges == std::vector<bool>{false});
  ForwardReplyFrame reply;
  const auto answer = [&](size_t frame) {
    reply.request = ForwardFrame::decode(host.frames[frame])->request;
    reply.reply = "+ok";
    forwarding.on_reply({2}, reply);
  };
  answer(0);
  REQUIRE(host.larges == std::vector<bool>{false, true});
  forwarding.peer_unsent({2}, false);  // of what goes the other way
  CHECK(host.larges.size() == 2);
  forwarding.peer_unsent({2}, true);
  forwarding.pump_all();
  REQUIRE(host.larges == std::vector<bool>{false, true, true});
  answer(2);
  REQUIRE(host.larges == std::vector<bool>{false, true, true, false});
  answer(3);
  CHECK(host.delivered == std::vector<std::string>{"1 +ok", "2 +ok", "3 +ok"});
  CHECK(forwarding.waiting() == 0);
}
