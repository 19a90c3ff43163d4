// Reads that followers answer: whole nodes, without faults (those are the simulator's).
#include <catch2/catch.hpp>

#include "test/support/node_harness.h"

using namespace cairn;
using namespace cairn::server;
using cairn::test::bulk;
using cairn::test::HarnessNode;
using cairn::test::NodeHarness;
using cairn::test::request;

namespace {
// Three nodes with one range; the client of `follower` has sent READONLY.
struct Three {
  NodeHarness h;
  HarnessNode* leader = nullptr;
  HarnessNode* follower = nullptr;

  explicit Three(const NodeOptions& base = NodeHarness::options("")) {
    for (const std::string name : {"one", "two", "three"}) {
      NodeOptions options = base;
      options.data_dir = name;
      options.addresses = NodeHarness::options(name).addresses;
      options.ranges = 1;
      options.redirect = RedirectMode::kNever;
      options.bootstrap = name == "one";
      options.initial_nodes = 3;
      if (!options.bootstrap) options.join = {"one:7379"};
      h.start(options);
    }
    REQUIRE(h.run_until([&] {
      return std::all_of(h.nodes.begin(), h.nodes.end(), [](auto& n) { return n.second.node->ready(nullptr); });
    }));
    h.run_for(3 * kSecond);  // leaderships are handed to their owners
    for (auto& [name, n] : h.nodes) (leads(n) ? leader : follower) = &n;
    REQUIRE(leader != nullptr);
    CHECK(ask(*follower, {"READONLY"}) == "+OK\r\n");
  }
  static bool leads(const HarnessNode& n) { return n.node->replicas().at(RangeId{1})->leads(); }
  std::string ask(HarnessNode& n, const std::vector<std::string>& argv) {
    n.session->on_input(request(argv));
    std::string got;
    h.run_until([&] { return !(got += n.take()).empty(); }, 6 * kSecond);
    return got;
  }
  const FollowerReadMetrics& metrics() const { return follower->node->follower_read_metrics(); }
  uint64_t forwarded() const { return follower->node->forwarding_metrics().forwarded.get(); }
};
}  // namespace

TEST_CASE("a follower answers reads of a READONLY connection, with what was acknowledged before") {
  Three t;
  for (int i = 0; i < 20; ++i) {
    const std::string value = "v" + std::to_string(i);
    REQUIRE(t.ask(*t.leader, {"SET", "k", value}) == "+OK\r\n");
    REQUIRE(t.ask(*t.follower, {"GET", "k"}) == bulk(value));
  }
  CHECK(t.metrics().served.get() == 20);
  CHECK(t.metrics().rounds.get() == 20);
  CHECK(t.metrics().passed_on.get() == 0);
  CHECK(t.forwarded() == 20);  // the rounds

  // One round for all reads of a turn.
  t.follower->session->on_input(request({"GET", "k"}) + request({"STRLEN", "k"}) + request({"EXISTS", "k", "x"}));
  const std::string all = bulk("v19") + ":3\r\n:1\r\n";
  std::string got;
  CHECK(t.h.run_until([&] { return (got += t.follower->take()).size() >= all.size(); }));
  CHECK(got == all);
  CHECK(t.metrics().rounds.get() == 21);

  CHECK(t.ask(*t.follower, {"READWRITE"}) == "+OK\r\n");
  CHECK(t.ask(*t.follower, {"GET", "k"}) == bulk("v19"));
  CHECK(t.metrics().rounds.get() == 21);
}

