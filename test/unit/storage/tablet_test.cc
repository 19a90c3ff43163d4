#include <catch2/catch.hpp>
#include <cstdio>
#include <map>

#include "base/checksum.h"
#include "tablet_fixture.h"

namespace cairn::storage {
namespace {

using test::at;
using test::put;
using test::TabletFixture;

void fill(Tablet* tablet, uint64_t first, uint64_t last, const std::string& value, uint64_t distinct = ~0ull) {
  for (uint64_t i = first; i <= last; ++i) put(tablet, i, "key" + std::to_string(100'000 + i % distinct), value);
}

std::string first_sstable(TabletFixture& f) {
  const std::vector<std::string> names = *f.fs.list("/data/sst");
  for (const auto& name : names) {
    if (name.ends_with(".sst")) return "/data/sst/" + name;
  }
  return "";
}

}  // namespace

TEST_CASE("malformed operations change nothing and are reported") {
  TabletFixture f;
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  WriteBatch batch;
  batch.put("a", "1");
  CHECK(tablet->apply(at(1), batch.bytes() + "\x09").error().code == ErrorCode::kCorruption);
  CHECK(tablet->get("a").state == Lookup::State::kAbsent);
  CHECK(tablet->applied().index == LogIndex{0});
}

TEST_CASE("a flush enters the manifest only once the log is durable up to its index") {
  TabletFixture f;
  f.log_always_durable = false;
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  put(tablet, 1, "a", "1");
  put(tablet, 2, "b", "2");
  tablet->flush();
  f.machine.settle();
  CHECK(tablet->flushed().index == LogIndex{0});
  f.log_reaches({1});
  f.machine.settle();
  CHECK(tablet->flushed().index == LogIndex{0});
  f.log_reaches({2});
  f.machine.settle();
  CHECK(tablet->flushed() == at(2));
  CHECK(f.flush_events == 1);
  CHECK(tablet->tables().size() == 1);
  CHECK(f.read(tablet, "b") == "2");
}

TEST_CASE("a flush of entries without rows still moves the flushed index") {
  TabletFixture f;
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  REQUIRE(tablet->apply(at(5), ""));
  tablet->flush();
  f.machine.settle();
  CHECK(tablet->flushed().index == LogIndex{5});
  CHECK(tablet->tables().empty());
  tablet->flush();
  CHECK(f.machine.background.idle());
}

TEST_CASE("data ten times larger than cache and memtables is readable row by row") {
  TabletFixture f;
  f.fs.set_cold(true);
  f.options.memtable_bytes = 64 << 10;
  f.options.block_cache_bytes = 64 << 10;
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  SeededRandom random(3);
  const auto value_of = [](uint64_t i) {
    return std::to_string(i) + std::string(100, static_cast<char>('a' + i % 26));
  };
  const uint64_t rows = 12'000;
  for (uint64_t i = 1; i <= rows; ++i) {
    put(tablet, i, "row" + std::to_string(hash64(std::to_string(i))), value_of(i));
    if (i % 50 == 0) f.machine.settle();
  }
  tablet->flush();
  f.machine.settle();
  CHECK(tablet->stats().sstable_bytes > 500'000);
  CHECK(tablet->stats().runs < 12);
  uint64_t from_disk = 0;
  for (uint64_t i = 1; i <= rows; i += 3) {
    const std::string key = "row" + std::to_string(hash64(std::to_string(i)));
    from_disk += tablet->get(key).state == Lookup::State::kNeedsDisk;
    REQUIRE(f.read(tablet, key) == value_of(i));
  }
  CHECK(from_disk > rows / 10);
  for (uint64_t i = 0; i < 200; ++i) REQUIRE(f.read(tablet, "row-none" + std::to_string(i)) == std::nullopt);
  CHECK(f.store->metrics().filter_negatives.get() > 100);
  uint64_t visited = 0;
  FetchRequest request;
  request.visit = [&](std::string_view, std::string_view) { return ++visited, true; };
  REQUIRE(f.fetch(tablet, std::move(request)));
  CHECK(visited == rows);
}

TEST_CASE("gets, scans both ways and fetches of a cache that is full find the rows of packed blocks") {
  TabletFixture f;
  f.fs.set_cold(GENERATE(false, true));
  f.options.block_cache_bytes = 64 << 10;
  f.options.hot_row_bytes = 0;
  f.options.compression = GENERATE(Compression::kLz4, Compression::kNone);
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  SeededRandom random(5);
  std::map<std::string, std::string> model;
  for (uint64_t i = 1; i <= 3000; ++i) {
    char key[16];
    std::snprintf(key, sizeof key, "row%05d", static_cast<int>(random.below(100'000)));
    model[key] = std::to_string(i) + std::string(60, static_cast<char>('a' + i % 26));
    put(tablet, i, key, model[key]);
  }
  tablet->flush();
  f.machine.settle();
  std::vector<std::string> keys;
  for (const auto& [key, value] : model) keys.push_back(key);
  for (int i = 0; i < 4000; ++i) {
    const size_t at = random.below(keys.size() - 20);
    if (!random.chance(0.2)) {
      REQUIRE(f.read(tablet, keys[at]) == model[keys[at]]);
      continue;
    }
    RowPage page;
    page.reverse = random.chance(0.5);
    page.start_after = keys[at];
    page.start_included = true;
    page.rows_max = 1 + random.below(20);
    std::vector<std::string> wanted, got;
    for (uint64_t n = 0; n < page.rows_max && (!page.reverse || n <= at); ++n)
      wanted.push_back(keys[page.reverse ? at - n : at + n]);
    const auto take = [&](std::string_view key, std::string_view value) {
      CHECK(value == model[std::string(key)]);
      got.emplace_back(key);
      return true;
    };
    if (!tablet->scan(page, take)) {
      got.clear();
      FetchRequest request;
      request.prefixes.push_back(page);
      const auto fetched = f.fetch(tablet, std::move(request));
      REQUIRE(fetched);
      for (const auto& [key, value] : fetched->prefixes[0]) take(key, value);
    }
    REQUIRE(got == wanted);
  }
  if (f.options.compression == Compression::kLz4) CHECK(f.store->metrics().cache_packed_hits.get() > 500);
}

TEST_CASE("bugs 19, 35: compaction drops tombstones and covered rows only when nothing older is left") {
  TabletFixture f;
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  WriteBatch batch;
  for (int i = 0; i < 50; ++i) batch.put("a/" + std::to_string(i), "x");
  for (int i = 0; i < 50; ++i) batch.put("b/" + std::to_string(i), "x");
  REQUIRE(tablet->apply(at(1), batch.bytes()));
  tablet->flush();
  f.machine.settle();
  batch.reset();
  batch.remove_prefix("a/");
  batch.put("a/7", "new");
  batch.remove("b/3");
  REQUIRE(tablet->apply(at(2), batch.bytes()));
  tablet->flush();
  f.machine.settle();
  CHECK(tablet->stats().entries_estimate == 102);
  CHECK(f.read(tablet, "a/1") == std::nullopt);
  CHECK(f.read(tablet, "a/7") == "new");
  put(tablet, 3, "c", "x");
  tablet->flush();
  f.machine.settle();  // the third run starts the compaction
  REQUIRE(tablet->tables().size() == 1);
  const SstableInfo info = tablet->tables()[0];
  CHECK(info.entries == 51);
  CHECK(info.tombstones == 0);
  CHECK(f.everything(tablet).size() == 51);
  // Inputs are unlinked once nobody reads them.
  CHECK(f.fs.list("/data/sst")->size() == 1);
}

TEST_CASE("tables that a compaction has replaced are unlinked in the background, not on the loop") {
  TabletFixture f;
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  const auto files = [&] { return f.fs.list("/data/sst")->size(); };
  uint64_t unlinked = 0;
  for (uint64_t i = 1; i <= 3; ++i) {
    put(tablet, i, "k" + std::to_string(i), std::string(1000, 'x'));
    tablet->flush();
    while (!f.machine.loop.idle() || !f.machine.background.idle()) {
      size_t before = files();
      f.machine.background.run_one();
      if (files() < before) ++unlinked;
      before = files();
      f.machine.loop.run_one();
      REQUIRE(files() >= before);
    }
  }
  CHECK(unlinked > 0);
  CHECK(files() == 1);
  CHECK(f.everything(tablet).size() == 3);
}

TEST_CASE("clearing a tablet hides everything older at once and drops its files with the next flush") {
  TabletFixture f;
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  fill(tablet, 1, 300, std::string(200, 'x'));
  f.machine.settle();
  CHECK(!tablet->tables().empty());
  WriteBatch batch;
  batch.put("lost", "in the same entry");
  batch.clear_all();
  batch.put("kept", "after");
  REQUIRE(tablet->apply(at(301), batch.bytes()));
  CHECK(f.everything(tablet) == std::map<std::string, std::string>{{"kept", "after"}});
  tablet->flush();
  f.machine.settle();
  CHECK(tablet->tables().size() == 1);
  REQUIRE(f.open());
  CHECK(f.everything(f.tablet()) == std::map<std::string, std::string>{{"kept", "after"}});
}

TEST_CASE("a checkpoint installs elsewhere as an exact copy, and its files survive the source") {
  TabletFixture f;
  REQUIRE(f.open());
  Tablet* source = f.tablet(1);
  fill(source, 1, 500, std::string(150, 'x'), 200);
  WriteBatch batch;
  batch.remove_prefix("key10000");
  REQUIRE(source->apply(at(501), batch.bytes()));
  std::optional<Result<Checkpoint>> made;
  source->checkpoint([&](Result<Checkpoint> c) { made = std::move(c); });
  fill(source, 502, 600, "later");
  f.machine.settle();
  REQUIRE((made && *made));
  const Checkpoint& checkpoint = **made;
  CHECK(checkpoint.position == at(501));
  for (const auto& file : checkpoint.files) {
    const std::string bytes = *read_file(f.fs, join_path(checkpoint.dir, file.name));
    CHECK(bytes.size() == file.bytes);
    CHECK(hash64(bytes) == file.hash);
  }
  REQUIRE(f.store->drop({1}));
  f.machine.settle();

  Tablet* target = f.tablet(2);
  fill(target, 1, 50, "overwritten by the snapshot");
  std::optional<Result<void>> installed;
  f.store->install({2}, checkpoint.dir, checkpoint.manifest, checkpoint.position,
                   [&](Result<void> r) { installed = std::move(r); });
  f.machine.settle();
  REQUIRE((installed && *installed));
  CHECK(f.store->find({2}) == target);
  CHECK(target->applied() == at(501));
  CHECK(target->flushed() == at(501));
  auto rows = f.everything(target);
  CHECK(rows.size() == 190);
  CHECK(!rows.contains("key100005"));
  // Redone at recovery, it gives the same.
  REQUIRE(f.open());
  REQUIRE(f.store->install_now({2}, checkpoint.dir, checkpoint.manifest, checkpoint.position));
  REQUIRE(f.store->install_now({3}, checkpoint.dir, checkpoint.manifest, checkpoint.position));
  REQUIRE(f.store->collect_garbage());
  CHECK(f.everything(f.tablet(2)) == rows);
  CHECK(f.everything(f.tablet(3)) == rows);
  // Writes go on above it.
  put(f.tablet(2), 502, "key100100", "newer");
  f.tablet(2)->flush();
  f.machine.settle();
  CHECK(f.read(f.tablet(2), "key100100") == "newer");
}

TEST_CASE("a snapshot with a flipped bit or a lie about its files is refused and leaves the tablet as it was") {
  TabletFixture f;
  REQUIRE(f.open());
  fill(f.tablet(1), 1, 100, "value");
  std::optional<Result<Checkpoint>> made;
  f.tablet(1)->checkpoint([&](Result<Checkpoint> c) { made = std::move(c); });
  f.machine.settle();
  REQUIRE((made && *made));
  put(f.tablet(2), 1, "mine", "stays");
  std::string lie = (*made)->manifest;
  lie[lie.size() / 2] ^= 1;
  CHECK(f.store->install_now({2}, (*made)->dir, lie, at(100)).error().code == ErrorCode::kCorruption);
  REQUIRE(f.fs.flip_bit(join_path((*made)->dir, (*made)->files[0].name), 8000));
  CHECK(f.store->install_now({2}, (*made)->dir, (*made)->manifest, at(100)).error().code == ErrorCode::kCorruption);
  CHECK(f.read(f.tablet(2), "mine") == "stays");
}

TEST_CASE("damage in a block is reported once and its bytes are never served") {
  TabletFixture f;
  f.fs.set_cold(true);
  REQUIRE(f.open());
  fill(f.tablet(), 1, 100, std::string(50, 'x'));
  f.tablet()->flush();
  f.machine.settle();
  REQUIRE(f.fs.flip_bit(first_sstable(f), 100 * 8));
  FetchRequest request;
  request.rows = {"key100001"};
  CHECK(f.fetch(f.tablet(), std::move(request)).error().code == ErrorCode::kCorruption);
  f.machine.settle();
  CHECK(f.corruptions.size() == 1);
  CHECK(f.tablet()->stats().corrupt);
  CHECK(f.tablet()->get("key100001").state == Lookup::State::kNeedsDisk);
  FetchRequest again;
  again.rows = {"key100090"};
  CHECK(f.fetch(f.tablet(), std::move(again)).error().code == ErrorCode::kCorruption);
  f.machine.settle();
  CHECK(f.corruptions.size() == 1);
}

TEST_CASE("a missing or damaged file at start is the end of its own tablet only") {
  TabletFixture f;
  REQUIRE(f.open());
  fill(f.tablet(1), 1, 100, "one");
  f.tablet(1)->flush();
  f.machine.settle();
  const std::string lost = first_sstable(f);
  fill(f.tablet(2), 1, 100, "two");
  f.tablet(2)->flush();
  f.machine.settle();
  REQUIRE(f.fs.remove(lost));
  REQUIRE(f.open());
  f.machine.settle();
  REQUIRE(f.corruptions.size() == 1);
  CHECK(f.corruptions[0].first == RangeId{1});
  CHECK(f.read(f.tablet(2), "key100001") == "two");
}

TEST_CASE("every flipped bit of an SSTable is noticed or harmless") {
  TabletFixture f;
  REQUIRE(f.open());
  fill(f.tablet(), 1, 60, "value");
  f.tablet()->flush();
  f.machine.settle();
  const std::string path = first_sstable(f);
  const auto expected = f.everything(f.tablet());
  const uint64_t bits = read_file(f.fs, path)->size() * 8;
  for (uint64_t bit = 0; bit < bits; bit += 7) {
    REQUIRE(f.fs.flip_bit(path, bit));
    REQUIRE(f.open());
    const auto got = f.everything(f.tablet());
    if (!got.contains("error")) REQUIRE(got == expected);
    REQUIRE(f.fs.flip_bit(path, bit));
  }
}

TEST_CASE("a tablet that lacks a table writes nothing beside those that the manifest has") {
  TabletFixture f;
  REQUIRE(f.open());
  fill(f.tablet(), 1, 60, "value");
  f.tablet()->flush();
  f.machine.settle();
  const std::string path = first_sstable(f);
  REQUIRE(f.fs.flip_bit(path, read_file(f.fs, path)->size() * 8 - 9));  // its footer
  REQUIRE(f.open());
  REQUIRE(f.tablet()->stats().corrupt);
  put(f.tablet(), 61, "key100005", "newer");
  f.tablet()->flush();
  f.machine.settle();
  CHECK(f.fs.list("/data/sst")->size() == 1);
  CHECK(f.tablet()->flushed().index == LogIndex{60});
  // The disk answers rightly again: nothing stands in the way of what it holds.
  REQUIRE(f.fs.flip_bit(path, read_file(f.fs, path)->size() * 8 - 9));
  REQUIRE(f.open());
  CHECK(!f.tablet()->stats().corrupt);
  CHECK(f.read(f.tablet(), "key100005") == "value");
}

TEST_CASE("a failing SSTable is written anew twice, then writes are refused until the device recovers") {
  TabletFixture f;
  REQUIRE(f.open());
  int failures = 2;
  f.faulty.set_policy({.fail = [&](FileOp op, const std::string& path) -> std::optional<Error> {
                         if (op == FileOp::kSync && path.ends_with(".sst") && failures > 0) {
                           --failures;
                           return Error{ErrorCode::kIoError, "planned"};
                         }
                         return std::nullopt;
                       },
                       .after_read = nullptr});
  put(f.tablet(), 1, "a", "1");
  f.tablet()->flush();
  f.machine.settle();
  CHECK(f.tablet()->flushed().index == LogIndex{1});
  CHECK(f.fs.list("/data/sst")->size() == 1);
  failures = 3;
  put(f.tablet(), 2, "b", "2");
  f.tablet()->flush();
  f.machine.settle();
  CHECK(!f.tablet()->writable());
  CHECK(f.read(f.tablet(), "b") == "2");
  REQUIRE(f.machine.loop.fire_timer());
  f.machine.settle();
  CHECK(f.tablet()->writable());
  CHECK(f.tablet()->flushed().index == LogIndex{2});
  CHECK(!f.fatal);
}

TEST_CASE("a full disk refuses writes, keeps reads, and ends by itself") {
  TabletFixture f;
  f.options.compression = Compression::kNone;
  REQUIRE(f.open());
  fill(f.tablet(), 1, 20, std::string(1000, 'x'));
  f.fs.set_capacity(f.fs.used_bytes() + 2000);
  f.tablet()->flush();
  f.machine.settle();
  CHECK(!f.store->has_room());
  CHECK(f.read(f.tablet(), "key100005") == std::string(1000, 'x'));
  REQUIRE(f.machine.loop.fire_timer());
  f.machine.settle();
  CHECK(!f.store->has_room());
  f.fs.set_capacity(~0ull);
  REQUIRE(f.machine.loop.fire_timer());
  f.machine.settle();
  CHECK(f.store->has_room());
  CHECK(f.tablet()->flushed().index == LogIndex{20});
}

TEST_CASE("a manifest that cannot be synced is fatal") {
  TabletFixture f;
  REQUIRE(f.open());
  put(f.tablet(), 1, "a", "1");
  f.faulty.set_policy({.fail = [](FileOp op, const std::string& path) -> std::optional<Error> {
                         if (op == FileOp::kSync && path.find("MANIFEST") != std::string::npos) {
                           return Error{ErrorCode::kIoError, "planned"};
                         }
                         return std::nullopt;
                       },
                       .after_read = nullptr});
  f.tablet()->flush();
  f.machine.settle();
  REQUIRE(f.fatal);
  CHECK(f.tablet()->flushed().index == LogIndex{0});
}

TEST_CASE("a manifest drops a torn tail but not a damaged middle") {
  TabletFixture f;
  REQUIRE(f.open());
  for (uint64_t range = 1; range <= 5; ++range) REQUIRE(f.tablet(range) != nullptr);
  f.store.reset();
  std::string current = *read_file(f.fs, "/data/shard-1/CURRENT");
  current.pop_back();
  const std::string path = join_path("/data/shard-1", current);
  const std::string whole = *read_file(f.fs, path);
  auto text = dump_manifest(f.fs, path);
  REQUIRE(text);
  CHECK(text->find("created for range 5") != std::string::npos);
  const auto reopen_with = [&](const std::string& bytes) {
    REQUIRE(write_file_atomic(f.fs, path, bytes));
    REQUIRE(write_file_atomic(f.fs, "/data/shard-1/CURRENT", current + "\n"));
    return f.open();
  };
  REQUIRE(reopen_with(whole.substr(0, whole.size() - 1)));
  CHECK(f.store->tablets().size() == 4);
  std::string damaged = whole;
  damaged[60] ^= 1;
  CHECK(reopen_with(damaged).error().code == ErrorCode::kCorruption);
  REQUIRE(reopen_with(whole));
  CHECK(f.store->tablets().size() == 5);
}

TEST_CASE("a dropped tablet leaves no files and a new one of its range starts empty") {
  TabletFixture f;
  REQUIRE(f.open());
  fill(f.tablet(1), 1, 100, std::string(500, 'x'));
  f.tablet(1)->flush();
  f.machine.background.run_one();
  REQUIRE(f.store->drop({1}));
  Tablet* again = f.tablet(1);
  f.machine.settle();
  CHECK(again->applied().index == LogIndex{0});
  CHECK(f.everything(again).empty());
  CHECK(f.fs.list("/data/sst")->empty());
  CHECK(f.store->memtable_bytes() == 0);
}

TEST_CASE("the largest memtable is written out when all together exceed their budget") {
  TabletFixture f;
  f.options.memtable_bytes = 1 << 20;
  f.options.memtable_budget_bytes = 300 << 10;
  REQUIRE(f.open());
  fill(f.tablet(1), 1, 50, std::string(1000, 'x'));
  fill(f.tablet(2), 1, 400, std::string(1000, 'x'));
  f.machine.settle();
  CHECK(f.tablet(1)->flushed().index == LogIndex{0});
  CHECK(f.tablet(2)->flushed().index > LogIndex{0});
  CHECK(f.store->memtable_bytes() < 300 << 10);
}

}  // namespace cairn::storage
