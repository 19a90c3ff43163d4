// Unlinking at a bounded rate: by itself, and for the SSTables of a store.
#include <catch2/catch.hpp>

#include "storage/io/paced_deleter.h"
#include "tablet_fixture.h"

using namespace cairn;
using namespace cairn::storage;
using namespace cairn::storage::test;

namespace {

constexpr uint64_t kMiB = 1u << 20;

struct Deletions {
  Machine machine;
  MemoryFileSystem fs;
  FaultyFileSystem faulty{fs};
  std::shared_ptr<PacedDeleter> deleter;

  explicit Deletions(PacedDeleterOptions options) {
    REQUIRE(fs.create_dirs("/sst"));
    deleter = std::make_shared<PacedDeleter>(
        PacedDeleter::Environment{&faulty, &machine.background, &machine.loop, &machine.clock, "/sst"}, options);
  }
  ~Deletions() { deleter->close(); }
  std::string file(const std::string& name, uint64_t bytes) {
    const std::string path = "/sst/" + name;
    auto made = fs.open(path, OpenMode::kCreateNew);
    REQUIRE(made);
    REQUIRE((*made)->truncate(bytes));
    return path;
  }
  // Until nothing is left to do; the most bytes that were given back at one moment.
  uint64_t run() {
    uint64_t most = 0;
    do {
      const uint64_t before = fs.used_bytes();
      machine.settle();
      most = std::max(most, before - fs.used_bytes());
    } while (machine.loop.fire_timer());
    return most;
  }
  Duration since(Instant begin) const { return machine.clock.now() - begin; }
};

}  // namespace

TEST_CASE("files go at the rate, the large ones in steps, and a pause saves up a quarter of a second at most") {
  Deletions d({.bytes_per_second = 128 * kMiB});
  for (int i = 0; i < 10; ++i) d.deleter->add(d.file("f" + std::to_string(i), 200 * kMiB));
  const Instant begin = d.machine.clock.now();
  // Two steps may follow the one that uses up what was saved.
  CHECK(d.run() <= 3 * PacedDeleter::kStepBytes);
  CHECK(d.fs.used_bytes() == 0);
  CHECK(d.fs.list("/sst")->empty());
  CHECK(d.deleter->waiting() == 0);
  CHECK(d.deleter->removed().get() == 10);
  CHECK(d.deleter->removed_bytes().get() == 2000 * kMiB);
  CHECK(d.since(begin) > 14 * kSecond);
  CHECK(d.since(begin) < 16 * kSecond);
  SECTION("a long pause does not pile up") {
    d.machine.clock.advance(100 * kSecond);
    const Instant again = d.machine.clock.now();
    for (int i = 0; i < 10; ++i) d.deleter->add(d.file("g" + std::to_string(i), 200 * kMiB));
    CHECK(d.run() <= 3 * PacedDeleter::kStepBytes);
    CHECK(d.since(again) > 14 * kSecond);
  }
  SECTION("small ones take no time") {
    d.machine.clock.advance(kSecond);
    const Instant again = d.machine.clock.now();
    for (int i = 0; i < 300; ++i) d.deleter->add(d.file("h" + std::to_string(i), 1000));
    (void)d.run();
    CHECK(d.since(again) == 0);
    CHECK(d.fs.list("/sst")->empty());
  }
}

TEST_CASE("a file with another name keeps all its bytes") {
  Deletions d({.bytes_per_second = 128 * kMiB});
  const std::string path = d.file("shared", 300 * kMiB);
  REQUIRE(d.fs.link(path, "/sst/kept"));
  d.deleter->add(path);
  (void)d.run();
  CHECK(*d.fs.list("/sst") == std::vector<std::string>{"kept"});
  CHECK(d.fs.used_bytes() == 300 * kMiB);
  CHECK(d.deleter->removed_bytes().get() == 0);
}

TEST_CASE("nothing is held back where space is needed") {
  PacedDeleterOptions options{.bytes_per_second = kMiB};
  const auto make = [&](Deletions& d) {
    for (int i = 0; i < 5; ++i) d.deleter->add(d.file("f" + std::to_string(i), 200 * kMiB));
  };
  SECTION("no rate") {
    options.bytes_per_second = 0;
    Deletions d(options);
    make(d);
    d.machine.settle();
    CHECK(d.fs.used_bytes() == 0);
  }
  SECTION("little is free") {
    options.free_bytes_min = 500 * kMiB;
    Deletions d(options);
    d.fs.set_capacity(1400 * kMiB);
    make(d);
    d.machine.settle();
    CHECK(d.fs.used_bytes() > 600 * kMiB);  // 500 of 1400 are free: from here on it takes its time
    CHECK(d.fs.used_bytes() <= 900 * kMiB);
  }
  SECTION("somebody asks for it while the next step waits") {
    Deletions d(options);
    make(d);
    d.machine.settle();
    CHECK(d.fs.used_bytes() > 800 * kMiB);
    d.deleter->hurry();
    d.machine.settle();
    CHECK(d.fs.used_bytes() == 0);
    make(d);  // what comes later takes its time again
    d.machine.settle();
    CHECK(d.fs.used_bytes() > 700 * kMiB);
  }
}

