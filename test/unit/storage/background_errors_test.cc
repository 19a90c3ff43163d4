// Flushes and compactions that fail: how a tablet shows it, when they are tried again, what a full disk leaves.
#include <catch2/catch.hpp>

#include "storage/disk_reserve.h"
#include "tablet_fixture.h"

namespace cairn::storage {
namespace {

using test::put;
using test::TabletFixture;

// Of SSTables, while it is broken.
FaultPolicy failing(bool& broken, FileOp on) {
  return test::failing(
      [&broken, on](FileOp op, const std::string& path) { return broken && op == on && path.ends_with(".sst"); });
}

// Runs everything, and time up to `at` after `since`.
void run_until(TabletFixture& f, Instant at) {
  f.machine.settle();
  while (f.machine.clock.now() < at && f.machine.loop.fire_timer()) f.machine.settle();
}

}  // namespace

TEST_CASE(
    "waits between tries are doubled up to their bound, shorter ones for a full disk, and forgotten after a success") {
  BackgroundErrors errors;
  CHECK(errors.health(TabletCondition::kRetrying).condition == TabletCondition::kOk);
  const Error broken{ErrorCode::kIoError, "EIO"}, full{ErrorCode::kNoSpace, "ENOSPC"};
  std::vector<Duration> waits;
  for (int i = 0; i < 9; ++i) waits.push_back(errors.failed(broken, 1000 + static_cast<uint64_t>(i)) / kSecond);
  CHECK(waits == std::vector<Duration>{1, 2, 4, 8, 16, 32, 60, 60, 60});
  const TabletHealth health = errors.health(TabletCondition::kReadOnly);
  CHECK(health.condition == TabletCondition::kReadOnly);
  CHECK(health.reason == "EIO");
  CHECK(health.since_ms == 1000);
  CHECK(health.failures == 9);
  CHECK(errors.failed(full, 2000) == 5 * kSecond);
  for (int i = 0; i < 100; ++i) CHECK(errors.failed(broken, 2000) <= 60 * kSecond);
  errors.succeeded();
  CHECK(!errors.any());
  CHECK(errors.failed(full, 5000) == 500 * kMillisecond);
  CHECK(errors.health(TabletCondition::kRetrying).since_ms == 5000);
}

TEST_CASE("a tablet whose flushes fail takes no writes until one succeeds, and the others go on") {
  TabletFixture f;
  REQUIRE(f.open());
  bool broken = true;
  f.faulty.set_policy(failing(broken, FileOp::kSync));
  put(f.tablet(1), 1, "a", "1");
  f.tablet(1)->flush();
  f.machine.settle();
  CHECK(!f.tablet(1)->writable());
  CHECK(f.store->has_room());
  TabletHealth health = f.tablet(1)->stats().health;
  CHECK(health.condition == TabletCondition::kReadOnly);
  CHECK(health.failures == 1);
  CHECK(health.reason.find("planned") != std::string::npos);
  CHECK(health.since_ms == f.machine.clock.wall_ms());
  const uint64_t since = health.since_ms;
  // What is committed goes on, and reads.
  put(f.tablet(1), 2, "b", "2");
  CHECK(f.read(f.tablet(1), "a") == "1");
  CHECK(f.read(f.tablet(1), "b") == "2");
  for (uint32_t failures = 2; failures <= 5; ++failures) {
    REQUIRE(f.machine.loop.fire_timer());
    f.machine.settle();
    health = f.tablet(1)->stats().health;
    CHECK(health.failures == failures);
    CHECK(health.since_ms == since);
  }
  CHECK(f.machine.clock.wall_ms() - since == 1000 + 2000 + 4000 + 8000);
  CHECK(f.fs.list("/data/sst")->empty());
  broken = false;
  put(f.tablet(2), 1, "c", "3");
  f.tablet(2)->flush();
  f.machine.settle();
  CHECK(f.tablet(2)->flushed().index == LogIndex{1});
  CHECK(!f.tablet(1)->writable());
  REQUIRE(f.machine.loop.fire_timer());
  f.machine.settle();
  CHECK(f.tablet(1)->writable());
  CHECK(f.tablet(1)->flushed().index == LogIndex{1});
  CHECK(f.tablet(1)->stats().health.condition == TabletCondition::kOk);
  CHECK(!f.fatal);
}

TEST_CASE("memory of a tablet that cannot be flushed does not keep the others' from being written out") {
  TabletFixture f;
  f.options.memtable_bytes = 1 << 20;
  f.options.memtable_budget_bytes = 200 << 10;
  REQUIRE(f.open());
  bool broken = true;
  f.faulty.set_policy(failing(broken, FileOp::kSync));
  put(f.tablet(1), 1, "a", std::string(120 << 10, 'x'));
  f.tablet(1)->flush();
  f.machine.settle();
  put(f.tablet(1), 2, "b", std::string(120 << 10, 'x'));
  broken = false;  // for the others: its own next try is a second away
  for (uint64_t i = 1; i <= 4; ++i) put(f.tablet(2), i, "k" + std::to_string(i), std::string(30 << 10, 'x'));
  f.machine.settle();
  CHECK(f.tablet(1)->flushed().index == LogIndex{0});
  CHECK(f.tablet(2)->flushed().index.value > 0);
}

TEST_CASE("a compaction that fails is tried again by itself, less and less often") {
  TabletFixture f;
  f.options.strategy = StrategyKind::kStcs;
  f.options.compaction.stcs.min_threshold = 2;
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  put(tablet, 1, "a", "1");
  tablet->flush();
  f.machine.settle();
  put(tablet, 2, "b", "2");
  tablet->flush();
  while (tablet->flushed().index.value < 2) REQUIRE(f.machine.step());
  bool broken = true;
  f.faulty.set_policy(failing(broken, FileOp::kWrite));
  f.machine.settle();
  CHECK(tablet->writable());
  CHECK(tablet->stats().health.condition == TabletCondition::kRetrying);
  CHECK(tablet->stats().runs == 2);
  const Instant since = f.machine.clock.now();
  run_until(f, since + 20 * kSecond);
  CHECK(tablet->stats().health.failures == 6);  // after 1, 3, 7, 15 and 31 seconds
  broken = false;
  REQUIRE(f.machine.loop.fire_timer());
  f.machine.settle();
  CHECK(tablet->stats().runs == 1);
  CHECK(tablet->stats().health.condition == TabletCondition::kOk);
  CHECK(f.fs.list("/data/sst")->size() == 1);
}

TEST_CASE("no compaction begins that the disk cannot hold, and it follows when there is room") {
  TabletFixture f;
  f.options.strategy = StrategyKind::kStcs;
  f.options.compaction.stcs.min_threshold = 2;
  f.options.compression = Compression::kNone;
  f.options.memtable_bytes = 1 << 20;
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  uint64_t index = 0;
  for (int run = 0; run < 2; ++run) {
    for (int i = 0; i < 40; ++i) put(tablet, ++index, "key" + std::to_string(i), std::string(1000, 'x'));
    tablet->flush();
    while (tablet->flushed().index.value < index) REQUIRE(f.machine.step());
    if (run == 0) f.fs.set_capacity(f.fs.used_bytes() + (60 << 10));  // for the next run, not for both again
  }
  const uint64_t written = f.faulty.calls(FileOp::kWrite);
  f.machine.settle();
  CHECK(f.faulty.calls(FileOp::kWrite) == written);
  CHECK(tablet->stats().runs == 2);
  CHECK(tablet->stats().health.condition == TabletCondition::kRetrying);
  CHECK(tablet->stats().health.reason.find("are free") != std::string::npos);
  CHECK(tablet->writable());
  f.fs.set_capacity(~0ull);
  REQUIRE(f.machine.loop.fire_timer());
  f.machine.settle();
  CHECK(tablet->stats().runs == 1);
  CHECK(tablet->stats().health.condition == TabletCondition::kOk);
}

TEST_CASE("a damaged tablet says since when and why") {
  TabletFixture f;
  REQUIRE(f.open());
  put(f.tablet(), 1, "a", std::string(3000, 'x'));
  f.tablet()->flush();
  f.machine.settle();
  const std::vector<std::string> names = *f.fs.list("/data/sst");
  REQUIRE(f.open());
  REQUIRE(f.fs.flip_bit("/data/sst/" + names[0], 200));
  f.machine.clock.advance(5 * kSecond);
  CHECK(f.read(f.tablet(), "a") != std::string(3000, 'x'));
  const TabletHealth health = f.tablet()->stats().health;
  CHECK(health.condition == TabletCondition::kFailed);
  CHECK(health.since_ms == f.machine.clock.wall_ms());
  CHECK(!f.tablet()->writable());
}

TEST_CASE("a full disk is left with the help of the reserve, which is taken back when there is room for it twice") {
  MemoryFileSystem fs;
  REQUIRE(fs.create_dirs("/data"));
  constexpr uint64_t kReserve = 1 << 20, kStart = 16 << 20;
  fs.set_capacity(200 << 20);
  DiskReserve reserve(fs, "/data/RESERVE", kReserve);
  REQUIRE(reserve.start());
  CHECK(reserve.held());
  CHECK(reserve.bytes() == kReserve);
  CHECK(fs.used_bytes() == kReserve);
  fs.set_capacity(kReserve);
  CHECK(reserve.release());
  CHECK(!reserve.held());
  CHECK(reserve.bytes() == 0);
  CHECK(fs.used_bytes() == 0);
  CHECK(!reserve.release());
  fs.set_capacity(kStart + 2 * kReserve - 1);
  reserve.check();
  CHECK(!reserve.held());
  fs.set_capacity(kStart + 2 * kReserve);
  reserve.check();
  CHECK(reserve.held());
  CHECK(fs.used_bytes() == kReserve);
}

TEST_CASE("the reserve of a life before is taken over, and given up at once where nothing else is free") {
  MemoryFileSystem fs;
  REQUIRE(fs.create_dirs("/data"));
  const auto start = [&](uint64_t bytes) {
    DiskReserve reserve(fs, "/data/RESERVE", bytes);
    REQUIRE(reserve.start());
    return std::pair(reserve.held(), reserve.bytes());
  };
  fs.set_capacity(100 << 20);
  CHECK(start(~0ull) == std::pair(true, uint64_t{1 << 20}));  // a hundredth
  CHECK(start(~0ull) == std::pair(true, uint64_t{1 << 20}));
  CHECK(start(512 << 10) == std::pair(true, uint64_t{512 << 10}));
  fs.set_capacity(fs.used_bytes() + 1000);
  CHECK(start(512 << 10) == std::pair(false, uint64_t{0}));
  CHECK(fs.used_bytes() == 0);
  fs.set_capacity(100 << 20);
  CHECK(start(0) == std::pair(true, uint64_t{0}));
  CHECK(fs.exists("/data/RESERVE") == Result<bool>(false));
}

TEST_CASE("a flush that finds no space tries again at once when some was made, and otherwise until there is some") {
  TabletFixture f;
  f.options.compression = Compression::kNone;
  REQUIRE(f.open());
  for (uint64_t i = 1; i <= 20; ++i) put(f.tablet(), i, "key" + std::to_string(i), std::string(1000, 'x'));
  f.fs.set_capacity(f.fs.used_bytes() + 2000);
  f.make_room = [&f, reserve = true]() mutable {
    if (reserve) f.fs.set_capacity(f.fs.used_bytes() + (60 << 10));
    return std::exchange(reserve, false);
  };
  f.tablet()->flush();
  f.machine.settle();
  CHECK(f.store->has_room());
  CHECK(f.tablet()->flushed().index == LogIndex{20});
  for (uint64_t i = 21; i <= 80; ++i) put(f.tablet(), i, "key" + std::to_string(i), std::string(1000, 'x'));
  f.tablet()->flush();
  f.machine.settle();
  CHECK(!f.store->has_room());
  CHECK(f.tablet()->stats().health.condition == TabletCondition::kReadOnly);
  f.fs.set_capacity(~0ull);
  while (!f.store->has_room()) {  // compactions have timers of their own
    REQUIRE(f.machine.loop.fire_timer());
    f.machine.settle();
  }
  CHECK(f.tablet()->stats().health.condition == TabletCondition::kOk);
}

}  // namespace cairn::storage
