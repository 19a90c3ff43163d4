// Faults that earlier engines shipped with, each staged here as far as this engine could have it. The numbers are those
// of docs/past-bugs.md, which also says where the others are tested and which cannot exist here.
#include <catch2/catch.hpp>

#include <ranges>
#include <set>

#include "tablet_fixture.h"

namespace cairn::storage {
namespace {

using test::at;
using test::failing;
using test::put;
using test::remove;
using test::TabletFixture;
using Rows = std::map<std::string, std::string>;

std::string key_of(uint64_t n) { return "key" + std::to_string(10'000 + n); }

// Rows [first, last] with values that nothing compresses away; the entry's index is the value's begin.
void fill(Tablet* tablet, uint64_t& index, uint64_t first, uint64_t last, size_t bytes = 100) {
  for (uint64_t n = first; n <= last; ++n) {
    ++index;
    put(tablet, index, key_of(n), std::to_string(index) + std::string(bytes, 'x'));
  }
}
void flush(TabletFixture& f, Tablet* tablet) {
  tablet->flush();
  f.machine.settle();
}

void check_disjoint(const Tablet* tablet) {
  const std::vector<SstableInfo> tables = tablet->tables();
  for (size_t i = 1; i < tables.size(); ++i) {
    if (tables[i].run != tables[i - 1].run) continue;
    INFO("run " << tables[i].run << ": " << tables[i - 1].largest << " and " << tables[i].smallest);
    REQUIRE(tables[i - 1].largest < tables[i].smallest);
  }
}

// Levels of small tables, and many of them.
void leveled(TabletFixture& f) {
  f.options.strategy = StrategyKind::kLcs;
  f.options.compression = Compression::kNone;
  f.options.compaction.lcs = {.level0_runs = 2, .fan_out = 2, .base_bytes = 8 << 10, .table_bytes_max = 4 << 10};
}

}  // namespace

TEST_CASE(
    "bugs 1, 15, 17, 18: tables of a run never share a key, so no version or deletion is moved without the others") {
  TabletFixture f(3);
  leveled(f);
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  uint64_t index = 0;
  Rows model;
  for (int round = 0; round < 60; ++round) {
    for (int n = 0; n < 40; ++n) {
      const std::string key = key_of(f.machine.random.below(300));
      WriteBatch batch;
      if (f.machine.random.chance(0.1)) {
        const std::string prefix = key.substr(0, key.size() - 1);
        batch.remove_prefix(prefix);
        std::erase_if(model, [&](const auto& row) { return row.first.starts_with(prefix); });
      } else {
        model[key] = std::to_string(index) + std::string(90, 'x');
        batch.put(key, model[key]);
      }
      REQUIRE(tablet->apply(at(++index), batch.bytes()));
    }
    flush(f, tablet);
    check_disjoint(tablet);
    REQUIRE(f.everything(tablet) == model);
  }
  CHECK(tablet->stats().sstables > 4);
}

TEST_CASE("bugs 3, 4: whichever names survive while the manifest is rolled over, the tablets are all there") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    TabletFixture f(seed);
    REQUIRE(f.open());
    uint64_t index = 0;
    fill(f.tablet(1), index, 1, 20);
    flush(f, f.tablet(1));
    fill(f.tablet(2), index, 1, 20);
    flush(f, f.tablet(2));
    const Rows one = f.everything(f.tablet(1)), two = f.everything(f.tablet(2));
    // Opening writes a manifest anew and switches to it; the power goes at one of its calls.
    uint64_t calls = 0;
    const uint64_t last = f.machine.random.between(1, 14);
    f.faulty.set_policy(failing([&](FileOp op, const std::string&) {
      const bool reads = op == FileOp::kRead || op == FileOp::kReadCached || op == FileOp::kSize ||
                         op == FileOp::kExists || op == FileOp::kList;
      return !reads && ++calls >= last;
    }));
    (void)f.open();
    f.store.reset();
    f.machine.settle();
    f.faulty.set_policy({});
    f.fs.crash(f.machine.random, {.keep_directory = f.machine.random.chance(0.3) ? 0.0 : 0.5});
    INFO("seed " << seed << ", call " << last);
    REQUIRE(f.open());
    REQUIRE(f.store->find({1}) != nullptr);
    REQUIRE(f.store->find({2}) != nullptr);
    CHECK(f.everything(f.store->find({1})) == one);
    CHECK(f.everything(f.store->find({2})) == two);
  }
}

TEST_CASE("bug 5: after a tablet was dropped, names of files are made durable as before") {
  TabletFixture f;
  REQUIRE(f.open());
  uint64_t index = 0;
  fill(f.tablet(1), index, 1, 20);
  flush(f, f.tablet(1));
  const uint64_t before_flush = f.faulty.calls(FileOp::kSyncDir);
  fill(f.tablet(1), index, 1, 20);
  flush(f, f.tablet(1));
  const uint64_t of_a_flush = f.faulty.calls(FileOp::kSyncDir) - before_flush;
  REQUIRE(of_a_flush >= 1);
  REQUIRE(f.tablet(2) != nullptr);
  REQUIRE(f.store->drop({2}));
  f.machine.settle();
  const uint64_t after_drop = f.faulty.calls(FileOp::kSyncDir);
  fill(f.tablet(1), index, 1, 20);
  flush(f, f.tablet(1));
  CHECK(f.faulty.calls(FileOp::kSyncDir) - after_drop >= of_a_flush);
  const Rows rows = f.everything(f.tablet(1));
  f.fs.crash(f.machine.random, {.keep_data = 0, .keep_directory = 0});
  REQUIRE(f.open());
  CHECK(f.everything(f.tablet(1)) == rows);
}

TEST_CASE("bugs 6, 26: an installed snapshot is all a tablet has, whatever memtables, flushes and compactions it had") {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    INFO("seed " << seed);
    TabletFixture f(seed);
    REQUIRE(f.open());
    uint64_t index = 0;
    fill(f.tablet(1), index, 1, 50);
    remove(f.tablet(1), ++index, key_of(7));
    std::optional<Checkpoint> made;
    f.tablet(1)->checkpoint([&](Result<Checkpoint> c) { made = std::move(*c); });
    f.machine.settle();
    REQUIRE(made);
    const Rows rows = f.everything(f.tablet(1));
    uint64_t other = 0;
    for (int round = 0; round < 4; ++round) {
      fill(f.tablet(2), other, 5, 60);
      f.tablet(2)->flush();
      for (uint64_t n = f.machine.random.below(30); n > 0; --n) f.machine.step();
    }
    fill(f.tablet(2), other, 7, 9);  // still in memory
    std::optional<Result<void>> installed;
    f.store->install({2}, made->dir, made->manifest, made->position, [&](Result<void> r) { installed = std::move(r); });
    f.machine.settle();
    REQUIRE((installed && *installed));
    CHECK(f.everything(f.tablet(2)) == rows);
    fill(f.tablet(2), index, 100, 120);
    flush(f, f.tablet(2));
    CHECK(f.read(f.tablet(2), key_of(7)) == std::nullopt);
    CHECK(f.everything(f.tablet(2)).size() == rows.size() + 21);
  }
}

