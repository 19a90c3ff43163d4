// Splits and merges of tablets: what the children show, what happens to the files, and what is refused.
#include <catch2/catch.hpp>

#include <algorithm>

#include "manifest_tables.h"
#include "storage/compaction/output_job.h"
#include "storage/sstable/ingest_file.h"
#include "storage/version/manifest.h"
#include "tablet_fixture.h"

using namespace cairn;
using namespace cairn::storage;
using namespace cairn::storage::test;

namespace {

using Rows = std::map<std::string, std::string>;

std::string key(uint64_t i) { return "key" + std::to_string(1000 + i); }

// One table per 100 rows; no compaction looks at them by itself.
struct Reshaped : TabletFixture {
  uint64_t index = 0;
  Rows model;

  Reshaped() {
    options.compaction.stcs.min_threshold = options.compaction.stcs.max_threshold = 1000;
    options.compaction.space.rewrite_share = 2;  // no view is rewritten
    options.strategy = StrategyKind::kStcs;
    options.memtable_bytes = 1 << 20;
    REQUIRE(open());
    (void)tablet();
  }
  void put_row(uint64_t range, const std::string& k, const std::string& value) {
    put(tablet(range), ++index, k, value);
    model[k] = value;
  }
  void flush(uint64_t range = 1) {
    tablet(range)->flush();
    machine.settle();
  }
  void fill(uint64_t first, uint64_t count) {
    for (uint64_t i = first; i < first + count; ++i) put_row(1, key(i), std::string(100, 'v') + std::to_string(index));
    flush();
  }
  Result<void> split(uint64_t parent, const std::string& at, uint64_t left, uint64_t right) {
    std::optional<Result<void>> done;
    store->split({parent}, at, {left}, {right}, [&](Result<void> r) { done = std::move(r); });
    machine.settle();
    REQUIRE(done);
    return *done;
  }
  Result<void> merge(uint64_t left, uint64_t right, const std::string& at, uint64_t merged) {
    std::optional<Result<void>> done;
    store->merge({left}, {right}, at, {merged}, [&](Result<void> r) { done = std::move(r); });
    machine.settle();
    REQUIRE(done);
    return *done;
  }
  void compact(uint64_t range) {
    std::optional<Result<void>> done;
    tablet(range)->compact([&](Result<void> r) { done = std::move(r); });
    machine.settle();
    REQUIRE((done && *done));
  }
  Rows between(const std::string& lo, const std::string& hi) const {
    return {model.lower_bound(lo), hi.empty() ? model.end() : model.lower_bound(hi)};
  }
  void check(uint64_t range, const Rows& expected) {
    REQUIRE(store->find({range}) != nullptr);
    CHECK(everything(tablet(range)) == expected);
    FetchRequest request;
    request.prefixes.emplace_back().reverse = true;
    auto back = fetch(tablet(range), std::move(request));
    REQUIRE(back);
    std::ranges::reverse(back->prefixes[0]);
    CHECK(Rows(back->prefixes[0].begin(), back->prefixes[0].end()) == expected);
    for (const auto& [k, value] : model) {
      const auto it = expected.find(k);
      REQUIRE(read(tablet(range), k) == (it == expected.end() ? std::nullopt : std::optional(it->second)));
    }
  }
  std::string path(uint64_t id) const { return sstable_path("/data/sst", id); }
};

}  // namespace

