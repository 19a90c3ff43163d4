// Whole nodes: what a client sees while one starts.
#include <catch2/catch.hpp>

#include "test/support/node_harness.h"

using namespace cairn;
using namespace cairn::server;
using cairn::test::bulk;
using cairn::test::HarnessNode;
using cairn::test::NodeHarness;
using cairn::test::request;

namespace {
NodeOptions single() {
  NodeOptions options = NodeHarness::options("one");
  options.bootstrap = true;
  return options;
}
}  // namespace

TEST_CASE("commands to a node that knows no ranges yet wait for them, in order") {
  NodeHarness h;
  HarnessNode& fresh = h.start(single());
  // Before the cluster has any range.
  fresh.session->on_input(request({"SET", "a", "1"}) + request({"SET", "b", "2"}) + request({"DBSIZE"}) +
                          request({"FLUSHALL"}) + request({"DBSIZE"}) + request({"SET", "a", "3"}));
  CHECK(fresh.take().empty());
  const std::string all = "+OK\r\n+OK\r\n:2\r\n+OK\r\n:0\r\n+OK\r\n";
  std::string got;
  CHECK(h.run_until([&] { return (got += fresh.take()).size() >= all.size(); }));
  CHECK(got == all);

  // The same after a restart: the ranges are read in the background.
  h.stop("one:7379");
  HarnessNode& again = h.start(single());
  again.session->on_input(request({"GET", "a"}) + request({"APPEND", "a", "4"}) + request({"GET", "a"}));
  CHECK(again.take().empty());
  const std::string rest = bulk("3") + ":2\r\n" + bulk("34");
  got.clear();
  CHECK(h.run_until([&] { return (got += again.take()).size() >= rest.size(); }));
  CHECK(got == rest);
  CHECK(again.node->forwarding_waiting() == 0);
}

TEST_CASE("a node is ready once its cluster has ranges and every local one knows a leader") {
  NodeHarness h;
  NodeOptions options = single();
  options.initial_nodes = 2;
  const HarnessNode& first = h.start(options);
  h.run_for(3 * kSecond);
  std::string why;
  CHECK_FALSE(first.node->ready(&why));
  CHECK(why == "the ranges are not created yet");
  CHECK_FALSE(first.node->topology().ok);

  NodeOptions joining = NodeHarness::options("two");
  joining.join = {"one:7379"};
  const HarnessNode& second = h.start(joining);
  // On the way there is no moment at which a node says yes and serves nothing.
  const auto check = [](const HarnessNode& n) {
    if (!n.node->ready(nullptr)) return false;
    for (const auto& [id, range] : n.node->directory().ranges()) {
      const Replica* replica = n.node->replicas().at(id).get();
      REQUIRE(replica->core().leader().value != 0);
    }
    REQUIRE(n.node->directory().ranges().size() == 2);
    return true;
  };
  CHECK(h.run_until([&] { return check(first) && check(second); }));
  CHECK(first.node->topology().ok);
}

TEST_CASE("a cluster that gets no ranges answers CLUSTERDOWN after cluster.wait_for_leader") {
  NodeHarness h;
  NodeOptions options = single();
  options.initial_nodes = 2;  // the second one never comes
  options.wait_for_leader = 3 * kSecond;
  HarnessNode& n = h.start(options);
  h.run_for(kSecond);
  n.session->on_input(request({"GET", "a"}) + request({"FLUSHALL"}));
  h.run_for(2900 * kMillisecond);
  CHECK(n.take().empty());
  h.run_for(200 * kMillisecond);
  const std::string error = "-CLUSTERDOWN this node knows no range of the key yet; the command was not applied\r\n";
  CHECK(n.take() == error);
  h.run_for(3 * kSecond);
  CHECK(n.take() == error);
  CHECK(n.node->forwarding_metrics().expired.get() == 2);

  // Neither a closed connection nor the end of the node leaves anything behind.
  n.session->on_input(request({"GET", "a"}));
  CHECK(n.node->forwarding_waiting() == 1);
  n.node->remove_session(n.session->id());
  CHECK(n.node->forwarding_waiting() == 0);
}