TEST_CASE("bug 8: a read that fails anywhere in a compaction ends it, and no key vanishes") {
  for (uint64_t nth = 1; nth <= 30; ++nth) {
    TabletFixture f(nth);
    leveled(f);
    REQUIRE(f.open());
    Tablet* tablet = f.tablet();
    uint64_t index = 0;
    fill(tablet, index, 1, 200);
    flush(f, tablet);
    fill(tablet, index, 1, 200);
    tablet->flush();
    uint64_t reads = 0;
    bool failed = false;
    f.faulty.set_policy(failing([&](FileOp op, const std::string& path) {
      if (!path.ends_with(".sst") || (op != FileOp::kRead && op != FileOp::kReadCached)) return false;
      if (++reads != nth) return false;
      failed = true;
      return true;
    }));
    f.machine.settle();
    f.faulty.set_policy({});
    INFO("read " << nth);
    REQUIRE(f.open());  // whatever it thinks of its files now
    CHECK(f.everything(f.tablet()).size() == 200);
    CHECK((failed || reads < nth));
  }
}

TEST_CASE("bug 10: a flush that is tried again does not come behind a younger one") {
  TabletFixture f;
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  put(tablet, 1, "k", "old");
  bool broken = true;
  f.faulty.set_policy(failing(
      [&](FileOp op, const std::string& path) { return broken && op == FileOp::kSync && path.ends_with(".sst"); }));
  tablet->flush();
  f.machine.settle();
  put(tablet, 2, "k", "new");
  tablet->flush();  // a second memtable waits
  f.machine.settle();
  CHECK(tablet->flushed().index == LogIndex{0});
  broken = false;
  while (tablet->flushed().index.value < 2) REQUIRE((f.machine.step() || f.machine.loop.fire_timer()));
  CHECK(f.read(tablet, "k") == "new");
  REQUIRE(f.open());
  CHECK(f.read(f.tablet(), "k") == "new");
}

