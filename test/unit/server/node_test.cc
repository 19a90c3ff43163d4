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

TEST_CASE("a SCAN is answered at once, but shows no write before it is committed") {
  NodeHarness h;
  NodeOptions options = single();
  options.ranges = 1;
  HarnessNode& n = h.start(options);
  REQUIRE(h.run_until([&] { return n.node->ready(nullptr); }));
  Session other(n.node->new_session_id(), *n.node, {});
  n.node->add_session(other);
  n.session->on_input(request({"SET", "a", "1"}) + request({"SCAN", "0"}));
  const auto page = [](const std::string& keys) { return "*2\r\n" + bulk("0") + keys; };
  std::string got;
  const std::string both = "+OK\r\n" + page("*1\r\n" + bulk("a"));
  CHECK(h.run_until([&] { return (got += n.take()).size() >= both.size(); }));
  CHECK(got == both);

  const uint64_t leased = std::as_const(*n.node).metrics().replica.reads_by_lease.get();
  n.session->on_input(request({"SCAN", "0"}) + request({"SCAN", "0", "MATCH", "b"}) + request({"PING"}));
  CHECK(n.take() == page("*1\r\n" + bulk("a")) + page("*0\r\n") + "+PONG\r\n");
  CHECK(std::as_const(*n.node).metrics().replica.reads_by_lease.get() == leased + 2);

  n.session->on_input(request({"DEL", "a"}));
  other.on_input(request({"SCAN", "0"}) + request({"PING"}));
  CHECK(other.output().empty());
  h.run_for(100 * kMillisecond);
  CHECK(n.take() == ":1\r\n");
  CHECK(other.output().front() == page("*0\r\n") + "+PONG\r\n");
  n.node->remove_session(other.id());
}

TEST_CASE("writes wait while flushes lag, reads go on, and memory stays within its bound") {
  NodeHarness h;
  NodeOptions options = single();
  options.ranges = 1;
  options.store.memtable_bytes = 64 << 10;
  options.store.memtable_budget_bytes = 256 << 10;
  options.log.first_segment_bytes = 32 << 20;  // no segment is prepared meanwhile
  HarnessNode& n = h.start(options);
  REQUIRE(h.run_until([&] { return n.node->ready(nullptr); }));
  h.background_hangs = true;

  const std::string value(4096, 'x');
  const auto key = [](int i) { return "k" + std::to_string(i); };
  size_t answered = 0;
  for (int i = 0; i < 400; ++i) {  // 1.6 MB
    n.session->on_input(request({"SET", key(i), value}));
    h.run_for(5 * kMillisecond);
    const std::string got = n.take();
    REQUIRE((got.empty() || got == "+OK\r\n"));
    answered += got.empty() ? 0 : 1;
  }
  CHECK(answered > 100);
  CHECK(answered < 200);
  CHECK(n.node->memtable_bytes() < 2 * options.store.memtable_budget_bytes + 64 * 1024);
  CHECK(std::as_const(*n.node).metrics().replica.writes_held.get() == 400 - answered);

  // Another connection reads, and deletes; a key whose write waits is read after it.
  Session other(n.node->new_session_id(), *n.node, {});
  n.node->add_session(other);
  other.on_input(request({"STRLEN", key(0)}) + request({"DEL", key(1)}) + request({"STRLEN", key(399)}));
  h.run_for(100 * kMillisecond);
  CHECK(other.output().front() == ":4096\r\n:1\r\n");

  h.background_hangs = false;
  std::string rest;
  CHECK(h.run_until([&] { return (rest += n.take()).size() >= (400 - answered) * 5; }));
  for (size_t i = 0; i < 400 - answered; ++i) REQUIRE(rest.substr(i * 5, 5) == "+OK\r\n");
  h.run_for(100 * kMillisecond);
  CHECK(other.output().front() == ":4096\r\n:1\r\n:4096\r\n");
  n.node->remove_session(other.id());
}

TEST_CASE("a burst of writes while a flush lags is let through bit by bit, without waiting for the flush") {
  NodeHarness h;
  NodeOptions options = single();
  options.ranges = 1;
  options.store.memtable_bytes = 64 << 10;
  options.store.memtable_budget_bytes = 8 << 20;
  options.log.first_segment_bytes = 64 << 20;  // no segment is prepared meanwhile
  HarnessNode& n = h.start(options);
  REQUIRE(h.run_until([&] { return n.node->ready(nullptr); }));
  h.background_hangs = true;

  const std::string value(4096, 'x');
  int keys = 0;
  while (n.node->memtable_bytes() < 12 << 20) {  // of 16 MB
    n.session->on_input(request({"SET", "k" + std::to_string(keys++), value}));
    REQUIRE(h.run_until([&] { return n.take() == "+OK\r\n"; }));
  }
  const auto held = [&] { return std::as_const(*n.node).metrics().replica.writes_held.get(); };
  CHECK(held() == 0);

  constexpr size_t kBurst = 300;
  std::string burst;
  for (size_t i = 0; i < kBurst; ++i) burst += request({"SET", "k" + std::to_string(keys++), value});
  n.session->on_input(burst);
  CHECK(held() > kBurst / 2);
  CHECK(held() < kBurst);
  const Instant begun = n.node->now();
  std::string answers;
  CHECK(h.run_until([&] { return (answers += n.take()).size() >= kBurst * 5; }));
  CHECK(n.node->now() - begun > kMillisecond);
  CHECK(n.node->now() - begun < 20 * kMillisecond);
  for (size_t i = 0; i < kBurst; ++i) REQUIRE(answers.substr(i * 5, 5) == "+OK\r\n");
  CHECK(n.node->has_memory());
}

