// What strategies do to a tablet's files: expired windows, trimmed inputs, switching.
#include <catch2/catch.hpp>

#include "engine_amplification.h"
#include "manifest_tables.h"
#include "storage/version/edit.h"
#include "storage/version/manifest.h"

namespace cairn::storage {
namespace {

using test::at;
using test::TabletFixture;

std::string dies_at(uint64_t ms, const std::string& rest = "") {
  std::string digits = std::to_string(ms);
  return std::string(20 - digits.size(), '0') + digits + rest;
}

void put(Tablet* tablet, uint64_t index, const std::string& key, const std::string& value) {
  test::put(tablet, index, key, value);
}

uint64_t current_features(TabletFixture& f) {
  std::string name = *read_file(f.fs, "/data/shard-1/CURRENT");
  name.pop_back();
  // length, checksum, number, magic, version
  return get_fixed<uint32_t>(read_file(f.fs, join_path("/data/shard-1", name))->data() + 28);
}

// Writes many rows under ics and stops once a compaction is half done.
void half_a_compaction(TabletFixture& f) {
  f.options.strategy = StrategyKind::kIcs;
  f.options.compaction.ics.table_bytes_max = 8 << 10;
  f.options.compression = Compression::kNone;
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  for (uint64_t i = 1; i <= 300; ++i) {
    put(tablet, i, "key" + std::to_string(1000 + i % 100), std::string(400, 'x') + std::to_string(i));
    if (i % 100 == 0) {
      tablet->flush();
      if (i < 300) f.machine.settle();
    }
  }
  const auto trimmed = [&] {
    return std::ranges::any_of(tablet->tables(), [](const SstableInfo& info) { return info.trimmed; });
  };
  // Nothing replays the log afterwards: the last flush must be through as well.
  while (!trimmed() || tablet->flushed().index.value < 300) REQUIRE(f.machine.step());
}

}  // namespace

TEST_CASE("windows whose rows have all expired go without being read") {
  TabletFixture f;
  f.options.strategy = StrategyKind::kTwcs;
  f.options.expiry = &expiry_of_value;
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  // 10 ms per write, windows of 500 ms; every row lives for a second.
  for (uint64_t i = 1; i <= 400; ++i) {
    put(tablet, i, "key" + std::to_string(i * 7919 % 1000), dies_at(i * 10 + 1000, std::string(100, 'x')));
    f.machine.settle();
  }
  tablet->flush();
  f.machine.settle();
  const auto tables = tablet->tables();
  CHECK(tables.size() <= 5);
  for (const auto& table : tables) {
    CHECK(table.max_expiry_ms > 4000);
    CHECK(table.min_time_ms / 500 == table.max_time_ms / 500);
  }
  // Written once by a flush; nothing is ever read or written again to be deleted.
  CHECK(f.store->metrics().bytes_compacted_in.get() == 0);
  CHECK(f.store->metrics().bytes_compacted_out.get() == 0);
  CHECK(f.fs.list("/data/sst")->size() == tables.size());
}

TEST_CASE("windows that compactions have made one run of go without a byte being written, their versions too") {
  TabletFixture f;
  f.options.strategy = StrategyKind::kTwcs;
  f.options.expiry = &expiry_of_value;
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  // 10 ms per write, windows of 500 ms, a flush in every 100: several runs in each, and keys come again in later ones.
  for (uint64_t i = 1; i <= 400; ++i) {
    put(tablet, i, "key" + std::to_string(i * 7919 % 120), dies_at(i * 10 + 20'000, std::string(100, 'x')));
    if (i % 10 == 0) tablet->flush();
    f.machine.settle();
  }
  const auto& metrics = f.store->metrics();
  CHECK(metrics.bytes_compacted_out.get() > 0);
  put(tablet, 1'000, "late", dies_at(0));
  tablet->flush();
  f.machine.settle();
  CHECK(tablet->tables().size() >= 9);  // a run for each window; none has expired
  const uint64_t written = metrics.bytes_compacted_out.get(), read = metrics.bytes_compacted_in.get();
  put(tablet, 2'600, "later", dies_at(0));
  tablet->flush();
  f.machine.settle();
  CHECK(metrics.bytes_compacted_out.get() == written);
  CHECK(metrics.bytes_compacted_in.get() == read);
  const auto left = tablet->tables();
  CHECK(left.size() == 2);
  for (const SstableInfo& table : left) CHECK(table.expiring == 0);
  CHECK(f.fs.list("/data/sst")->size() == left.size());
  CHECK(f.everything(tablet).size() == 2);
}

TEST_CASE("bug 32: an expired row keeps hiding the older version below it") {
  for (const StrategyKind kind : kStrategyKinds) {
    INFO(to_string(kind));
    TabletFixture f;
    f.options.strategy = kind;
    f.options.expiry = &expiry_of_value;
    REQUIRE(f.open());
    Tablet* tablet = f.tablet();
    put(tablet, 1, "a", dies_at(0, "for ever"));
    put(tablet, 2, "z", dies_at(0, "for ever"));
    tablet->flush();
    f.machine.settle();
    put(tablet, 100, "a", dies_at(1500));
    tablet->flush();
    f.machine.settle();
    put(tablet, 400, "other", dies_at(0));
    tablet->flush();
    f.machine.settle();
    const auto a = f.read(tablet, "a");
    CHECK((a == std::nullopt || a == dies_at(1500)));
    if (kind == StrategyKind::kTwcs) CHECK(a == std::nullopt);
    CHECK(f.read(tablet, "z") == dies_at(0, "for ever"));
    // The same once everything has become one.
    tablet->set_strategy(StrategyKind::kIcs);
    put(tablet, 401, "more", dies_at(0));
    tablet->flush();
    f.machine.settle();
    const auto again = f.read(tablet, "a");
    CHECK((again == std::nullopt || again == dies_at(1500)));
  }
}

TEST_CASE("an incremental compaction gives space back while it runs, and can end after any table") {
  TabletFixture f;
  half_a_compaction(f);
  CHECK(current_features(f) == kFeatureTrimmed);
  const auto rows = f.everything(f.tablet());
  CHECK(rows.size() == 100);
  CHECK(rows.at("key1000") == std::string(400, 'x') + "300");
  // A crash in the middle leaves what is there, and the rest is done later.
  f.store.reset();
  f.machine.settle();
  REQUIRE(f.open());
  REQUIRE(f.tablet()->stats().corrupt == false);
  CHECK(f.everything(f.tablet()) == rows);
  REQUIRE(f.store->collect_garbage());
  f.machine.settle();
  CHECK(f.everything(f.tablet()) == rows);
}

TEST_CASE("bug 33: a checkpoint of trimmed tables installs as what they show") {
  TabletFixture f;
  half_a_compaction(f);
  std::optional<Result<Checkpoint>> made;
  f.tablet()->checkpoint([&](Result<Checkpoint> c) { made = std::move(c); });
  while (!made) REQUIRE(f.machine.background.run_one() | f.machine.loop.run_one());
  REQUIRE(*made);
  const auto rows = f.everything(f.tablet());
  REQUIRE(f.store->install_now({2}, (*made)->dir, (*made)->manifest, (*made)->position));
  CHECK(f.everything(f.tablet(2)) == rows);
  REQUIRE(f.open());
  CHECK(f.everything(f.tablet(2)) == rows);
}

TEST_CASE("a manifest declares trimmed tables only once it has some, and keeps them") {
  MemoryFileSystem fs;
  uint64_t life = 0;
  {
    auto manifest = Manifest::open(fs, "/m");
    REQUIRE(manifest);
    life = test::add_table(**manifest, "z");
    TabletEdit trim;
    trim.life = life;
    trim.trimmed = {{77, "m"}};
    REQUIRE(*(*manifest)->commit({trim}));
    trim.trimmed = {{78, "m"}};
    CHECK(!*(*manifest)->commit({trim}));
  }
  CHECK(fs.list("/m")->size() == 2);
  const std::string path = "/m/MANIFEST-0000000002";
  CHECK(dump_manifest(fs, path)->find("77 trimmed") != std::string::npos);
  auto again = Manifest::open(fs, "/m");
  REQUIRE(again);
  const SstableInfo info = (*again)->state().tablets.at(life).tables.at(77);
  CHECK(info.smallest == "m");
  CHECK(info.trimmed);
}

TEST_CASE("tombstones that lie together leave with what they hide, soon after their flush") {
  for (const StrategyKind kind : {StrategyKind::kStcs, StrategyKind::kLcs, StrategyKind::kIcs}) {
    INFO(to_string(kind));
    TabletFixture f;
    f.options.strategy = kind;
    f.options.memtable_bytes = 1 << 20;
    f.options.memtable_budget_bytes = 4 << 20;
    f.options.compaction = {};  // sizes at which nothing else has a reason
    f.options.compaction.ics.space_goal = 0;
    REQUIRE(f.open());
    Tablet* tablet = f.tablet();
    uint64_t index = 0;
    std::map<std::string, std::string> model;
    const auto key = [](uint64_t n) { return "key" + std::to_string(10'000 + n); };
    for (uint64_t n = 0; n < 2000; ++n) {
      put(tablet, ++index, key(n), "value" + std::to_string(n));
      model[key(n)] = "value" + std::to_string(n);
    }
    tablet->flush();
    f.machine.settle();
    // A few that are spread out may lie there for long.
    for (uint64_t n = 0; n < 2000; n += 100) {
      test::remove(tablet, ++index, key(n));
      model.erase(key(n));
    }
    tablet->flush();
    f.machine.settle();
    CHECK(tablet->tables().size() == 2);
    CHECK(f.everything(tablet) == model);
    for (uint64_t n = 0; n < 1000; ++n) {
      test::remove(tablet, ++index, key(n));
      model.erase(key(n));
    }
    tablet->flush();
    f.machine.settle();
    const auto tables = tablet->tables();
    REQUIRE(tables.size() == 1);
    CHECK(tables[0].tombstones == 0);
    CHECK(tables[0].entries == model.size());
    CHECK(f.everything(tablet) == model);
    // Nothing more comes of it.
    const uint64_t compacted = tablet->stats().amplification.compacted_out_bytes;
    put(tablet, ++index, key(0), "again");
    model[key(0)] = "again";
    tablet->flush();
    f.machine.settle();
    CHECK(tablet->stats().amplification.compacted_out_bytes == compacted);
    REQUIRE(f.open());
    CHECK(f.everything(f.tablet()) == model);
  }
}

TEST_CASE("what scans pass in vain is merged once that has cost as much, and not again") {
  for (const bool from_disk : {false, true}) {
    INFO((from_disk ? "background" : "loop"));
    TabletFixture f;
    f.options.strategy = StrategyKind::kStcs;
    f.options.memtable_bytes = 1 << 20;
    f.options.memtable_budget_bytes = 4 << 20;
    f.options.block_cache_bytes = 1 << 20;
    f.options.compaction = {};  // sizes at which nothing else has a reason
    REQUIRE(f.open());
    Tablet* tablet = f.tablet();
    uint64_t index = 0;
    std::map<std::string, std::string> model;
    const auto key = [](uint64_t n) { return "key" + std::to_string(10'000 + n); };
    for (uint64_t n = 0; n < 1000; ++n) {
      put(tablet, ++index, key(n), "value");
      model[key(n)] = "value";
    }
    tablet->flush();
    f.machine.settle();
    const auto scan_all = [&] {
      if (from_disk) {
        CHECK(f.everything(tablet) == model);
        return;
      }
      std::map<std::string, std::string> seen;
      RowPage page;
      page.rows_max = 100;
      size_t before = 0;
      do {
        before = seen.size();
        CHECK(tablet->scan(page, [&](std::string_view k, std::string_view v) {
          seen.emplace(k, v);
          page.start_after = k;
          return true;
        }));
      } while (seen.size() > before);
      CHECK(seen == model);
    };
    const auto compacted = [&] { return tablet->stats().amplification.compacted_out_bytes; };

    // New versions that only memory has are no reason: a compaction would not spare anybody a step.
    for (uint64_t n = 0; n < 1000; ++n) {
      put(tablet, ++index, key(n), "new");
      model[key(n)] = "new";
    }
    for (int i = 0; i < 40; ++i) scan_all();
    f.machine.settle();
    CHECK(compacted() == 0);

    // Every second one deleted, every other one there twice: 3000 rows of which 2500 are in vain.
    for (uint64_t n = 0; n < 1000; n += 2) {
      test::remove(tablet, ++index, key(n));
      model.erase(key(n));
    }
    tablet->flush();
    f.machine.settle();
    REQUIRE(tablet->tables().size() == 2);
    int scans = 0;
    for (; compacted() == 0 && scans < 40; ++scans) {
      scan_all();
      f.machine.settle();
    }
    // 4 rows for each of 2000 to be written again, and 16,384 at least.
    CHECK(scans > 8);
    CHECK(scans < 20);
    REQUIRE(tablet->tables().size() == 1);
    CHECK(tablet->tables()[0].tombstones == 0);
    CHECK(tablet->tables()[0].entries == 500);

    const uint64_t once = compacted();
    for (int i = 0; i < 60; ++i) scan_all();
    f.machine.settle();
    CHECK(compacted() == once);
  }
}

TEST_CASE("what a compaction has written need not be read again where the cache has room") {
  for (const bool room : {true, false}) {
    TabletFixture f;
    f.options.strategy = StrategyKind::kStcs;
    f.options.block_cache_bytes = room ? 4 << 20 : 8 << 10;
    f.options.memtable_bytes = 1 << 20;
    REQUIRE(f.open());
    Tablet* tablet = f.tablet();
    std::map<std::string, std::string> model;
    for (uint64_t i = 1; i <= 600; ++i) {
      const std::string key = "key" + std::to_string(i % 300);
      put(tablet, i, key, model[key] = std::to_string(i) + std::string(100, 'v'));
      if (i % 200 == 0) tablet->flush();
      f.machine.settle();
    }
    REQUIRE(f.store->metrics().compactions.get() > 0);
    REQUIRE(tablet->tables().size() == 1);
    int turns = 0;
    for (; f.machine.loop.fire_timer(); ++turns) f.machine.settle();
    CHECK(turns > 1);  // the cache takes it in by and by
    const uint64_t misses = f.store->metrics().cache_misses.get();
    std::map<std::string, std::string> seen;
    CHECK(tablet->scan(RowPage{},
                       [&](std::string_view key, std::string_view value) { return seen.emplace(key, value).second; }));
    CHECK(seen == model);
    CHECK((f.store->metrics().cache_misses.get() == misses) == room);
  }
}

TEST_CASE("where the disk is nearly full, whatever frees most comes first") {
  for (const StrategyKind kind : {StrategyKind::kStcs, StrategyKind::kLcs, StrategyKind::kIcs}) {
    INFO(to_string(kind));
    TabletFixture f;
    f.options.strategy = kind;
    f.options.compression = Compression::kNone;
    f.options.memtable_bytes = 1 << 20;
    f.options.memtable_budget_bytes = 4 << 20;
    f.options.compaction = {};  // sizes at which nothing else has a reason
    f.options.compaction.space.reserve_bytes = 4 << 20;
    f.options.compaction.lcs.level0_runs = 8;
    f.options.compaction.stcs.table_bytes_max = f.options.compaction.lcs.table_bytes_max =
        f.options.compaction.ics.table_bytes_max = 256 << 10;
    f.options.compaction.ics.space_goal = 0;
    REQUIRE(f.open());
    Tablet* tablet = f.tablet();
    uint64_t index = 0;
    std::map<std::string, std::string> model;
    for (int round = 0; round < 3; ++round) {
      for (uint64_t n = 0; n < 900; ++n) {
        const std::string key = "key" + std::to_string(n * 7919 % 900 + 1000);
        model[key] = std::string(1000, static_cast<char>('a' + round)) + std::to_string(n);
        put(tablet, ++index, key, model[key]);
      }
      tablet->flush();
      f.machine.settle();
    }
    REQUIRE(tablet->tables().size() == 3);
    // Less room than the inputs take with their output, were it not for the tables that go meanwhile.
    const uint64_t before = f.fs.used_bytes();
    f.fs.set_capacity(before + (3 << 20));
    put(tablet, ++index, "another", "row");
    model["another"] = "row";
    tablet->flush();
    uint64_t peak = 0;
    while (f.machine.step()) peak = std::max(peak, f.fs.used_bytes());
    CHECK(peak < before + (1200 << 10));
    CHECK(f.fs.used_bytes() < before / 2);
    CHECK(f.everything(tablet) == model);
    CHECK_FALSE(f.fatal);
    CHECK(f.store->has_room());
    // It ends there, although there is still little room.
    const uint64_t compacted = tablet->stats().amplification.compacted_out_bytes;
    f.fs.set_capacity(f.fs.used_bytes() + (200 << 10));
    put(tablet, ++index, "one", "more");
    tablet->flush();
    f.machine.settle();
    CHECK(tablet->stats().amplification.compacted_out_bytes <= compacted + (4 << 10));
    model["one"] = "more";
    REQUIRE(f.open());
    CHECK(f.everything(f.tablet()) == model);
  }
}

TEST_CASE("a table of which a third has left is rewritten") {
  TabletFixture f;
  half_a_compaction(f);
  const auto rows = f.everything(f.tablet());
  f.store.reset();
  f.machine.settle();
  // The rest of the compaction has no reason under this strategy.
  f.options.compaction = {};
  f.options.strategy = StrategyKind::kStcs;
  REQUIRE(f.open());
  REQUIRE(f.store->collect_garbage());
  Tablet* tablet = f.tablet();
  const auto dead_share = [&] {
    double most = 0;
    for (const SstableInfo& info : tablet->tables()) {
      CHECK(info.trimmed == (info.dead_bytes > 0));
      most = std::max(most, static_cast<double>(info.dead_bytes) / static_cast<double>(info.bytes));
    }
    return most;
  };
  tablet->set_strategy(StrategyKind::kStcs);
  f.machine.settle();
  CHECK(dead_share() < 0.3);
  CHECK(f.everything(tablet) == rows);
  CHECK(f.fs.list("/data/sst")->size() == tablet->tables().size());
}

TEST_CASE("the strategy of every tablet changes while writes go on, and no row is lost") {
  TabletFixture f;
  f.options.compression = Compression::kNone;
  REQUIRE(f.open());
  uint64_t index = 0;
  std::map<std::string, std::string> model;
  SeededRandom random(5);
  for (const StrategyKind from : kStrategyKinds) {
    for (const StrategyKind to : kStrategyKinds) {
      f.store->set_strategy(from);
      for (int i = 0; i < 800; ++i) {
        if (i == 400) f.store->set_strategy(to);
        const std::string key = "key" + std::to_string(random.below(900));
        const std::string value = std::to_string(++index) + std::string(150, 'v');
        put(f.tablet(), index, key, value);
        model[key] = value;
        while (random.chance(0.7) && f.machine.step()) {
        }
      }
      CHECK(f.tablet()->stats().strategy == to);
      CHECK(f.everything(f.tablet()) == model);
    }
  }
  f.machine.settle();
  CHECK(f.everything(f.tablet()) == model);
  const Amplification a = f.store->amplification();
  CHECK(a.write() > 1);
  CHECK(a.space() > 0.9);
  CHECK(f.fs.list("/data/sst")->size() == f.tablet()->stats().sstables);
}

}  // namespace cairn::storage