TEST_CASE("bugs 11, 12, 13: a checkpoint beside writes and flushes holds just what was applied at its position") {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    TabletFixture f(seed);
    f.options.memtable_bytes = 2'000;
    REQUIRE(f.open());
    Tablet* tablet = f.tablet();
    std::vector<Rows> states{{}};
    std::vector<Checkpoint> made;
    uint64_t index = 0;
    for (int n = 0; n < 300; ++n) {
      states.push_back(states.back());
      const std::string key = key_of(f.machine.random.below(20));
      if (f.machine.random.chance(0.3)) {
        remove(tablet, ++index, key);
        states.back().erase(key);
      } else {
        ++index;
        put(tablet, index, key, std::to_string(index) + std::string(60, 'v'));
        states.back()[key] = std::to_string(index) + std::string(60, 'v');
      }
      if (f.machine.random.chance(0.03)) {
        tablet->checkpoint([&](Result<Checkpoint> c) {
          REQUIRE(c);
          made.push_back(std::move(*c));
        });
      }
      if (f.machine.random.chance(0.5)) f.machine.step();
    }
    f.machine.settle();
    f.fs.crash(f.machine.random, {.keep_data = 0, .keep_directory = 0});  // it was durable when it was reported
    REQUIRE(f.open());
    for (const Checkpoint& checkpoint : made) {
      INFO("seed " << seed << ", position " << checkpoint.position.index.value);
      REQUIRE(f.store->install_now({2}, checkpoint.dir, checkpoint.manifest, checkpoint.position));
      CHECK(f.everything(f.tablet(2)) == states[checkpoint.position.index.value]);
    }
  }
}

TEST_CASE("bug 16: the number of a file is never used again, so no cached block is another file's") {
  TabletFixture f;
  f.options.compression = Compression::kNone;
  REQUIRE(f.open());
  std::set<std::string> seen;
  uint64_t index = 0;
  for (int life = 0; life < 8; ++life) {
    const std::string value = std::to_string(life) + std::string(300, 'v');
    for (uint64_t n = 1; n <= 50; ++n) put(f.tablet(), ++index, key_of(n), value);
    flush(f, f.tablet());
    const std::vector<std::string> names = *f.fs.list("/data/sst");
    for (const auto& name : names) CHECK((seen.insert(name).second || life == 0));
    for (uint64_t n = 1; n <= 50; ++n) CHECK(f.read(f.tablet(), key_of(n)) == value);
    REQUIRE(f.store->drop({1}));
    f.machine.settle();
    if (life % 3 == 2) {
      f.fs.crash(f.machine.random, {.keep_data = 0, .keep_directory = 0});
      REQUIRE(f.open());
      REQUIRE(f.store->collect_garbage());
    }
  }
}

