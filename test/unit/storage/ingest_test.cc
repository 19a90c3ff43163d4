// Files that were built outside of any tablet and are taken in: what they hide and what hides them, what is refused.
#include <catch2/catch.hpp>

#include "base/random.h"
#include "storage/sstable/ingest_file.h"
#include "tablet_fixture.h"

using namespace cairn;
using namespace cairn::storage;
using namespace cairn::storage::test;

namespace {

using Rows = std::map<std::string, std::string>;
using Changes = std::map<std::string, std::optional<std::string>>;  // nullopt: a deletion

std::string key(uint64_t i) { return "key" + std::to_string(1000 + i); }

struct Ingesting : TabletFixture {
  uint64_t index = 0, files = 0;
  Rows model;

  explicit Ingesting(StrategyKind strategy = StrategyKind::kIcs) {
    options.strategy = strategy;
    REQUIRE(open());
    REQUIRE(fs.create_dirs("/outside"));
    (void)tablet();
  }
  void put_row(const std::string& k, const std::string& value) {
    put(tablet(), ++index, k, value);
    model[k] = value;
  }
  void remove_row(const std::string& k) {
    remove(tablet(), ++index, k);
    model.erase(k);
  }
  std::string build(const Changes& changes) {
    const std::string path = "/outside/" + std::to_string(++files);
    auto file = IngestFile::create(fs, path, {.block_bytes = 512});
    REQUIRE(file);
    for (const auto& [k, value] : changes) REQUIRE((value ? (*file)->put(k, *value) : (*file)->remove(k)));
    REQUIRE((*file)->finish());
    return path;
  }
  Result<void> ingest(std::vector<std::string> paths, uint64_t position) {
    std::optional<Result<void>> done;
    tablet()->ingest(at(position), std::move(paths), [&](Result<void> r) { done = std::move(r); });
    machine.settle();
    REQUIRE(done);
    return *done;
  }
  void ingest_changes(const std::vector<Changes>& parts) {
    std::vector<std::string> paths;
    for (const Changes& changes : parts) {
      paths.push_back(build(changes));
      for (const auto& [k, value] : changes) {
        if (value) model[k] = *value;
        if (!value) model.erase(k);
      }
    }
    REQUIRE(ingest(paths, ++index));
    for (const std::string& path : paths) REQUIRE(fs.remove(path));
  }
  void flush() {
    tablet()->flush();
    machine.settle();
  }
  void compact() {
    std::optional<Result<void>> done;
    tablet()->compact([&](Result<void> r) { done = std::move(r); });
    machine.settle();
    REQUIRE((done && *done));
  }
  void reopen() {
    REQUIRE(open());
    REQUIRE(store->collect_garbage());
    machine.settle();
  }
  void check() {
    CHECK(everything(tablet()) == model);
    for (uint64_t i = 0; i < 60; ++i) {
      const auto it = model.find(key(i));
      REQUIRE(read(tablet(), key(i)) == (it == model.end() ? std::nullopt : std::optional(it->second)));
    }
  }
};

}  // namespace

TEST_CASE("rows of files that are taken in are newer than all before and older than all after") {
  Ingesting f(GENERATE(StrategyKind::kStcs, StrategyKind::kLcs, StrategyKind::kTwcs, StrategyKind::kIcs));
  for (uint64_t i = 0; i < 40; ++i) f.put_row(key(i), "old");
  f.flush();
  for (uint64_t i = 20; i < 30; ++i) f.put_row(key(i), "in memory");
  f.ingest_changes(
      {{{key(5), "new"}, {key(25), "new"}, {key(28), std::nullopt}}, {{key(35), "new"}, {key(50), "new"}}});
  f.check();
  CHECK(f.tablet()->applied() == at(f.index));
  CHECK(f.tablet()->flushed() == at(f.index));
  f.put_row(key(25), "newest");
  f.remove_row(key(35));
  f.check();
  WriteBatch batch;
  SECTION("after a restart, with what was not flushed applied again") {
    f.reopen();
    put(f.tablet(), f.index - 1, key(25), "newest");
    remove(f.tablet(), f.index, key(35));
    f.check();
  }
  SECTION("through compactions") {
    f.flush();
    f.compact();
    f.check();
    for (const SstableInfo& info : f.tablet()->tables()) CHECK_FALSE(info.ingested);
    f.reopen();
    f.check();
  }
  SECTION("a prefix or everything that is deleted later") {
    const bool all = GENERATE(true, false);
    if (all) batch.clear_all();
    if (!all) batch.remove_prefix("key102");
    REQUIRE(f.tablet()->apply(at(++f.index), batch.bytes()));
    std::erase_if(f.model, [&](const auto& row) { return all || row.first.starts_with("key102"); });
    f.check();
    f.flush();
    f.check();
    f.reopen();
    f.check();
  }
  SECTION("in a snapshot") {
    std::optional<Result<Checkpoint>> made;
    f.tablet()->checkpoint([&](Result<Checkpoint> c) { made = std::move(c); });
    f.machine.settle();
    REQUIRE((made && *made));
    REQUIRE(f.store->install_now({2}, (*made)->dir, (*made)->manifest, (*made)->position));
    CHECK(f.everything(f.tablet(2)) == f.model);
    REQUIRE(f.open());
    CHECK(f.everything(f.tablet(2)) == f.model);
  }
  SECTION("in both halves of a split") {
    std::optional<Result<void>> done;
    f.store->split({1}, key(26), {2}, {3}, [&](Result<void> r) { done = std::move(r); });
    f.machine.settle();
    REQUIRE((done && *done));
    REQUIRE(f.open());
    Rows both = f.everything(f.tablet(2));
    both.merge(f.everything(f.tablet(3)));
    CHECK(both == f.model);
  }
}