TEST_CASE("a split writes no row anew, and every child shows its side of the key alone") {
  Reshaped f;
  f.fill(0, 100);
  f.fill(50, 100);
  f.fill(200, 100);
  f.put_row(1, key(60), "in memory");
  const uint64_t bytes = f.tablet()->stats().sstable_bytes;
  const uint64_t entries = f.tablet()->stats().entries_estimate;
  const uint64_t written = f.store->metrics().bytes_compacted_out.get();
  const std::string at = GENERATE(std::string("key1060"), std::string("key1060x"), std::string("key1149"),
                                  std::string("key1150"), std::string("key1"), std::string("z"));
  const uint64_t left = GENERATE(1, 2);
  REQUIRE(f.split(1, at, left, 3));
  CHECK((f.store->find({1}) == nullptr) == (left == 2));
  f.check(left, f.between("", at));
  f.check(3, f.between(at, ""));
  CHECK(f.tablet(left)->applied() == storage::test::at(f.index));
  CHECK(f.tablet(3)->flushed() == storage::test::at(f.index));
  CHECK(f.store->metrics().bytes_compacted_out.get() == written);
  for (const SstableInfo& info : f.tablet(left)->tables()) {
    CHECK(info.largest < at);
    CHECK(f.fs.status(f.path(info.id))->links == (info.shared ? 2 : 1));
  }
  for (const SstableInfo& info : f.tablet(3)->tables()) CHECK(info.smallest >= at);
  const TabletStats a = f.tablet(left)->stats(), b = f.tablet(3)->stats();
  CHECK(a.sstable_bytes + b.sstable_bytes <= bytes + (8 << 10));
  CHECK(a.entries_estimate + b.entries_estimate <= entries + 100);
  SECTION("after a restart too") {
    REQUIRE(f.open());
    REQUIRE(f.store->collect_garbage());
    f.machine.settle();
    f.check(left, f.between("", at));
    f.check(3, f.between(at, ""));
  }
  SECTION("and after both were compacted, when the files of the parent go") {
    f.compact(left);
    f.compact(3);
    f.check(left, f.between("", at));
    f.check(3, f.between(at, ""));
    uint64_t tables = 0;
    for (const uint64_t range : {left, uint64_t{3}}) {
      for (const SstableInfo& info : f.tablet(range)->tables()) {
        CHECK(f.fs.status(f.path(info.id))->links == 1);
        CHECK_FALSE(info.bounded());
        ++tables;
      }
    }
    CHECK(f.fs.list("/data/sst")->size() == tables);
  }
  SECTION("and may be split again at once, and merged") {
    REQUIRE(f.split(3, "key1250", 4, 5));
    f.check(4, f.between(at, std::max<std::string>(at, "key1250")));
    if (at < "key1250") {
      REQUIRE(f.merge(left, 4, at, 6));
      REQUIRE(f.merge(6, 5, "key1250", 7));
      f.check(7, f.model);
      f.compact(7);
      f.check(7, f.model);
    }
  }
  SECTION("and goes on with writes of its own") {
    if (at <= key(200) && at > "key1") {
      f.put_row(3, key(200), "newer");
      f.put_row(left, "a", "first");
      f.flush(3);
      f.check(3, f.between(at, ""));
      f.check(left, f.between("", at));
    }
  }
}

TEST_CASE("deleted prefixes hold on both sides of the key they reach over, and clears on the one they are asked of") {
  Reshaped f;
  for (const char* k : {"a1", "ab1", "ab2", "abc", "ac", "b"}) f.put_row(1, k, "old");
  f.flush();
  WriteBatch batch;
  batch.remove_prefix("a");
  batch.put("ab2", "new");
  REQUIRE(f.tablet()->apply(at(++f.index), batch.bytes()));
  std::erase_if(f.model, [](const auto& row) { return row.first.starts_with("a"); });
  f.model["ab2"] = "new";
  f.flush();
  const std::string key = GENERATE(std::string("ab"), std::string("ab2"), std::string("ab3"), std::string("a"));
  REQUIRE(f.split(1, key, 2, 3));
  f.check(2, f.between("", key));
  f.check(3, f.between(key, ""));
  SECTION("after compactions and a restart") {
    for (const uint64_t range : {2, 3}) {
      f.tablet(range)->set_strategy(StrategyKind::kIcs);
      f.put_row(range, range == 2 ? "A" : "z", "x");
      f.flush(range);
    }
    REQUIRE(f.open());
    f.compact(2);
    f.check(2, f.between("", key));
    f.check(3, f.between(key, ""));
    f.compact(3);
    f.check(3, f.between(key, ""));
  }
  SECTION("a prefix that one child deletes says nothing about the other after a merge, or the merge is refused") {
    WriteBatch again;
    again.remove_prefix("a");
    REQUIRE(f.tablet(2)->apply(at(f.index + 50), again.bytes()));
    std::erase_if(f.model, [&](const auto& row) { return row.first.starts_with("a") && row.first < key; });
    f.flush(2);
    const auto refused = f.merge(2, 3, key, 4);
    if (key != "a") {  // then it reaches over
      REQUIRE_FALSE(refused);
      CHECK(refused.error().code == ErrorCode::kUnavailable);
      f.check(2, f.between("", key));
      f.compact(2);
      f.compact(3);
      REQUIRE(f.merge(2, 3, key, 4));
    }
    if (f.store->find({4}) != nullptr) f.check(4, f.model);
  }
  SECTION("a clear") {
    WriteBatch clear;
    clear.clear_all();
    REQUIRE(f.tablet(3)->apply(at(f.index + 1), clear.bytes()));
    f.check(3, {});
    f.flush(3);
    f.check(2, f.between("", key));
    REQUIRE(f.open());
    f.check(3, {});
    f.check(2, f.between("", key));
  }
}

