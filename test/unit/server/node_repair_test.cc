// Replicas whose files are damaged: what they still do, and how they get whole again.
#include <catch2/catch.hpp>

#include <algorithm>

#include "sharding/slot.h"
#include "storage/compaction/output_job.h"
#include "test/support/node_harness.h"

using namespace cairn;
using namespace cairn::server;
using cairn::test::bulk;
using cairn::test::HarnessNode;
using cairn::test::NodeHarness;
using cairn::test::request;

namespace {

struct Trio {
  NodeHarness h;
  std::vector<HarnessNode*> nodes;

  Trio() {
    for (const char* name : {"a", "b", "c"}) {
      NodeOptions options = NodeHarness::options(name);
      options.bootstrap = nodes.empty();
      options.initial_nodes = 3;
      options.store.compression = storage::Compression::kNone;
      options.store.block_bytes = 1 << 10;
      options.snapshot_chunk_bytes = 1 << 10;
      options.snapshot_window_bytes = 4 << 10;
      if (!nodes.empty()) options.join = {"a:7379"};
      nodes.push_back(&h.start(options));
    }
    CHECK(h.run_until([&] {
      return std::ranges::all_of(nodes, [](const HarnessNode* n) { return n->node->cluster_ready(nullptr); });
    }));
  }
  std::string ask(HarnessNode& n, const std::vector<std::string>& command) {
    n.session->on_input(request(command));
    std::string got;
    CHECK(h.run_until([&] { return !(got += n.take()).empty(); }));
    return got;
  }
  Replica& replica(HarnessNode& n, RangeId range) { return *n.node->replicas().at(range); }
  RangeId range_of(const std::string& key) {
    return nodes[0]->node->directory().range_of_slot(sharding::key_slot(key));
  }
  HarnessNode& leader(RangeId range) {
    HarnessNode* found = nullptr;
    REQUIRE(h.run_until([&] {
      for (HarnessNode* n : nodes) {
        if (replica(*n, range).leads()) found = n;
      }
      return found != nullptr;
    }));
    return *found;
  }
  bool caught_up(RangeId range) {
    return std::ranges::all_of(
        nodes, [&](HarnessNode* n) { return replica(*n, range).applied() == replica(*nodes[0], range).applied(); });
  }
  bool whole(RangeId range) {
    return std::ranges::all_of(nodes, [&](HarnessNode* n) {
      Replica& r = replica(*n, range);
      return !r.core().damaged() && !r.tablet().stats().corrupt && !r.core().suspect();
    });
  }
  void flush(RangeId range) {
    CHECK(h.run_until([&] { return caught_up(range); }));
    for (HarnessNode* n : nodes) replica(*n, range).tablet().flush();
    CHECK(h.run_until([&] {
      return std::ranges::all_of(nodes, [&](HarnessNode* n) {
        const auto stats = replica(*n, range).tablet().stats();
        return stats.flushed.index == stats.applied.index;
      });
    }));
  }
  void flip_bits(HarnessNode& n, RangeId range) {
    for (const storage::SstableInfo& info : replica(n, range).tablet().tables()) {
      const std::string path = storage::sstable_path(storage::join_path(n.options.data_dir, "sst"), info.id);
      for (uint64_t bit = 1000; bit < info.bytes * 8; bit += 8000) REQUIRE(h.fs.flip_bit(path, bit));
    }
  }
};

}  // namespace

