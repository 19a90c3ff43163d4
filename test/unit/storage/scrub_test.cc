// Checking all SSTables while they are in use: what is found, how fast, and what ends it.
#include <catch2/catch.hpp>

#include <unistd.h>

#include "storage/compaction/output_job.h"
#include "storage/io/real_file_system.h"
#include "storage/sstable/table_scrub.h"
#include "tablet_fixture.h"

namespace cairn::storage {
namespace {

using test::put;
using test::TabletFixture;
using State = ScrubStatus::State;

// Some SSTables of one tablet, that no compaction touches.
void fill(TabletFixture& f, uint64_t range = 1, int tables = 3) {
  f.options.compression = Compression::kNone;
  f.options.memtable_bytes = 1 << 20;
  f.options.strategy = StrategyKind::kStcs;
  f.options.compaction.stcs.min_threshold = 30;
  REQUIRE(f.open());
  uint64_t index = 0;
  for (int run = 0; run < tables; ++run) {
    for (int i = 0; i < 100; ++i) {
      put(f.tablet(range), ++index, "key" + std::to_string(i * 37 % 100) + "/" + std::to_string(run),
          std::string(300, 'v'));
    }
    f.tablet(range)->flush();
    f.machine.settle();
  }
  REQUIRE(f.tablet(range)->tables().size() == static_cast<size_t>(tables));
}

std::string file_of(const SstableInfo& info) { return sstable_path("/data/sst", info.id); }

// Until nothing moves any more, timers included.
void run_out(TabletFixture& f) {
  do {
    f.machine.settle();
  } while (f.machine.loop.fire_timer());
}

}  // namespace

TEST_CASE("a scrub reads every byte of every SSTable, from the device, and finds nothing wrong with sound ones") {
  TabletFixture f;
  fill(f);
  CHECK(f.store->scrub_status().state == State::kNever);
  const uint64_t misses = f.store->metrics().cache_misses.get();
  std::map<std::string, uint64_t> direct;
  f.faulty.set_policy(
      {.after_read = [&](const std::string& path, uint64_t, std::span<char>, size_t& got) { direct[path] += got; }});
  REQUIRE(f.store->scrub({{1}}));
  CHECK_FALSE(f.store->scrub({{1}}));
  run_out(f);
  f.faulty.set_policy({});
  const ScrubStatus& status = f.store->scrub_status();
  CHECK(status.state == State::kDone);
  CHECK(status.files == 3);
  CHECK(status.files_done == 3);
  CHECK(status.bytes == f.tablet()->stats().sstable_bytes);
  CHECK(status.bytes_done == status.bytes);
  CHECK(status.errors == 0);
  CHECK(status.ended_ms >= status.started_ms);
  CHECK(f.store->metrics().scrubs.get() == 1);
  CHECK(f.store->metrics().scrubbed_bytes.get() == status.bytes);
  CHECK(f.store->metrics().cache_misses.get() == misses);
  for (const SstableInfo& info : f.tablet()->tables()) CHECK(direct[file_of(info)] >= info.bytes);
  CHECK(f.store->scrub({{1}}));  // and once more
}

TEST_CASE("no bit of an SSTable can flip without a scrub telling it, and the tablet stops serving") {
  TabletFixture probe;
  fill(probe, 1, 1);
  const uint64_t bits = probe.tablet()->tables()[0].bytes * 8;
  SeededRandom random(7);
  for (int round = 0; round < 60; ++round) {
    // The footer, the blocks of the end, and rows.
    const uint64_t bit = round < 20 ? bits - 1 - random.below(64 * 8) : random.below(bits);
    INFO("bit " << bit << " of " << bits);
    TabletFixture f;
    fill(f, 1, 2);
    const SstableInfo damaged = f.tablet()->tables()[1];
    REQUIRE(f.fs.flip_bit(file_of(damaged), std::min(bit, damaged.bytes * 8 - 1)));
    REQUIRE(f.store->scrub({{1}}));
    run_out(f);
    const ScrubStatus& status = f.store->scrub_status();
    CHECK(status.state == State::kDone);
    CHECK(status.errors == 1);
    REQUIRE(status.findings.size() == 1);
    CHECK(status.findings[0].range == RangeId{1});
    CHECK(status.findings[0].damage.find(file_of(damaged)) != std::string::npos);
    CHECK(status.files_done == 2);
    CHECK(f.store->metrics().scrub_errors.get() == 1);
    CHECK(f.tablet()->stats().corrupt);
    REQUIRE(f.corruptions.size() == 1);
    CHECK(f.corruptions[0].first == RangeId{1});
    CHECK(f.tablet()->get("key1/0").state == Lookup::State::kNeedsDisk);
  }
}

TEST_CASE("damage of one tablet leaves the others alone") {
  TabletFixture f;
  fill(f);
  put(f.tablet(2), 1, "k", "v");
  f.tablet(2)->flush();
  f.machine.settle();
  REQUIRE(f.fs.flip_bit(file_of(f.tablet(1)->tables()[0]), 99));
  REQUIRE(f.store->scrub({{1}, {2}}));
  run_out(f);
  CHECK(f.store->scrub_status().files_done == 4);
  CHECK(f.tablet(1)->stats().corrupt);
  CHECK_FALSE(f.tablet(2)->stats().corrupt);
  CHECK(f.read(f.tablet(2), "k") == "v");
}

TEST_CASE("a scrub keeps to its rate, which may change while it runs") {
  TabletFixture f;
  f.options.block_bytes = 1 << 10;
  f.options.memtable_bytes = 8 << 20;
  f.options.compression = Compression::kNone;
  f.options.scrub_bytes_per_second = 1 << 20;
  REQUIRE(f.open());
  for (uint64_t i = 1; i <= 4000; ++i) put(f.tablet(), i, "key" + std::to_string(i), std::string(1000, 'v'));
  f.tablet()->flush();
  f.machine.settle();
  const auto seconds = [&](uint64_t rate) {
    f.store->set_scrub_rate(rate);
    const Instant begin = f.machine.clock.now();
    REQUIRE(f.store->scrub({{1}}));
    run_out(f);
    REQUIRE(f.store->scrub_status().state == State::kDone);
    return static_cast<double>(f.machine.clock.now() - begin) / kSecond;
  };
  const double bytes = static_cast<double>(f.tablet()->stats().sstable_bytes);
  for (const uint64_t rate : {1u << 20, 8u << 20}) {
    const double wanted = bytes / static_cast<double>(rate);
    CHECK(seconds(rate) == Approx(wanted).epsilon(0.05).margin(0.06));
  }
}

TEST_CASE("a scrub that is cancelled or loses its tablet stops") {
  TabletFixture f;
  fill(f);
  REQUIRE(f.store->scrub({{1}}));
  SECTION("cancelled") {
    for (int i = 0; i < 4; ++i) f.machine.step();
    CHECK(f.store->cancel_scrub());
    CHECK_FALSE(f.store->cancel_scrub());
    run_out(f);
    CHECK(f.store->scrub_status().state == State::kCancelled);
    CHECK(f.store->metrics().scrubs.get() == 0);
    CHECK(f.store->scrub({{1}}));
    run_out(f);
    CHECK(f.store->scrub_status().state == State::kDone);
  }
  SECTION("dropped") {
    REQUIRE(f.store->drop({1}));
    run_out(f);
    CHECK(f.store->scrub_status().state == State::kDone);
    CHECK(f.store->scrub_status().errors == 0);
    CHECK(f.fs.list("/data/sst")->empty());
  }
  SECTION("compacted") {
    f.tablet()->compact([](Result<void>) {});
    run_out(f);
    CHECK(f.store->scrub_status().state == State::kDone);
    CHECK(f.store->scrub_status().files_done == 3);
    CHECK(f.store->scrub_status().errors == 0);
    CHECK(f.fs.list("/data/sst")->size() == f.tablet()->tables().size());
  }
  SECTION("the store goes") {
    f.machine.step();
    f.store.reset();
    run_out(f);
  }
}

TEST_CASE("what a device does not give back for seconds is damage; what cannot be opened is not judged") {
  TabletFixture f;
  fill(f);
  const std::string path = file_of(f.tablet()->tables()[1]);
  int failures = 0;
  bool damage = false;
  const Error broken{ErrorCode::kIoError, "the device says no"};
  SECTION("once") {
    f.faulty.set_policy({.fail = [&](FileOp op, const std::string& p) {
      return op == FileOp::kRead && p == path && failures++ == 5 ? std::optional(broken) : std::nullopt;
    }});
  }
  SECTION("always") {
    damage = true;
    f.faulty.set_policy({.fail = [&](FileOp op, const std::string& p) {
      return op == FileOp::kRead && p == path && failures++ >= 5 ? std::optional(broken) : std::nullopt;
    }});
  }
  SECTION("not opened") {
    f.faulty.set_policy({.fail = [&](FileOp op, const std::string& p) {
      return op == FileOp::kOpen && p == path ? std::optional(broken) : std::nullopt;
    }});
    failures = 6;
  }
  REQUIRE(f.store->scrub({{1}}));
  run_out(f);
  CHECK(failures > 5);
  CHECK(f.store->scrub_status().state == State::kDone);
  CHECK(f.store->scrub_status().files_done == 3);
  CHECK(f.tablet()->stats().corrupt == damage);
  f.faulty.set_policy({});
}

TEST_CASE("a block that only memory has damaged is read from the device again") {
  TabletFixture f;
  fill(f);
  const std::string path = file_of(f.tablet()->tables()[0]);
  int reads = 0;
  f.faulty.set_policy({.after_read = [&](const std::string& p, uint64_t, std::span<char> data, size_t& got) {
    if (p == path && got > 40 && ++reads == 1) data[40] ^= 1;
  }});
  f.fs.set_cold(true);
  CHECK(f.read(f.tablet(), "key1/2") == std::string(300, 'v'));
  f.faulty.set_policy({});
  CHECK(reads == 2);
  CHECK_FALSE(f.tablet()->stats().corrupt);
}

TEST_CASE("direct reads give the same bytes as others, at any offset") {
  const auto fs = make_real_file_system();
  const std::string dir = "/tmp/cairn-direct-" + std::to_string(::getpid());
  REQUIRE(fs->create_dirs(dir));
  const std::string path = join_path(dir, "f");
  std::string bytes(700'001, '\0');
  SeededRandom random(3);
  for (char& c : bytes) c = static_cast<char>(random.next());
  {
    auto file = fs->open(path, OpenMode::kCreateNew);
    REQUIRE(file);
    REQUIRE((*file)->write_at(0, bytes));
    REQUIRE((*file)->sync());
  }
  auto file = fs->open(path, OpenMode::kReadDirect);
  REQUIRE(file);
  CHECK(*(*file)->size() == bytes.size());
  for (int i = 0; i < 200; ++i) {
    const uint64_t offset = random.below(bytes.size() + 5000);
    std::string out(random.below(i < 100 ? 10'000 : 600'000), '\0');
    const auto got = (*file)->read_at(offset, out);
    REQUIRE(got);
    const std::string expected = offset < bytes.size() ? bytes.substr(offset, out.size()) : "";
    REQUIRE(*got == expected.size());
    CHECK(out.substr(0, *got) == expected);
  }
  REQUIRE(remove_tree(*fs, dir));
}

}  // namespace cairn::storage