TEST_CASE("a view of which much is not its own is rewritten, and the file goes with the last of them") {
  Reshaped f;
  f.options.compaction.space.rewrite_share = 0.3;
  REQUIRE(f.open());
  f.fill(0, 200);
  const uint64_t id = f.tablet()->tables().at(0).id;
  SECTION("both, where the key is in the middle") {
    REQUIRE(f.split(1, key(100), 2, 3));
    CHECK_FALSE(*f.fs.exists(f.path(id)));
    for (const uint64_t range : {2, 3}) {
      REQUIRE(f.tablet(range)->tables().size() == 1);
      CHECK_FALSE(f.tablet(range)->tables()[0].bounded());
    }
  }
  SECTION("the smaller one, where it is near an end") {
    REQUIRE(f.split(1, key(180), 2, 3));
    CHECK(f.tablet(2)->tables().at(0).id == id);
    CHECK(f.tablet(2)->tables()[0].end == key(180));
    CHECK(f.fs.status(f.path(id))->links == 1);
    CHECK_FALSE(f.tablet(3)->tables().at(0).bounded());
  }
  f.check(2, {f.model.begin(), f.model.lower_bound(f.tablet(3)->tables().at(0).smallest)});
}

TEST_CASE("a snapshot of a child holds what the child shows") {
  Reshaped f;
  f.fill(0, 100);
  REQUIRE(f.split(1, key(40), 2, 3));
  for (const uint64_t range : {2, 3}) {
    const Rows expected = range == 2 ? f.between("", key(40)) : f.between(key(40), "");
    std::optional<Result<Checkpoint>> made;
    f.tablet(range)->checkpoint([&](Result<Checkpoint> c) { made = std::move(c); });
    f.machine.settle();
    REQUIRE((made && *made));
    REQUIRE(f.store->install_now({range + 10}, (*made)->dir, (*made)->manifest, (*made)->position));
    f.check(range + 10, expected);
    REQUIRE(f.open());
    f.check(range + 10, expected);
    REQUIRE(f.store->scrub({{range}}));
    while (f.store->scrub_status().state == ScrubStatus::State::kRunning) {
      if (!f.machine.step()) REQUIRE(f.machine.loop.fire_timer());
    }
    CHECK(f.store->scrub_status().errors == 0);
  }
}

TEST_CASE("what cannot be split or merged is refused and stays as it was") {
  Reshaped f;
  f.fill(0, 100);
  CHECK(f.split(9, "k", 2, 3).error().code == ErrorCode::kNotFound);
  CHECK(f.split(1, "", 2, 3).error().code == ErrorCode::kInvalidArgument);
  CHECK(f.split(1, "k", 2, 2).error().code == ErrorCode::kInvalidArgument);
  (void)f.tablet(7);
  CHECK(f.split(1, "k", 2, 7).error().code == ErrorCode::kAlreadyExists);
  CHECK(f.merge(1, 9, "k", 2).error().code == ErrorCode::kNotFound);
  REQUIRE(f.split(1, key(50), 2, 3));
  CHECK(f.merge(3, 2, key(50), 4).error().code == ErrorCode::kInvalidArgument);
  CHECK(f.merge(2, 3, key(40), 4).error().code == ErrorCode::kInvalidArgument);
  CHECK(f.merge(2, 3, key(50), 7).error().code == ErrorCode::kAlreadyExists);
  f.check(2, f.between("", key(50)));
  f.check(3, f.between(key(50), ""));
  f.put_row(2, "a", "goes on");
  f.flush(2);
  f.check(2, f.between("", key(50)));
  SECTION("no space for the edit") {
    f.faulty.set_policy(failing(
        [](FileOp op, const std::string& path) {
          return op == FileOp::kWrite && path.find("MANIFEST") != std::string::npos;
        },
        ErrorCode::kNoSpace));
    const uint64_t files = f.fs.list("/data/sst")->size();
    CHECK(f.split(2, key(20), 4, 5).error().code == ErrorCode::kNoSpace);
    CHECK(f.merge(2, 3, key(50), 6).error().code == ErrorCode::kNoSpace);
    CHECK(f.fs.list("/data/sst")->size() == files);
    f.faulty.set_policy({});
    CHECK_FALSE(f.fatal);
    REQUIRE(f.split(2, key(20), 4, 5));
    f.check(4, f.between("", key(20)));
  }
  SECTION("a damaged file") {
    for (const SstableInfo& info : f.tablet(2)->tables()) {
      for (uint64_t byte = 0; byte < info.bytes; byte += 200) (void)f.fs.flip_bit(f.path(info.id), byte * 8);
    }
    REQUIRE(f.open());
    const auto failed = f.split(2, key(20), 4, 5);
    REQUIRE_FALSE(failed);
    CHECK(failed.error().code == ErrorCode::kCorruption);
    CHECK(f.tablet(2)->stats().corrupt);
    CHECK(f.store->find({4}) == nullptr);
    CHECK(f.corruptions.size() >= 1);
  }
  SECTION("a manifest that cannot be written is fatal") {
    f.faulty.set_policy(failing([](FileOp op, const std::string& path) {
      return op == FileOp::kSync && path.find("MANIFEST") != std::string::npos;
    }));
    CHECK_FALSE(f.split(2, key(20), 4, 5));
    CHECK(f.fatal);
  }
}