TEST_CASE("bugs 17, 18: a deleted prefix that spans several output tables hides what lies deeper, and nothing newer") {
  for (const StrategyKind kind : kStrategyKinds) {
    TabletFixture f;
    leveled(f);
    f.options.strategy = kind;
    f.options.compaction.stcs.table_bytes_max = f.options.compaction.ics.table_bytes_max = 4 << 10;
    REQUIRE(f.open());
    Tablet* tablet = f.tablet();
    uint64_t index = 0;
    fill(tablet, index, 1, 400);
    flush(f, tablet);
    WriteBatch batch;
    batch.remove_prefix("key10");  // all of them
    REQUIRE(tablet->apply(at(++index), batch.bytes()));
    fill(tablet, index, 100, 140);  // newer, within the prefix
    flush(f, tablet);
    for (int round = 0; round < 8; ++round) {
      fill(tablet, index, 150 + round, 190 + round);
      flush(f, tablet);
      INFO(to_string(kind) << " round " << round);
      CHECK(f.everything(tablet).size() == 41 + 41 + static_cast<size_t>(round));
      CHECK(f.read(tablet, key_of(99)) == std::nullopt);
      CHECK(f.read(tablet, key_of(399)) == std::nullopt);
      CHECK(f.read(tablet, key_of(100)) != std::nullopt);
    }
  }
}

TEST_CASE("bug 20: a read error in the middle of a scan is the scan's error, never fewer rows") {
  for (const bool reverse : {false, true}) {
    for (uint64_t nth = 1;; ++nth) {
      TabletFixture f;
      leveled(f);
      f.fs.set_cold(true);
      f.options.block_cache_bytes = 1;
      REQUIRE(f.open());
      Tablet* tablet = f.tablet();
      uint64_t index = 0;
      for (int round = 0; round < 3; ++round) {
        fill(tablet, index, 1, 150);
        flush(f, tablet);
      }
      uint64_t reads = 0;
      f.faulty.set_policy(failing([&](FileOp op, const std::string& path) {
        return op == FileOp::kRead && path.ends_with(".sst") && ++reads == nth;
      }));
      FetchRequest request;
      request.prefixes.resize(1);
      request.prefixes[0].reverse = reverse;
      const auto rows = f.fetch(tablet, std::move(request));
      f.faulty.set_policy({});
      if (rows) {
        CHECK(rows->prefixes[0].size() == 150);
        REQUIRE(nth < 1000);
        if (reads < nth) break;  // there were no more to fail
      }
    }
  }
}

TEST_CASE("bug 25: a deletion that a compaction has dropped stays done when older entries are replayed") {
  TabletFixture f;
  leveled(f);
  f.options.compaction.tombstones.interval_ms = 0;
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  std::vector<std::string> log{""};
  const auto apply = [&](const WriteBatch& batch) {
    log.push_back(batch.bytes());
    REQUIRE(tablet->apply(at(log.size() - 1), batch.bytes()));
  };
  for (uint64_t n = 1; n <= 50; ++n) {
    WriteBatch batch;
    batch.put(key_of(n), std::string(100, 'x'));
    apply(batch);
  }
  flush(f, tablet);
  for (uint64_t n = 1; n <= 50; ++n) {
    WriteBatch batch;
    batch.remove(key_of(n));
    apply(batch);
  }
  flush(f, tablet);
  for (int more = 0; more < 4; ++more) {
    WriteBatch batch;
    batch.put("other" + std::to_string(more), "1");
    apply(batch);
    flush(f, tablet);
  }
  uint64_t tombstones = 0;
  for (const SstableInfo& info : tablet->tables()) tombstones += info.tombstones;
  REQUIRE(tombstones == 0);
  for (int life = 0; life < 2; ++life) {
    REQUIRE(f.open());
    tablet = f.tablet();
    for (uint64_t i = 1; i < log.size(); ++i) REQUIRE(tablet->apply(at(i), log[i]));
    flush(f, tablet);
    CHECK(f.everything(tablet).size() == 4);
  }
}