TEST_CASE("a node that was restarted with other addresses makes them known") {
  NodeHarness h;
  const size_t count = GENERATE(1, 2, 3);  // of two, the record can only be written with the moved one's help
  NodeOptions first = single();
  first.initial_nodes = static_cast<uint32_t>(count);
  h.start(first);
  for (size_t i = 1; i < count; ++i) {
    NodeOptions options = NodeHarness::options(std::to_string(i + 1));
    options.join = {"one:7379"};
    h.start(options);
  }
  const auto all_ready = [&] {
    return std::all_of(h.nodes.begin(), h.nodes.end(), [](auto& n) { return n.second.node->cluster_ready(nullptr); });
  };
  REQUIRE(h.run_until(all_ready));

  const std::string old = count == 1 ? "one:7379" : "2:7379";
  NodeOptions moved = h.nodes.at(old).options;
  const NodeId id = h.nodes.at(old).node->identity().node;
  h.stop(old);
  h.run_for(kSecond);
  moved.join.clear();
  moved.addresses = {"moved:7379", "moved:6379", "moved:8379"};
  h.start(moved);
  CHECK(h.run_until([&] {
    return all_ready() && std::all_of(h.nodes.begin(), h.nodes.end(), [&](auto& n) {
             return n.second.node->directory().nodes().at(id).addresses == moved.addresses;
           });
  }));
  HarnessNode& n = h.nodes.at("moved:7379");
  n.session->on_input(request({"SET", "a", "1"}));
  CHECK(h.run_until([&] { return n.take() == "+OK\r\n"; }));
}

TEST_CASE("a keyspace's strategy is chosen on any node, followed by all, and kept") {
  using storage::StrategyKind;
  NodeHarness h;
  NodeOptions first = single();
  first.initial_nodes = 3;
  first.store.strategy = StrategyKind::kIcs;  // the nodes' own, until the keyspace chooses
  std::vector<NodeOptions> all{first};
  for (const char* name : {"two", "three"}) {
    NodeOptions options = NodeHarness::options(name);
    options.join = {"one:7379"};
    options.store.strategy = StrategyKind::kIcs;
    all.push_back(options);
  }
  for (const NodeOptions& options : all) h.start(options);
  const auto everywhere = [&](auto&& holds) {
    return std::ranges::all_of(h.nodes,
                               [&](auto& n) { return n.second.node->ready(nullptr) && holds(*n.second.node); });
  };
  const auto follows = [](StrategyKind kind) {
    return [kind](const Node& node) {
      return std::ranges::all_of(node.replicas(), [&](const auto& entry) {
        const auto wanted = entry.first == kSystemRange ? StrategyKind::kIcs : kind;
        return entry.second->tablet().stats().strategy == wanted;
      });
    };
  };
  REQUIRE(h.run_until([&] { return everywhere(follows(StrategyKind::kIcs)); }));

  const auto change = [&](Node& node, std::optional<StrategyKind> kind) {
    std::optional<std::string> answer;
    node.change_keyspace({kind}, [&](std::string error) { answer = std::move(error); });
    REQUIRE(h.run_until([&] { return answer.has_value(); }));
    return *answer;
  };
  // Through one that does not lead the system range; it has it when it answers.
  const auto other = std::ranges::find_if(h.nodes, [](const auto& n) {
    return n.second.node->replicas().at(kSystemRange)->core().role() != consensus::Role::kLeader;
  });
  REQUIRE(other != h.nodes.end());
  CHECK(change(*other->second.node, StrategyKind::kLcs).empty());
  CHECK(other->second.node->compaction_strategy() == StrategyKind::kLcs);
  CHECK(follows(StrategyKind::kLcs)(*other->second.node));
  REQUIRE(h.run_until([&] { return everywhere(follows(StrategyKind::kLcs)); }));

  // A node's own configuration does not touch what the keyspace has chosen.
  other->second.node->set_compaction_strategy(StrategyKind::kIcs);
  CHECK(follows(StrategyKind::kLcs)(*other->second.node));

  for (const NodeOptions& options : all) h.stop(options.addresses.peer);
  for (const NodeOptions& options : all) h.start(options);
  REQUIRE(h.run_until([&] { return everywhere(follows(StrategyKind::kLcs)); }));
  CHECK(change(*h.nodes.at("three:7379").node, std::nullopt).empty());
  REQUIRE(h.run_until([&] { return everywhere(follows(StrategyKind::kIcs)); }));
}

TEST_CASE("a keyspace record that is damaged or names an unknown strategy is refused") {
  Directory directory;
  KeyspaceRecord record{storage::StrategyKind::kTwcs, storage::Compression::kZstd};
  // Earlier versions wrote the strategy alone.
  REQUIRE(directory.apply(keyspace_row_key(), std::string("\x01\x03lcs", 5)));
  CHECK(directory.keyspace() == KeyspaceRecord{storage::StrategyKind::kLcs, std::nullopt});
  REQUIRE(directory.apply(keyspace_row_key(), record.encode()));
  CHECK(directory.keyspace() == record);
  std::string unknown = record.encode(), other = record.encode();
  unknown.back() = 'x';
  other[2] = 'x';
  for (const std::string& bad : {std::string(), std::string("\x01", 1), std::string("\x02\x00", 2), unknown, other}) {
    CHECK_FALSE(directory.apply(keyspace_row_key(), bad));
    CHECK(directory.keyspace() == record);
  }
  CHECK(directory.apply(keyspace_row_key(), std::nullopt));
  CHECK_FALSE(directory.keyspace().strategy);
}