TEST_CASE("nothing is applied to a tablet that is being split, and a compaction under way does not matter") {
  Reshaped f;
  f.options.strategy = StrategyKind::kIcs;
  REQUIRE(f.open());
  for (int round = 0; round < 6; ++round) {
    for (uint64_t i = 0; i < 100; ++i) f.put_row(1, key(i), std::string(200, 'r') + std::to_string(round));
    f.tablet()->flush();
    for (int n = 0; n < 20; ++n) (void)f.machine.step();
  }
  std::optional<Result<void>> done;
  f.store->split({1}, key(30), {2}, {3}, [&](Result<void> r) { done = std::move(r); });
  WriteBatch batch;
  batch.put("k", "v");
  CHECK(f.tablet()->apply(at(f.index + 1), batch.bytes()).error().code == ErrorCode::kUnavailable);
  std::optional<Result<void>> second, third;
  f.store->split({1}, key(40), {4}, {5}, [&](Result<void> r) { second = std::move(r); });
  f.tablet()->ingest(at(f.index + 1), {"/none"}, [&](Result<void> r) { third = std::move(r); });
  f.machine.settle();
  for (const auto* refused : {&second, &third}) {
    REQUIRE((*refused && !**refused));
    CHECK((*refused)->error().code == ErrorCode::kUnavailable);
  }
  REQUIRE((done && *done));
  f.check(2, f.between("", key(30)));
  f.check(3, f.between(key(30), ""));
  CHECK(f.tablet(3)->stats().strategy == StrategyKind::kIcs);
  // Nothing of a compaction that was given up stays behind.
  uint64_t tables = 0;
  for (const uint64_t range : {2, 3}) tables += f.tablet(range)->stats().sstables;
  CHECK(f.fs.list("/data/sst")->size() == tables);
}

TEST_CASE("a merge that one side fails leaves the other frozen for whom it was frozen") {
  Reshaped f;
  f.fill(0, 20);
  f.put_row(2, key(50), "there");
  f.flush(2);
  auto file = IngestFile::create(f.fs, "/new", {});
  REQUIRE(file);
  REQUIRE((*file)->put(key(50), "new"));
  REQUIRE((*file)->finish());
  f.log_always_durable = false;
  const uint64_t taken_at = f.index + 1;
  std::optional<Result<void>> taken, merged;
  f.tablet(2)->ingest(at(taken_at), {"/new"}, [&](Result<void> r) { taken = std::move(r); });
  f.put_row(1, key(1), "in memory");
  f.store->merge({1}, {2}, key(30), {3}, [&](Result<void> r) { merged = std::move(r); });
  f.machine.settle();
  REQUIRE_FALSE(merged);  // it waits for a flush, and that for the log
  const SstableInfo left = f.tablet()->tables().at(0);
  for (uint64_t byte = 0; byte < left.bytes; byte += 100) REQUIRE(f.fs.flip_bit(f.path(left.id), byte * 8));
  (void)f.everything(f.tablet());
  REQUIRE(f.tablet()->stats().corrupt);
  f.machine.settle();
  REQUIRE((merged && !*merged));
  CHECK(merged->error().code == ErrorCode::kCorruption);
  WriteBatch batch;
  batch.put(key(51), "early");
  CHECK(f.tablet(2)->apply(at(taken_at + 1), batch.bytes()).error().code == ErrorCode::kUnavailable);
  f.log_reaches({taken_at});
  f.machine.settle();
  REQUIRE((taken && *taken));
  REQUIRE(f.tablet(2)->apply(at(taken_at + 1), batch.bytes()));
  CHECK(f.everything(f.tablet(2)) == Rows{{key(50), "new"}, {key(51), "early"}});
}

TEST_CASE("a manifest declares bounded tables only once it has some, and keeps them") {
  MemoryFileSystem fs;
  uint64_t life = 0;
  {
    auto manifest = Manifest::open(fs, "/m");
    REQUIRE(manifest);
    life = add_table(**manifest, "f");
    CHECK(fs.list("/m")->at(1) == "MANIFEST-0000000001");
    TabletEdit edit;
    edit.life = life;
    edit.bounded = {{77, true, "", "g"}};
    REQUIRE(*(*manifest)->commit({edit}));
    edit.bounded = {{78, true, "", "g"}};
    CHECK(!*(*manifest)->commit({edit}));
  }
  CHECK(dump_manifest(fs, "/m/MANIFEST-0000000002")->find("77 shared bounded") != std::string::npos);
  auto again = Manifest::open(fs, "/m");
  REQUIRE(again);
  const SstableInfo info = (*again)->state().tablets.at(life).tables.at(77);
  CHECK(info.end == "g");
  CHECK(info.begin.empty());
  CHECK(info.shared);
}
