// Reads for which a thread of the kernel polls: they bring what File::read_cached() would.
#include "server/runtime/polled_reads.h"

#include <catch2/catch.hpp>

#include "base/random.h"
#include "storage/io/memory_file_system.h"
#include "storage/io/real_file_system.h"
#include "test/unit/shell/temp_file.h"

namespace cairn::server {
namespace {

constexpr uint64_t kLook = ReadPolling::kReadsPerLook;

struct HandClock final : Clock {
  Instant now() const override { return at; }
  uint64_t wall_ms() const override { return at / kMillisecond; }
  Instant at = kSecond;
};

// Reads that come one after another, so many a second.
struct Reads {
  ReadPolling polling;
  Instant now = kSecond;
  bool spare = true;

  // How many of them would be polled for. `waits`: the share of the time that the loop waits for late answers if so.
  uint64_t polled(uint64_t reads, Duration apart, double waits = 0) {
    uint64_t polled = 0;
    for (uint64_t i = 0; i < reads; ++i) {
      now += apart;
      if (polling.counted()) {
        const auto waited = static_cast<Duration>(waits * static_cast<double>(kLook * apart));
        polling.look(now, spare, polling.polls() ? waited : 0);
      }
      polled += polling.polls();
    }
    return polled;
  }
};

}  // namespace

TEST_CASE("a processor polls for reads only while they come very often and nobody else wants it") {
  Reads reads;
  CHECK(reads.polled(10'000, 10 * kMicrosecond) == 0);
  CHECK(reads.polled(10'000, 4 * kMicrosecond) > 9'000);
  CHECK(reads.polled(10'000, 10 * kMicrosecond) < kLook);
  reads.polled(10'000, 4 * kMicrosecond);
  reads.spare = false;
  CHECK(reads.polled(10'000, 4 * kMicrosecond) < kLook);
  reads.spare = true;
  CHECK(reads.polled(10'000, 4 * kMicrosecond) > 9'000);
}

TEST_CASE("polling for reads pauses longer and longer where answers are late, and is tried again") {
  Reads reads;
  constexpr uint64_t kSecondOfReads = 250'000;
  CHECK(reads.polled(kSecondOfReads, 4 * kMicrosecond, 0.1) > kSecondOfReads * 9 / 10);  // now and then is nothing
  const uint64_t first = reads.polled(kSecondOfReads, 4 * kMicrosecond, 0.5);
  CHECK(first < kSecondOfReads / 10);
  CHECK(reads.polled(4 * kSecondOfReads, 4 * kMicrosecond, 0.5) < first);
  CHECK(reads.polled(2 * kSecondOfReads, 4 * kMicrosecond) > kSecondOfReads / 2);
}

TEST_CASE("polled reads bring the same bytes, short ones at the end of the file too") {
  const TempFile temp(3 << 20);
  const auto fs = storage::make_real_file_system();
  const auto file = fs->open(temp.path, storage::OpenMode::kRead).value();
  HandClock clock;  // stands still: reads could not come faster
  bool spare = true;
  PolledReads reads(clock, [&spare] { return spare; });
  SeededRandom random(1);
  std::string buffer;
  const auto check = [&](uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t offset = random.below(temp.content.size() + 1000);
      buffer.assign(1 + random.below(9000), '\0');
      const auto got = reads.read(*file, offset, buffer);
      REQUIRE(got);
      if (!*got) continue;  // not in memory: allowed, however unlikely right after writing
      const std::string_view wanted =
          std::string_view(temp.content).substr(std::min<size_t>(offset, temp.content.size()), buffer.size());
      REQUIRE(std::string_view(buffer).substr(0, **got) == wanted);
    }
  };
  check(kLook - 1);
  CHECK(reads.polled() == 0);
  check(20 * kLook);
  const uint64_t polled = reads.polled();  // none where the kernel refuses, or there is one processor only
  CHECK((polled == 0 || polled > kLook));
  spare = false;
  check(2 * kLook);
  CHECK(reads.polled() <= polled + kLook);
}

TEST_CASE("files that no kernel knows are read the plain way") {
  storage::MemoryFileSystem fs;
  const auto file = fs.open("rows", storage::OpenMode::kCreateNew).value();
  REQUIRE(file->write_at(0, "0123456789"));
  HandClock clock;
  PolledReads reads(clock, [] { return true; });
  std::string buffer(4, '\0');
  for (uint64_t i = 0; i < 3 * kLook; ++i) {
    const auto got = reads.read(*file, i % 7, buffer);
    REQUIRE(got);
    REQUIRE(*got == std::optional<size_t>(4));
    REQUIRE(buffer == std::string("0123456789").substr(i % 7, 4));
  }
  CHECK(reads.polled() == 0);
}

}  // namespace cairn::server