TEST_CASE("bugs 28, 35: what a compaction leaves behind is gone, whether it succeeds, fails or never ends") {
  for (const StrategyKind kind : kStrategyKinds) {
    for (uint64_t seed = 1; seed <= 12; ++seed) {
      INFO(to_string(kind) << " seed " << seed);
      TabletFixture f(seed);
      leveled(f);
      f.options.strategy = kind;
      f.options.compaction.tombstones.interval_ms = 0;
      f.options.compaction.ics.table_bytes_max = 2 << 10;
      REQUIRE(f.open());
      Tablet* tablet = f.tablet();
      uint64_t index = 0;
      Rows model;
      for (int round = 0; round < 12; ++round) {
        for (uint64_t n = 1; n <= 30; ++n) {
          if ((n + static_cast<uint64_t>(round)) % 3 == 0) {
            remove(tablet, ++index, key_of(n));
            model.erase(key_of(n));
          } else {
            put(tablet, ++index, key_of(n), std::string(150, 'x'));
            model[key_of(n)] = std::string(150, 'x');
          }
        }
        // A compaction may fail at a write of its output or at its sync; a flush tries again.
        uint64_t fails = f.machine.random.below(3);
        f.faulty.set_policy(failing([&](FileOp op, const std::string& path) {
          return path.ends_with(".sst") && (op == FileOp::kSync || op == FileOp::kWrite) &&
                 f.machine.random.chance(0.1) && fails > 0 && fails-- > 0;
        }));
        tablet->flush();
        f.machine.settle();
        f.faulty.set_policy({});
        while (tablet->flushed().index.value < index) REQUIRE((f.machine.step() || f.machine.loop.fire_timer()));
        f.machine.settle();
        REQUIRE(f.corruptions.empty());
        CHECK(f.fs.list("/data/sst")->size() == tablet->stats().sstables);
      }
      // The process ends in the middle of one.
      fill(tablet, index, 200, 260);
      for (uint64_t n = 200; n <= 260; ++n) model[key_of(n)] = "";
      tablet->flush();
      while (tablet->flushed().index.value < index) REQUIRE(f.machine.step());
      for (uint64_t n = f.machine.random.below(20); n > 0; --n) f.machine.step();
      f.fs.crash(f.machine.random, {});
      REQUIRE(f.open());
      REQUIRE(f.store->collect_garbage());
      f.machine.settle();
      CHECK(f.fs.list("/data/sst")->size() == f.tablet()->stats().sstables);
      const Rows rows = f.everything(f.tablet());
      CHECK(std::ranges::equal(rows | std::views::keys, model | std::views::keys));
    }
  }
}

TEST_CASE("bug 29: a read that began before a compaction ends with the tables it began with") {
  TabletFixture f;
  leveled(f);
  f.fs.set_cold(true);
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  uint64_t index = 0;
  fill(tablet, index, 1, 200);
  flush(f, tablet);
  std::optional<Result<FetchResult>> answer;
  FetchRequest request;
  request.rows = {key_of(5), key_of(150)};
  tablet->fetch(std::move(request), [&](Result<FetchResult> r) { answer = std::move(r); });
  // Everything it needs is replaced meanwhile, and its version is the only one that still has the old files.
  fill(tablet, index, 1, 200);
  tablet->flush();
  fill(tablet, index, 1, 200);
  tablet->flush();
  f.machine.settle();
  REQUIRE((answer && *answer));
  CHECK((*answer)->rows[0].has_value());
  CHECK((*answer)->rows[1].has_value());
  CHECK(f.fs.list("/data/sst")->size() == tablet->stats().sstables);
}