TEST_CASE("writes and reads of one connection keep their order on a follower") {
  Three t;
  REQUIRE(t.ask(*t.leader, {"SET", "k", "0"}) == "+OK\r\n");
  t.follower->session->on_input(request({"GET", "k"}) + request({"INCR", "k"}) + request({"GET", "k"}) +
                                request({"INCR", "k"}) + request({"GET", "k"}));
  const std::string all = bulk("0") + ":1\r\n" + bulk("1") + ":2\r\n" + bulk("2");
  std::string got;
  CHECK(t.h.run_until([&] { return (got += t.follower->take()).size() >= all.size(); }));
  CHECK(got == all);
  CHECK(t.metrics().served.get() == 1);  // the others wait behind the first INCR

  // Transactions that only read run here, as one; WATCH needs the leader.
  const auto exec = request({"MULTI"}) + request({"GET", "k"}) + request({"EXISTS", "k"}) + request({"EXEC"});
  const std::string queued = "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n" + bulk("2") + ":1\r\n";
  for (const std::string watch : {"", "+OK\r\n"}) {
    t.follower->session->on_input((watch.empty() ? "" : request({"WATCH", "k"})) + exec);
    got.clear();
    CHECK(t.h.run_until([&] { return (got += t.follower->take()).size() >= (watch + queued).size(); }));
    CHECK(got == watch + queued);
    CHECK(t.metrics().served.get() == 2);
  }
}

TEST_CASE("a key that is due is deleted by the leader, whoever meets it") {
  Three t;
  REQUIRE(t.ask(*t.leader, {"SET", "k", "v", "PX", "100"}) == "+OK\r\n");
  CHECK(t.ask(*t.follower, {"GET", "k"}) == bulk("v"));
  t.h.run_for(200 * kMillisecond);
  const uint64_t acked = std::as_const(*t.leader->node).metrics().replica.writes_acked.get();
  CHECK(t.ask(*t.follower, {"GET", "k"}) == "$-1\r\n");
  CHECK(std::as_const(*t.leader->node).metrics().replica.writes_acked.get() == acked + 1);
  CHECK(t.metrics().served.get() == 1);
}

TEST_CASE("a follower reads from its own disk") {
  NodeOptions options = NodeHarness::options("");
  options.store.memtable_bytes = 64 << 10;
  options.store.memtable_budget_bytes = 256 << 10;
  options.store.block_cache_bytes = 0;
  options.store.hot_row_bytes = 0;
  Three t(options);
  const std::string value(2000, 'x');
  for (int i = 0; i < 300; ++i) REQUIRE(t.ask(*t.leader, {"SET", "k" + std::to_string(i), value}) == "+OK\r\n");
  for (int i = 0; i < 200; ++i) REQUIRE(t.ask(*t.leader, {"HSET", "h", "f" + std::to_string(i), value}) == ":1\r\n");
  t.h.run_for(kSecond);
  for (int i = 0; i < 300; ++i) REQUIRE(t.ask(*t.follower, {"GET", "k" + std::to_string(i)}) == bulk(value));
  CHECK(t.ask(*t.follower, {"HGET", "h", "f7"}) == bulk(value));
  t.follower->session->on_input(request({"HVALS", "h"}));
  std::string got;
  CHECK(t.h.run_until([&] { return (got += t.follower->take()).size() >= 6 + 200 * bulk(value).size(); }));
  CHECK(got.starts_with("*200\r\n"));
  CHECK(t.metrics().served.get() == 302);
  CHECK(t.metrics().passed_on.get() == 0);
}

TEST_CASE("bounded staleness: one answer of the leader serves for that time") {
  NodeOptions options = NodeHarness::options("");
  options.follower_staleness = kSecond;
  Three t(options);
  REQUIRE(t.ask(*t.leader, {"SET", "k", "v"}) == "+OK\r\n");
  CHECK(t.ask(*t.follower, {"GET", "k"}) == bulk("v"));
  t.follower->session->on_input(request({"GET", "k"}));
  CHECK(t.follower->take() == bulk("v"));  // at once
  CHECK(t.metrics().rounds.get() == 1);
  t.h.run_for(kSecond);
  REQUIRE(t.ask(*t.leader, {"SET", "k", "w"}) == "+OK\r\n");
  CHECK(t.ask(*t.follower, {"GET", "k"}) == bulk("w"));
  CHECK(t.metrics().rounds.get() == 2);
}