TEST_CASE("a damaged replica hands leadership over and is mended by a snapshot, and no read goes wrong meanwhile") {
  Trio t;
  const RangeId range = t.range_of("k0");
  std::vector<std::string> keys;
  for (int i = 0; keys.size() < 60; ++i) {
    const std::string key = "k" + std::to_string(i);
    if (t.range_of(key) != range) continue;
    keys.push_back(key);
    CHECK(t.ask(*t.nodes[0], {"SET", key, std::string(200, 'v') + key}) == "+OK\r\n");
  }
  t.flush(range);
  HarnessNode& damaged = GENERATE(true, false) ? t.leader(range) : [&]() -> HarnessNode& {
    for (HarnessNode* n : t.nodes) {
      if (!t.replica(*n, range).leads()) return *n;
    }
    throw std::runtime_error("no follower");
  }();
  t.flip_bits(damaged, range);
  SECTION("found by a scrub") { REQUIRE(damaged.node->start_scrub({range})); }
  SECTION("found by reads") { t.h.fs.set_cold(true); }
  for (int round = 0; round < 3; ++round) {
    for (const std::string& key : keys) {
      for (HarnessNode* n : t.nodes) REQUIRE(t.ask(*n, {"GET", key}) == bulk(std::string(200, 'v') + key));
    }
    CHECK(t.ask(*t.nodes[1], {"SET", "more" + std::to_string(round), "x"}) == "+OK\r\n");
  }
  REQUIRE(damaged.node->start_scrub({range}));  // of a follower nobody reads
  CHECK(t.h.run_until([&] { return std::as_const(*damaged.node).metrics().repairs.get() == 1 && t.whole(range); }));
  // It has all rows, and may lead.
  REQUIRE(t.h.run_until([&] { return t.caught_up(range); }));
  bool led = t.replica(damaged, range).leads();
  for (int attempt = 0; attempt < 10 && !led; ++attempt) {
    t.replica(t.leader(range), range).step(consensus::Transfer{damaged.node->identity().node});
    led = t.h.run_until([&] { return t.replica(damaged, range).leads(); }, kSecond);
  }
  CHECK(led);
  for (const std::string& key : keys) REQUIRE(t.ask(damaged, {"GET", key}) == bulk(std::string(200, 'v') + key));
}

TEST_CASE("a damaged replica acknowledges: with another node down the range goes on") {
  Trio t;
  const RangeId range = t.range_of("k0");
  CHECK(t.ask(*t.nodes[0], {"SET", "k0", std::string(3000, 'v')}) == "+OK\r\n");
  t.flush(range);
  HarnessNode& leader = t.leader(range);
  std::vector<HarnessNode*> others;
  for (HarnessNode* n : t.nodes) {
    if (n != &leader) others.push_back(n);
  }
  t.flip_bits(*others[0], range);
  const std::string gone = others[1]->options.addresses.peer;
  std::erase(t.nodes, others[1]);
  t.h.stop(gone);
  REQUIRE(others[0]->node->start_scrub({range}));
  CHECK(t.h.run_until([&] { return t.replica(*others[0], range).core().damaged(); }));
  CHECK(t.ask(leader, {"SET", "k0", "new"}) == "+OK\r\n");
  CHECK(t.h.run_until([&] { return t.whole(range); }));
  CHECK(std::as_const(*others[0]->node).metrics().repairs.get() == 1);
  CHECK(t.ask(*others[0], {"GET", "k0"}) == bulk("new"));
}

TEST_CASE("files that are damaged at the start of a node are mended too") {
  Trio t;
  const RangeId range = t.range_of("k0");
  CHECK(t.ask(*t.nodes[0], {"SET", "k0", std::string(3000, 'v')}) == "+OK\r\n");
  t.flush(range);
  HarnessNode& leader = t.leader(range);
  HarnessNode*& follower = *std::ranges::find_if(t.nodes, [&](HarnessNode* n) { return n != &leader; });
  const NodeOptions options = follower->options;
  const storage::SstableInfo info = t.replica(*follower, range).tablet().tables().at(0);
  const std::string path = storage::sstable_path(storage::join_path(options.data_dir, "sst"), info.id);
  t.h.stop(options.addresses.peer);
  REQUIRE(t.h.fs.flip_bit(path, (info.bytes - 30) * 8));  // the footer
  follower = &t.h.start(options);
  CHECK(t.h.run_until([&] {
    const auto at = follower->node->replicas().find(range);
    return at != follower->node->replicas().end() && std::as_const(*follower->node).metrics().repairs.get() == 1;
  }));
  CHECK(t.whole(range));
  CHECK(t.ask(*follower, {"GET", "k0"}) == bulk(std::string(3000, 'v')));
}