TEST_CASE("deletions before files that are taken in do not reach into them") {
  Ingesting f;
  for (uint64_t i = 0; i < 10; ++i) f.put_row(key(i), "old");
  WriteBatch batch;
  batch.remove_prefix("key");
  REQUIRE(f.tablet()->apply(at(++f.index), batch.bytes()));
  f.model.clear();
  f.ingest_changes({{{key(3), "new"}}});
  f.check();
  f.reopen();
  f.check();
  f.compact();
  f.check();
}

TEST_CASE("files that cannot be taken in leave everything as it was") {
  Ingesting f;
  f.put_row(key(1), "there");
  f.flush();
  const std::string good = f.build({{key(1), "new"}, {key(9), "new"}});
  const auto refused = [&](std::vector<std::string> paths, ErrorCode code) {
    const auto result = f.ingest(std::move(paths), f.index + 1);
    REQUIRE_FALSE(result);
    CHECK(result.error().code == code);
    CHECK(f.tablet()->applied() == at(f.index));
    CHECK(f.fs.list("/data/sst")->size() == f.tablet()->tables().size());
    f.check();
    CHECK_FALSE(f.tablet()->stats().corrupt);
    CHECK(f.corruptions.empty());
  };
  SECTION("they overlap") { refused({good, f.build({{key(5), "x"}})}, ErrorCode::kInvalidArgument); }
  SECTION("one is missing") { refused({good, "/outside/none"}, ErrorCode::kNotFound); }
  SECTION("one is no table") {
    REQUIRE(write_file_atomic(f.fs, "/outside/text", "not a table"));
    refused({good, "/outside/text"}, ErrorCode::kCorruption);
  }
  SECTION("any bit of one is damaged") {
    const uint64_t bytes = f.fs.status(good)->bytes;
    for (uint64_t bit = 3; bit < bytes * 8; bit += 61) {
      REQUIRE(f.fs.flip_bit(good, bit));
      const auto result = f.ingest({good}, f.index + 1);
      if (result) ++f.index, f.model[key(1)] = f.model[key(9)] = "new";  // it was a bit that means nothing
      f.check();
      REQUIRE(f.fs.flip_bit(good, bit));
    }
    CHECK(f.tablet()->tables().size() < 10);
  }
  SECTION("no space, or a file system that fails") {
    const FileOp op = GENERATE(FileOp::kLink, FileOp::kSyncDir, FileOp::kWrite);
    f.faulty.set_policy(failing([op](FileOp o, const std::string&) { return o == op; }, ErrorCode::kNoSpace));
    refused({good}, ErrorCode::kNoSpace);
    f.faulty.set_policy({});
    REQUIRE(f.ingest({good}, ++f.index));
    f.model[key(1)] = f.model[key(9)] = "new";
    f.check();
  }
  f.put_row(key(2), "goes on");
  f.flush();
  f.check();
}

TEST_CASE("a fetch that is under way while files are taken in answers with their rows") {
  Ingesting f;
  f.fs.set_cold(true);
  for (uint64_t i = 0; i < 40; ++i) f.put_row(key(i), "old");
  f.flush();  // the memtable is empty, and stays the same
  const std::string path = f.build({{key(5), "new"}, {key(6), std::nullopt}});
  std::optional<Result<void>> taken;
  f.tablet()->ingest(at(++f.index), {path}, [&](Result<void> r) { taken = std::move(r); });
  while (!taken && f.machine.background.run_one()) {
  }
  FetchRequest request;
  request.rows = {key(5), key(6)};
  request.prefixes.resize(1);
  std::optional<Result<FetchResult>> answer;
  f.tablet()->fetch(std::move(request), [&](Result<FetchResult> r) {
    REQUIRE(taken);
    answer = std::move(r);
  });
  while (f.machine.background.run_one()) {  // it has read all that it wants before the loop hears of the files
  }
  REQUIRE_FALSE(taken);
  f.machine.settle();
  REQUIRE((taken && *taken && answer && *answer));
  f.model[key(5)] = "new";
  f.model.erase(key(6));
  CHECK((*answer)->rows == std::vector<std::optional<std::string>>{"new", std::nullopt});
  const auto& rows = (*answer)->prefixes[0];
  CHECK(Rows(rows.begin(), rows.end()) == f.model);
}