TEST_CASE("a directory goes with its files") {
  Deletions d({.bytes_per_second = 128 * kMiB});
  REQUIRE(d.fs.create_dirs("/sst/snap"));
  (void)d.file("snap/a", 100 * kMiB);
  (void)d.file("snap/b", 10);
  REQUIRE(d.fs.create_dirs("/sst/empty"));
  d.deleter->add_dir("/sst/snap");
  d.deleter->add_dir("/sst/empty");
  d.deleter->add_dir("/sst/missing");
  (void)d.run();
  CHECK(d.fs.list("/sst")->empty());
  CHECK(d.deleter->failures().get() == 1);
  CHECK(d.deleter->waiting() == 0);
}

TEST_CASE("what cannot be unlinked is counted, and the rest goes on") {
  Deletions d({.bytes_per_second = 128 * kMiB});
  for (const char* name : {"a", "b", "c"}) d.deleter->add(d.file(name, 100 * kMiB));
  const FileOp failed = GENERATE(FileOp::kRemove, FileOp::kTruncate, FileOp::kSize, FileOp::kOpen);
  d.faulty.set_policy(failing([&](FileOp op, const std::string& path) { return op == failed && path == "/sst/b"; }));
  (void)d.run();
  const bool stays = failed == FileOp::kRemove;
  CHECK(d.fs.list("/sst")->size() == (stays ? 1 : 0));
  CHECK(d.deleter->failures().get() == (stays ? 1 : 0));
  CHECK(d.deleter->waiting() == 0);
}

TEST_CASE("the SSTables of a dropped tablet go at the rate, those in a checkpoint stay, and a restart finds the rest") {
  TabletFixture f;
  f.options.delete_bytes_per_second = 64 << 10;
  f.options.compression = Compression::kNone;
  REQUIRE(f.open());
  const auto files = [&] { return f.fs.list("/data/sst")->size(); };
  for (uint64_t i = 1; i <= 20; ++i) {
    for (uint64_t k = 0; k < 20; ++k)
      put(f.tablet(), i * 100 + k, "k" + std::to_string(i * 100 + k), std::string(1000, 'v'));
    f.tablet()->flush();
    f.machine.settle();
  }
  std::optional<Result<Checkpoint>> made;
  f.tablet()->checkpoint([&](Result<Checkpoint> c) { made = std::move(c); });
  f.machine.settle();
  REQUIRE((made && *made));
  const auto drain = [&] {
    do {
      f.machine.settle();
    } while (f.store->deleter().waiting() > 0 && f.machine.loop.fire_timer());
  };
  drain();
  const uint64_t left = f.tablet()->stats().sstable_bytes;
  REQUIRE(left > 300 << 10);
  CHECK(files() == f.tablet()->stats().sstables);
  // Their inodes live on in the checkpoint: nothing is given back.
  REQUIRE(f.store->drop({1}));
  drain();
  CHECK(files() == 0);
  for (const SnapshotFile& file : (*made)->files) {
    CHECK(f.fs.status(join_path((*made)->dir, file.name))->bytes == file.bytes);
  }
  REQUIRE(f.store->install_now({2}, (*made)->dir, (*made)->manifest, (*made)->position));
  CHECK(f.everything(f.tablet(2)).size() == 400);
  f.store->remove_snapshot((*made)->dir);
  drain();
  CHECK_FALSE(*f.fs.exists((*made)->dir));
  CHECK(f.everything(f.tablet(2)).size() == 400);
  const uint64_t before = f.fs.used_bytes();
  SECTION("the last names go") {
    REQUIRE(f.store->drop({2}));
    drain();
    CHECK(files() == 0);
    CHECK(f.fs.used_bytes() + left <= before + 1000);  // the manifest has grown
  }
  SECTION("a restart in between") {
    REQUIRE(f.store->drop({2}));
    REQUIRE(f.open());
    CHECK(files() > 0);
    REQUIRE(f.store->collect_garbage());
    drain();
    CHECK(files() == 0);
    CHECK(f.fs.used_bytes() + left <= before + 1000);  // the manifest has grown
  }
}