TEST_CASE("bug 31: the log is not told that rows are in a table before the manifest has it") {
  TabletFixture f;
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  put(tablet, 1, "k", "v");
  f.faulty.set_policy(failing(
      [&](FileOp op, const std::string& path) {
        return path.find("MANIFEST") != std::string::npos && (op == FileOp::kWrite || op == FileOp::kWriteDurable);
      },
      ErrorCode::kNoSpace));
  tablet->flush();
  f.machine.settle();
  CHECK(f.flush_events == 0);
  CHECK(tablet->flushed().index == LogIndex{0});
  CHECK(f.read(tablet, "k") == "v");
  f.faulty.set_policy({});
  while (f.flush_events == 0) REQUIRE((f.machine.step() || f.machine.loop.fire_timer()));
  CHECK(tablet->flushed().index == LogIndex{1});
  REQUIRE(f.open());
  CHECK(f.read(f.tablet(), "k") == "v");
}

TEST_CASE("bug 34: of several operations on a key in one entry the last one counts, wherever they lie") {
  for (const bool ends_deleted : {false, true}) {
    TabletFixture f;
    REQUIRE(f.open());
    Tablet* tablet = f.tablet();
    put(tablet, 1, "k/1", "first");
    flush(f, tablet);
    WriteBatch batch;
    batch.put("k/1", "second");
    batch.remove("k/1");
    batch.put("k/1", "third");
    batch.remove_prefix("k/");
    batch.put("k/1", "fourth");
    if (ends_deleted) batch.remove("k/1");
    REQUIRE(tablet->apply(at(2), batch.bytes()));
    const std::optional<std::string> expected = ends_deleted ? std::nullopt : std::optional<std::string>("fourth");
    CHECK(f.read(tablet, "k/1") == expected);
    for (int round = 0; round < 4; ++round) {
      flush(f, tablet);
      CHECK(f.read(tablet, "k/1") == expected);
      put(tablet, 3 + static_cast<uint64_t>(round), "other", std::to_string(round));
    }
    REQUIRE(f.open());
    CHECK(f.read(f.tablet(), "k/1") == expected);
  }
}

TEST_CASE("bug 37: a value that was found stays what it is while others displace its block from the cache") {
  TabletFixture f;
  f.options.compression = Compression::kNone;
  f.options.block_cache_bytes = 4 << 10;
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  uint64_t index = 0;
  fill(tablet, index, 1, 300);
  flush(f, tablet);
  const std::string expected = *f.read(tablet, key_of(3));
  const Lookup found = tablet->get(key_of(3));
  REQUIRE(found.state == Lookup::State::kFound);
  REQUIRE(found.pin != nullptr);
  for (uint64_t n = 4; n <= 300; ++n) REQUIRE(f.read(tablet, key_of(n)).has_value());
  fill(tablet, index, 1, 300);
  flush(f, tablet);
  CHECK(found.value == expected);
}

TEST_CASE("bug 38: memory that writers wait for is always some flush's to give back") {
  TabletFixture f;
  f.options.memtable_bytes = 1 << 20;
  f.options.memtable_budget_bytes = 64 << 10;
  REQUIRE(f.open());
  std::map<uint64_t, uint64_t> index;
  const auto write = [&](uint64_t range, size_t bytes) {
    const uint64_t at = ++index[range];
    put(f.tablet(range), at, key_of(at), std::string(bytes, 'v'));
  };
  // Much in few tablets, little in very many, and one value above all limits.
  for (uint64_t range = 1; range <= 3; ++range) {
    for (int n = 0; n < 40; ++n) write(range, 2000);
  }
  for (uint64_t range = 10; range < 210; ++range) write(range, 900);
  write(5, 400 << 10);
  for (int rounds = 0; !f.store->has_memory(); ++rounds) {
    REQUIRE(rounds < 10'000);
    REQUIRE((f.machine.step() || f.machine.loop.fire_timer()));
  }
  f.machine.settle();
  CHECK(f.store->memtable_bytes() <= 2 * f.options.memtable_budget_bytes);
  CHECK(f.read(f.tablet(5), key_of(1)).has_value());
}

}  // namespace cairn::storage
