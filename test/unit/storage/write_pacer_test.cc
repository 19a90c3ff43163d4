#include <catch2/catch.hpp>

#include "storage/write_pacer.h"

namespace cairn::storage {
namespace {

constexpr uint64_t kMegabyte = 1u << 20;

WritePressure lagging() {
  WritePressure pressure;
  pressure.limit_bytes = 128 * kMegabyte;
  pressure.used_bytes = 64 * kMegabyte;
  pressure.sealed_bytes = 64 * kMegabyte;
  pressure.flush_rate = 128.0 * kMegabyte;
  return pressure;
}

// Writes for one flush that takes `flush_time`, at a time of `own` each. The longest wait, and what memory came to.
struct Paced {
  Duration longest = 0;
  uint64_t used = 0;
  uint64_t writes = 0;
};
Paced pace_one_flush(WritePressure pressure, Duration flush_time, Duration own) {
  WritePacer pacer(100 * kMicrosecond);
  Paced result;
  Instant now = kSecond;
  const Instant begun = now;
  while (now - begun < flush_time) {
    pressure.flushing = now - begun;
    const double delay = write_delay_ns_per_byte(pressure);
    const Duration wait = pacer.wait(delay, now);
    result.longest = std::max(result.longest, wait);
    now += wait + own;
    pacer.wrote(136, delay, now);
    pressure.used_bytes += 200;
    ++result.writes;
  }
  result.used = pressure.used_bytes;
  return result;
}

}  // namespace

TEST_CASE("writes are not delayed while nothing waits to be flushed") {
  WritePressure pressure = lagging();
  pressure.sealed_bytes = 0;
  CHECK(write_delay_ns_per_byte(pressure) == 0);
  pressure.used_bytes = 2 * pressure.limit_bytes;
  CHECK(write_delay_ns_per_byte(pressure) == 0);
}

TEST_CASE("the room that is left is spread over what the flush still takes") {
  WritePressure pressure = lagging();
  const double whole = 0.5e9 / (64.0 * kMegabyte);
  CHECK(write_delay_ns_per_byte(pressure) == Approx(whole));
  pressure.flushing = 250 * kMillisecond;
  CHECK(write_delay_ns_per_byte(pressure) == Approx(whole / 2));
  pressure.used_bytes += 32 * kMegabyte;  // half of the time, half of the room
  CHECK(write_delay_ns_per_byte(pressure) == Approx(whole));
  pressure.flushing = 10 * kSecond;  // later than expected: still a quarter of the time to go
  CHECK(write_delay_ns_per_byte(pressure) == Approx(whole / 2));
}

TEST_CASE("the delay grows without a step up to the slowest pace") {
  WritePressure pressure = lagging();
  double last = write_delay_ns_per_byte(pressure);
  for (; pressure.used_bytes < pressure.limit_bytes + kMegabyte; pressure.used_bytes += 4096) {
    const double delay = write_delay_ns_per_byte(pressure);
    REQUIRE(delay >= last);
    REQUIRE(delay <= kSlowestNsPerByte);
    last = delay;
  }
  CHECK(last == kSlowestNsPerByte);
  pressure.flush_rate = 0;
  CHECK(write_delay_ns_per_byte(pressure) == kSlowestNsPerByte);
}

TEST_CASE("flushes slower than writes delay every write a little and none for long") {
  const WritePressure pressure = lagging();
  // As fast as expected, and as slow as half of that: memory would be full after 300 ms.
  for (const Duration flush_time : {500 * kMillisecond, 1000 * kMillisecond}) {
    const Paced paced = pace_one_flush(pressure, flush_time, kMicrosecond);
    CHECK(paced.longest < 300 * kMicrosecond);
    CHECK(paced.used < pressure.limit_bytes);
    CHECK(paced.used > pressure.limit_bytes - 8 * kMegabyte);  // what could be let through was
  }
  const Paced late = pace_one_flush(pressure, 2000 * kMillisecond, kMicrosecond);
  CHECK(late.longest <= 5 * kMillisecond);
  CHECK(late.used < pressure.limit_bytes + kMegabyte / 8);
}

TEST_CASE("writes slower than flushes are never delayed") {
  const Paced paced = pace_one_flush(lagging(), 500 * kMillisecond, 2 * kMicrosecond);
  CHECK(paced.longest == 0);
}

TEST_CASE("a pacer saves short waits up, bounds long ones and forgets what is owed when there is no delay") {
  WritePacer pacer(kMillisecond);
  const Instant now = 5 * kSecond;
  pacer.wrote(936, 100, now);
  CHECK(pacer.wait(100, now) == 0);  // 100 us
  for (int i = 0; i < 10; ++i) pacer.wrote(936, 100, now);
  CHECK(pacer.wait(100, now) == 1100 * kMicrosecond);
  CHECK(pacer.wait(100, now + kMillisecond) == 100 * kMicrosecond);  // to the end, once it is waited for
  CHECK(pacer.wait(100, now + 1100 * kMicrosecond) == 0);
  pacer.wrote(936, 100, now + 1200 * kMicrosecond);  // saved up anew, though nobody asked meanwhile
  CHECK(pacer.wait(100, now + 1200 * kMicrosecond) == 0);
  pacer.wrote(64u << 20, 1000, now);
  CHECK(pacer.wait(1000, now) == WritePacer::kOwedMax);
  CHECK(pacer.wait(0, now) == 0);
  CHECK(pacer.wait(1000, now) == 0);
}

TEST_CASE("the rate of flushes follows the last ones") {
  FlushRate rate;
  CHECK(rate.bytes_per_second() == Approx(256.0 * kMegabyte));
  for (int i = 0; i < 12; ++i) rate.flushed(64 * kMegabyte, kSecond);
  CHECK(rate.bytes_per_second() == Approx(64.0 * kMegabyte).epsilon(0.03));
  for (int i = 0; i < 12; ++i) rate.flushed(64 * kMegabyte, 500 * kMillisecond);
  CHECK(rate.bytes_per_second() == Approx(128.0 * kMegabyte).epsilon(0.03));
}

}  // namespace cairn::storage
