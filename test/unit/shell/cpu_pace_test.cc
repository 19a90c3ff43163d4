#include "server/runtime/cpu_pace.h"

#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>

namespace cairn::server {
namespace {

// Others that use `served` processors the whole time, and slices of background work of `slice`, one after another with
// the rests between them.
struct Machine {
  CpuPace pace;
  double served = 0;
  Duration slice = kMillisecond;
  double longest = CpuPace::kLowRestMax;
  Instant now = kSecond;
  Duration all = 0, background = 0;

  void pass(Duration time, Duration worked) {
    now += time;
    all += static_cast<Duration>(served * static_cast<double>(time)) + worked;
    background += worked;
  }
  // Returns the share of a processor that the background had.
  double run(Duration time) {
    const Instant begun = now;
    const Duration before = background;
    while (now < begun + time) {
      pass(slice, slice);
      pass(pace.rest(now, static_cast<Duration>(longest * static_cast<double>(slice)), all, background), 0);
    }
    return static_cast<double>(background - before) / static_cast<double>(now - begun);
  }
};

}  // namespace

TEST_CASE("background work leaves the headroom idle while somebody is served") {
  const double served = GENERATE(0.2, 0.9, 1.0, 1.3);
  const Duration slice = GENERATE(200 * kMicrosecond, kMillisecond, 4 * kMillisecond);
  Machine machine{CpuPace({.processors = 2, .headroom = 0.12}), served, slice};
  machine.run(200 * kMillisecond);
  CHECK(machine.run(kSecond) == Approx(std::min(2 * 0.88 - served, 1.0)).margin(0.02));
  // In every tenth of a second too: quotas count by such periods.
  for (int period = 0; period < 10; ++period) CHECK(machine.run(100 * kMillisecond) + served < 2 * 0.88 + 0.1);
}

TEST_CASE("background work that nobody waits for, or that is to leave nothing idle, never rests") {
  Machine alone{CpuPace({.processors = 1, .headroom = 0.12}), 0.05};
  CHECK(alone.run(kSecond) == 1);
  Machine greedy{CpuPace({.processors = 1, .headroom = 0}), 1.0};
  CHECK(greedy.run(kSecond) == 1);
}

TEST_CASE("a quarter of a processor is left for low jobs however much others use, three for high ones") {
  Machine machine{CpuPace({.processors = 2, .headroom = 0.12}), 2.0};
  machine.run(200 * kMillisecond);
  CHECK(machine.run(kSecond) == Approx(0.25).margin(0.01));
  machine.longest = CpuPace::kHighRestMax;
  CHECK(machine.run(kSecond) == Approx(0.75).margin(0.01));
}

TEST_CASE("rests end soon after others have stopped") {
  Machine machine{CpuPace({.processors = 2, .headroom = 0.12}), 1.9};
  machine.run(kSecond);
  machine.served = 0;
  machine.run(200 * kMillisecond);
  CHECK(machine.run(100 * kMillisecond) == 1);
}

TEST_CASE("time that was not used is saved up for a few milliseconds only") {
  Machine machine{CpuPace({.processors = 1, .headroom = 0.5}), 0.2};
  machine.run(100 * kMillisecond);
  machine.pass(10 * kSecond, 0);  // nothing to do in the background
  const double share = machine.run(100 * kMillisecond);
  CHECK(share < 0.3 + 0.1);
  CHECK(share > 0.3);
}

TEST_CASE("usable processors: the smallest quota of the groups that a process is in, in both versions") {
  const double bound_to = usable_processors("/nowhere", "/nowhere");
  REQUIRE(bound_to >= 1);
  const std::string dir = std::filesystem::temp_directory_path() / ("cairn-cpu-pace-" + std::to_string(::getpid()));
  const auto file = [&](const std::string& name, const std::string& content) {
    std::filesystem::create_directories(std::filesystem::path(dir + name).parent_path());
    std::ofstream(dir + name) << content;
  };
  const auto usable = [&](const std::string& memberships) {
    file("/self", memberships);
    return usable_processors(dir + "/self", dir);
  };
  file("/a/cpu.max", "75000 100000\n");
  file("/a/b/cpu.max", "max 100000\n");
  file("/a/b/c/cpu.max", "90000 100000\n");
  CHECK(usable("0::/a/b/c\n") == 0.75);
  CHECK(usable("0::/a/b\n") == 0.75);
  CHECK(usable("0::/\n") == bound_to);
  CHECK(usable("0::/nobody\n") == bound_to);
  file("/cpu.max", "50000 200000\n");
  CHECK(usable("0::/a/b/c\n") == 0.25);
  file("/cpu/one/cpu.cfs_quota_us", "20000\n");
  file("/cpu/one/cpu.cfs_period_us", "200000\n");
  file("/cpu/two/cpu.cfs_quota_us", "-1\n");
  file("/cpu/two/cpu.cfs_period_us", "100000\n");
  CHECK(usable("5:cpuacct:/one\n4:cpu,cpuset:/one\n") == 0.1);
  CHECK(usable("4:cpuset:/one\n") == bound_to);
  CHECK(usable("4:cpu:/two\n") == bound_to);
  CHECK(usable("garbage\n4:cpu\n") == bound_to);
  std::filesystem::remove_all(dir);
}

}  // namespace cairn::server