TEST_CASE("a request for a snapshot that is cut off or has bytes left over is refused") {
  const SnapshotRequestFrame request{RangeId{300}, ReplicaId{70'000}};
  const std::string bytes = request.encode();
  const auto again = SnapshotRequestFrame::decode(bytes);
  REQUIRE(again);
  CHECK(again->range == request.range);
  CHECK(again->from == request.from);
  for (size_t i = 0; i < bytes.size(); ++i)
    CHECK_FALSE(SnapshotRequestFrame::decode(std::string_view(bytes).substr(0, i)));
  CHECK_FALSE(SnapshotRequestFrame::decode(bytes + "x"));
}

TEST_CASE(
    "all replicas are scrubbed once in every interval, restarts included, and not sooner after one was cancelled") {
  NodeHarness h;
  NodeOptions options = NodeHarness::options("one");
  options.bootstrap = true;
  options.scrub_interval = 100 * kSecond;
  HarnessNode* n = &h.start(options);
  REQUIRE(h.run_until([&] { return n->node->cluster_ready(nullptr); }));
  const auto scrubs = [&] { return n->node->store_metrics().scrubs.get(); };
  const auto next_after = [&](uint64_t before, Duration limit) {
    return h.run_until([&] { return scrubs() > before; }, limit);
  };
  CHECK_FALSE(next_after(0, 70 * kSecond));
  REQUIRE(next_after(0, 35 * kSecond));
  h.run_for(kSecond);
  CHECK(storage::read_file(h.fs, "one/SCRUB")->starts_with("cairn scrub 1\nended_ms "));
  h.run_for(60 * kSecond);
  h.stop("one:7379");
  n = &h.start(options);
  REQUIRE(next_after(0, 45 * kSecond));  // counted from the end of the one before, not from the start
  CHECK_FALSE(next_after(1, 70 * kSecond));
  REQUIRE(n->node->start_scrub({kSystemRange}));
  CHECK(n->node->cancel_scrub());
  CHECK_FALSE(next_after(1, 70 * kSecond));
  n->node->set_scrub_interval(0);
  CHECK_FALSE(next_after(1, 200 * kSecond));
}

TEST_CASE("a node whose received snapshot is damaged before it was installed starts, and that replica asks again") {
  Trio t;
  const RangeId range = t.range_of("k0");
  const std::string value(3000, 'v');
  CHECK(t.ask(*t.nodes[0], {"SET", "k0", value}) == "+OK\r\n");
  t.flush(range);
  HarnessNode& leader = t.leader(range);
  HarnessNode*& follower = *std::ranges::find_if(t.nodes, [&](HarnessNode* n) { return n != &leader; });
  const NodeOptions options = follower->options;
  const std::string snap = storage::join_path(options.data_dir, "snap");
  std::string dir;  // of a snapshot that is complete
  const auto received = [&] {
    const auto names = t.h.fs.list(snap);
    for (const std::string& name : *names) {
      const std::string path = storage::join_path(snap, name);
      if (*t.h.fs.exists(storage::join_path(path, "META"))) dir = path;
    }
    return !dir.empty();
  };
  // The mark is in the log, and the manifest has not followed.
  t.flip_bits(*follower, range);
  REQUIRE(follower->node->start_scrub({range}));
  REQUIRE(t.h.run_until([&] { return t.replica(*follower, range).core().damaged(); }));
  CHECK(t.ask(leader, {"SET", "k0", value + "2"}) == "+OK\r\n");
  REQUIRE(t.h.run_until(received));
  t.h.background_hangs = true;
  t.h.run_for(100 * kMillisecond);
  REQUIRE(t.replica(*follower, range).core().damaged());
  t.h.stop(options.addresses.peer);
  std::string file;
  const auto names = t.h.fs.list(dir);
  for (const std::string& name : *names) {
    if (name != "META") file = storage::join_path(dir, name);
  }
  SECTION("a bit of a file") { REQUIRE(t.h.fs.flip_bit(file, 1000)); }
  SECTION("a bit of its description") { REQUIRE(t.h.fs.flip_bit(storage::join_path(dir, "META"), 100)); }
  SECTION("a file is missing") { REQUIRE(t.h.fs.remove(file)); }
  SECTION("all of it is missing") { REQUIRE(storage::remove_tree(t.h.fs, dir)); }
  follower = &t.h.start(options);
  Replica& again = t.replica(*follower, range);
  CHECK(again.core().damaged());
  CHECK_FALSE(again.core().suspect());
  CHECK(again.tablet().stats().corrupt);
  t.h.background_hangs = false;
  CHECK(t.h.run_until([&] { return std::as_const(*follower->node).metrics().repairs.get() == 1 && t.whole(range); }));
  CHECK(t.ask(*follower, {"GET", "k0"}) == bulk(value + "2"));
}

namespace {

// A range of 60 kB, of which a follower needs all files from the leader.
struct Transfer : Trio {
  RangeId range = range_of("k0");
  std::vector<std::string> keys;
  HarnessNode* sender = nullptr;
  HarnessNode* receiver = nullptr;

  static std::string value(const std::string& key) { return key + std::string(1000, 'v'); }
  Transfer() {
    for (int i = 0; keys.size() < 60; ++i) {
      const std::string key = "k" + std::to_string(i);
      if (range_of(key) != range) continue;
      keys.push_back(key);
      CHECK(ask(*nodes[0], {"SET", key, value(key)}) == "+OK\r\n");
    }
    flush(range);
    sender = &leader(range);
    receiver = *std::ranges::find_if(nodes, [&](HarnessNode* n) { return n != sender; });
    flip_bits(*receiver, range);
    REQUIRE(receiver->node->start_scrub({range}));
    REQUIRE(h.run_until([&] { return replica(*receiver, range).core().damaged(); }));
    // A damaged replica that has every entry can be sent a snapshot as new as the commit index.
    CHECK(ask(*sender, {"SET", keys[0], value(keys[0])}) == "+OK\r\n");
  }
  std::optional<SnapshotTransfer> outgoing() const {
    for (const SnapshotTransfer& t : sender->node->snapshot_transfers()) {
      if (t.outgoing && t.range == range && t.total_bytes > 0) return t;
    }
    return std::nullopt;
  }
  // Files of snapshots that this node makes ("out-"), or receives ("in-").
  std::vector<std::string> files(const HarnessNode& n, const std::string& kind) {
    std::vector<std::string> paths;
    const std::string snap = storage::join_path(n.options.data_dir, "snap");
    const auto dirs = h.fs.list(snap);
    REQUIRE(dirs);
    for (const std::string& dir : *dirs) {
      if (!dir.starts_with(kind)) continue;
      const auto names = h.fs.list(storage::join_path(snap, dir));
      for (const std::string& name : *names) {
        if (name.ends_with(".sst")) paths.push_back(storage::join_path(storage::join_path(snap, dir), name));
      }
    }
    return paths;
  }
  void flip(const std::string& path) {
    const auto status = h.fs.status(path);
    REQUIRE(status);
    for (uint64_t byte = 100; byte < status->bytes; byte += 1000) REQUIRE(h.fs.flip_bit(path, byte * 8));
  }
  void check_mended(size_t replicas) {
    uint64_t repairs = 0;
    CHECK(h.run_until(
        [&] {
          repairs = 0;
          for (HarnessNode* n : nodes) repairs += std::as_const(*n->node).metrics().repairs.get();
          return repairs >= replicas && whole(range);
        },
        60 * kSecond));
    CHECK(repairs == replicas);
    for (const std::string& key : keys) {
      for (HarnessNode* n : nodes) REQUIRE(ask(*n, {"GET", key}) == bulk(value(key)));
    }
    for (HarnessNode* n : nodes) CHECK(n->node->snapshot_transfers().empty());
  }
};

}  // namespace

TEST_CASE(
    "a file that rots between checkpoint and transfer stops nobody: its owner is mended too, by the next leader") {
  Transfer t;
  REQUIRE(t.h.run_until([&] { return t.outgoing().has_value(); }));
  SECTION("before anything of it was sent") {}
  SECTION("when a part is on its way") {
    REQUIRE(t.h.run_until([&] { return t.outgoing() && t.outgoing()->done_bytes > 2000; }));
  }
  const auto files = t.files(*t.sender, "out-");
  REQUIRE(files.size() >= 1);
  for (const std::string& path : files) t.flip(path);  // the links share what the tablet has
  REQUIRE(t.h.run_until([&] { return t.replica(*t.sender, t.range).tablet().stats().corrupt; }));
  CHECK(std::as_const(*t.sender->node).snapshot_metrics().damaged_out.get() == 1);
  CHECK(std::as_const(*t.receiver->node).snapshot_metrics().received.get() == 0);
  t.check_mended(2);
}

TEST_CASE("a file that its receiver's disk damages is found before the log says that it was taken over") {
  Transfer t;
  REQUIRE(t.h.run_until([&] {
    const auto out = t.outgoing();
    return out && out->done_bytes + t.sender->options.snapshot_chunk_bytes >= out->total_bytes;
  }));
  const auto files = t.files(*t.receiver, "in-");
  REQUIRE(files.size() >= 1);
  t.flip(files.back());
  CHECK(t.h.run_until([&] { return std::as_const(*t.receiver->node).snapshot_metrics().damaged_in.get() == 1; }));
  CHECK_FALSE(t.replica(*t.sender, t.range).tablet().stats().corrupt);
  t.check_mended(1);
}
