#include "storage/io/io_pace.h"

#include <catch2/catch.hpp>

#include "test/unit/storage/tablet_fixture.h"

namespace cairn::storage {
namespace {

constexpr IoPaceOptions kOptions{.target = 2 * kMillisecond, .rate_min = 4u << 20, .rate_max = 256u << 20};

// A device on simulated time: reads take longer the more the background moves.
struct Device {
  IoPace pace{kOptions};
  Instant now = kSecond;
  uint64_t moved = 0;

  // For `span`, a read every 5 ms that takes `base`, and `per_rate` more for every MiB/s that the background moves.
  void run(Duration span, bool reads, Duration base, Duration per_rate) {
    const Instant end = now + span;
    Instant next_read = now;
    while (now < end) {
      if (reads && now >= next_read) {
        const Duration took = base + per_rate * (pace.rate() >> 20);
        pace.read_began(now);
        pace.read_ended(now + took, took);
        next_read = now + 5 * kMillisecond;
      }
      if (pace.wait(now) == 0) {
        pace.moved(now, 256 << 10);
        moved += 256 << 10;
      }
      now += kMillisecond;
    }
  }
};

}  // namespace

TEST_CASE("background I/O is not limited while no read is waited for") {
  Device device;
  device.run(10 * kSecond, false, 0, 0);
  CHECK(device.moved == (10'000ull * 256) << 10);  // a slice in every turn
  CHECK_FALSE(device.pace.limits(device.now));
  CHECK(device.pace.rate() == kOptions.rate_max);
}

TEST_CASE("slow reads take the rate down to its lower bound, quick ones up again") {
  Device device;
  device.run(10 * kSecond, true, 3 * kMillisecond, 0);
  CHECK(device.pace.rate() == kOptions.rate_min);
  const uint64_t before = device.moved;
  device.run(10 * kSecond, true, 3 * kMillisecond, 0);
  const double second = static_cast<double>(device.moved - before) / 10;
  CHECK(second == Approx(kOptions.rate_min).epsilon(0.05));
  device.run(kSecond, true, kMillisecond, 0);
  CHECK(device.pace.rate() < kOptions.rate_max);
  CHECK(device.pace.rate() > kOptions.rate_max / 8);
  device.run(10 * kSecond, true, kMillisecond, 0);
  CHECK(device.pace.rate() == kOptions.rate_max);
}

TEST_CASE("where reads get slower by what the background moves, the rate settles about the target") {
  Device device;
  // 2 ms are reached at 64 MiB/s.
  device.run(20 * kSecond, true, 720 * kMicrosecond, 20 * kMicrosecond);
  uint64_t least = ~0ull, most = 0;
  for (int i = 0; i < 100; ++i) {
    device.run(100 * kMillisecond, true, 720 * kMicrosecond, 20 * kMicrosecond);
    least = std::min(least, device.pace.rate());
    most = std::max(most, device.pace.rate());
  }
  CHECK(most <= (65u << 20) + kOptions.rate_max / 32);  // whole MiB a second slow reads down
  CHECK(least >= (64u << 20) * 7 / 10 - (1 << 20));
}

TEST_CASE("one slow read of many changes nothing, and what was owed is forgiven once nobody waits") {
  IoPace pace(kOptions);
  Instant now = kSecond;
  for (int i = 0; i < 200; ++i) {
    pace.read_began(now);
    pace.read_ended(now, i % 50 == 0 ? kSecond : kMicrosecond);
    now += kMillisecond;
  }
  CHECK(pace.rate() == kOptions.rate_max);
  pace.moved(now, 1 << 30);
  CHECK(pace.wait(now) == IoPace::kWaitMax);
  CHECK(pace.wait(now + 2 * kOptions.interval) == 0);
  pace.read_began(now + kSecond);  // it lasts: the limit holds however long
  pace.moved(now + 5 * kSecond, 512 << 20);
  CHECK(pace.wait(now + 5 * kSecond) > 0);
}

TEST_CASE("options of I/O that make no sense are refused") {
  CHECK(IoPaceOptions{}.validate());
  CHECK_FALSE(IoPaceOptions{.target = 0}.validate());
  CHECK_FALSE(IoPaceOptions{.rate_min = 1}.validate());
  CHECK_FALSE(IoPaceOptions{.rate_min = 8 << 20, .rate_max = 4 << 20}.validate());
  CHECK_FALSE(IoPaceOptions{.interval = 0}.validate());
}

TEST_CASE("a compaction waits for its turn while a read from the device is under way, and ends all the same") {
  // A device that answers when the test says so.
  struct Reader final : AsyncReader {
    void read(const File&, uint64_t, std::span<char>, Done done) override { waiting.push_back(std::move(done)); }
    std::vector<Done> waiting;
  } reader;
  test::TabletFixture f;
  f.reader = &reader;
  f.options.strategy = StrategyKind::kStcs;
  f.options.block_cache_bytes = 1;
  f.options.io = {.rate_min = 1u << 20, .rate_max = 1u << 20};
  f.options.memtable_bytes = 8 << 20;
  f.options.memtable_budget_bytes = 64 << 20;
  f.options.compression = Compression::kNone;
  REQUIRE(f.open());
  Tablet* tablet = f.tablet();
  uint64_t index = 0;
  const auto flush_some = [&] {
    for (int i = 0; i < 400; ++i) {
      WriteBatch batch;
      batch.put("key" + std::to_string(i), std::string(1000, static_cast<char>('a' + index % 26)));
      ++index;
      REQUIRE(tablet->apply({{index}, {1}, index, index}, batch.bytes()));
    }
    tablet->flush();
    f.machine.settle();
  };
  flush_some();
  flush_some();
  f.machine.settle();
  // The memory file system has everything at hand, so the row is fetched as what it would be without it.
  FetchRequest request;
  request.rows = {"key5"};
  bool answered = false;
  tablet->fetch(std::move(request), [&](const Result<FetchResult>& result) { answered = !result; });
  f.machine.settle();
  REQUIRE(reader.waiting.size() >= 1);
  REQUIRE(f.store->gauges().io_limited);
  const Instant began = f.machine.clock.now();
  const uint64_t before = f.store->metrics().bytes_compacted_out.get();
  flush_some();  // the third run of a size
  while (f.machine.loop.fire_timer()) f.machine.settle();
  const uint64_t written = f.store->metrics().bytes_compacted_out.get() - before;
  REQUIRE(written > 300'000);
  CHECK(f.store->metrics().io_waits.get() > 0);
  CHECK(f.machine.clock.now() - began > kSecond);  // 1.6 MB at 1 MiB/s
  CHECK(f.store->metrics().io_wait_ns.get() > kSecond / 2);
  for (auto& done : std::exchange(reader.waiting, {})) done(Error{ErrorCode::kIoError, "the device is gone"});
  f.machine.settle();
  CHECK(answered);
}

}  // namespace cairn::storage