TEST_CASE("a file to be taken in has ascending keys, and some") {
  MemoryFileSystem fs;
  auto file = IngestFile::create(fs, "/f", {});
  REQUIRE(file);
  CHECK((*file)->finish().error().code == ErrorCode::kInvalidArgument);
  REQUIRE((*file)->put("b", "1"));
  CHECK((*file)->put("b", "2").error().code == ErrorCode::kInvalidArgument);
  CHECK((*file)->remove("a").error().code == ErrorCode::kInvalidArgument);
  REQUIRE((*file)->put("c", "3"));
  CHECK((*file)->finish());
}

TEST_CASE("files are taken in once, not before the log is durable, and with nothing applied meanwhile") {
  Ingesting f;
  f.put_row(key(1), "there");
  const std::string path = f.build({{key(1), "new"}});
  f.log_always_durable = false;
  std::optional<Result<void>> done;
  f.tablet()->ingest(at(++f.index), {path}, [&](Result<void> r) { done = std::move(r); });
  f.machine.settle();
  CHECK_FALSE(done);
  WriteBatch batch;
  batch.put("k", "v");
  CHECK(f.tablet()->apply(at(f.index + 1), batch.bytes()).error().code == ErrorCode::kUnavailable);
  f.log_reaches({f.index - 1});  // the memtable
  f.machine.settle();
  CHECK_FALSE(done);
  CHECK(f.tablet()->flushed() == at(f.index - 1));
  f.log_reaches({f.index});
  f.machine.settle();
  REQUIRE((done && *done));
  f.model[key(1)] = "new";
  f.check();
  CHECK(f.ingest({path}, f.index));  // replay
  CHECK(f.tablet()->tables().size() <= 2);
  f.log_always_durable = true;
  f.put_row(key(1), "newest");
  f.check();
  SECTION("a tablet that is dropped meanwhile") {
    std::optional<Result<void>> late;
    f.tablet()->ingest(at(f.index + 1), {path}, [&](Result<void> r) { late = std::move(r); });
    REQUIRE(f.store->drop({1}));
    f.machine.settle();
    REQUIRE(late);
    CHECK(late->error().code == ErrorCode::kUnavailable);
    f.machine.settle();
    CHECK(f.fs.list("/data/sst")->empty());
  }
}

TEST_CASE("files taken in at random, among all else, with strategies and restarts") {
  const uint64_t seed = GENERATE(range(1, 13));
  INFO("seed " << seed);
  SeededRandom random(seed);
  Ingesting f;
  for (int step = 0; step < 250; ++step) {
    const uint64_t k = random.below(60);
    switch (random.below(12)) {
      case 0:
      case 1: {
        std::vector<Changes> parts(1 + random.below(3));
        for (uint64_t i = 0, n = 1 + random.below(30); i < n; ++i) {
          const uint64_t at = random.below(60);
          auto& part = parts[at * parts.size() / 60];
          part[key(at)] = random.chance(0.8) ? std::optional("file" + std::to_string(step)) : std::nullopt;
        }
        std::erase_if(parts, [](const Changes& part) { return part.empty(); });
        f.ingest_changes(parts);
        break;
      }
      case 2: f.flush(); break;
      case 3: f.tablet()->set_strategy(kStrategyKinds[random.below(std::size(kStrategyKinds))]); break;
      case 4: f.compact(); break;
      case 5: {
        const std::string prefix = key(k).substr(0, 6);
        WriteBatch batch;
        batch.remove_prefix(prefix);
        REQUIRE(f.tablet()->apply(at(++f.index), batch.bytes()));
        std::erase_if(f.model, [&](const auto& row) { return row.first.starts_with(prefix); });
        break;
      }
      case 6: f.remove_row(key(k)); break;
      case 7:
        if (random.chance(0.7)) break;
        f.flush();
        f.reopen();
        break;
      default: f.put_row(key(k), std::string(random.below(300), 'p') + std::to_string(step));
    }
    if (step % 25 == 0) f.check();
  }
  f.check();
  f.flush();
  f.reopen();
  f.check();
}
