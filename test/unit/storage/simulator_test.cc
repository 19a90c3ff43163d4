// Bands for what the strategies cost, and the engine held against the simulator.
#include <catch2/catch.hpp>

#include <cmath>

#include "engine_amplification.h"

namespace cairn::storage {
namespace {

constexpr uint64_t kRows = 64;  // of a memtable

SimulatorResult run(StrategyKind kind, Workload workload, uint64_t k_over_m) {
  return simulate(simulator_options(kind, k_over_m * kRows, kRows, 128), workload, k_over_m * kRows);
}

}  // namespace

TEST_CASE("size-tiered writes once per tier, and overwrites make it large") {
  for (const uint64_t flushes : {64, 512}) {
    const auto inserts = run(StrategyKind::kStcs, Workload::kInsert, flushes);
    INFO(flushes << " flushes: " << inserts.write_amp);
    CHECK(std::abs(inserts.write_amp - (1 + std::floor(std::log(flushes) / std::log(4)))) <= 0.3);
    CHECK(inserts.space_amp_mean <= 1.01);
    CHECK(inserts.space_amp_peak <= 2.05);
  }
  const auto small = run(StrategyKind::kStcs, Workload::kUniform, 64);
  CHECK(small.write_amp > 3.3);
  CHECK(small.write_amp < 4.3);
  const auto large = run(StrategyKind::kStcs, Workload::kUniform, 512);
  CHECK(large.write_amp > 4.5);
  CHECK(large.write_amp < 5.7);
  for (const auto& r : {small, large}) {
    CHECK(r.space_amp_mean > 1.6);
    CHECK(r.space_amp_mean < 2.5);
    CHECK(r.space_amp_peak > 2.5);
    CHECK(r.space_amp_peak < 4.6);
  }
}

TEST_CASE("leveled keeps little that is obsolete, and writes for it") {
  const auto small = run(StrategyKind::kLcs, Workload::kUniform, 64);
  const auto large = run(StrategyKind::kLcs, Workload::kUniform, 512);
  CHECK(small.write_amp > 7);
  CHECK(small.write_amp < 10);
  CHECK(large.write_amp > 11);
  CHECK(large.write_amp < 16.5);
  for (const auto& r : {small, large}) {
    CHECK(r.space_amp_mean <= 1.15);
    CHECK(r.space_amp_peak <= 1.35);
    CHECK(r.read_runs_mean < 6);
    CHECK(r.largest_job < 0.3);
  }
}

TEST_CASE("incremental meets its space goal, and needs hardly any temporary space") {
  for (const uint64_t k_over_m : {64, 512}) {
    const auto ics = run(StrategyKind::kIcs, Workload::kUniform, k_over_m);
    const auto stcs = run(StrategyKind::kStcs, Workload::kUniform, k_over_m);
    INFO("K/M " << k_over_m << ": write " << ics.write_amp << " space " << ics.space_amp_mean);
    CHECK(ics.space_amp_mean <= 1.25);
    CHECK(ics.space_amp_peak < 1.9);
    CHECK(ics.write_amp > 4.5);
    CHECK(ics.write_amp < 8.5);
    // A fragment is two memtables here.
    CHECK(ics.temp_bytes_peak <= 6 * 2 * kRows * 128);
    CHECK(ics.temp_bytes_peak * 2 < stcs.temp_bytes_peak);
    CHECK(ics.obsolete_bytes_mean < stcs.obsolete_bytes_mean / 2);
  }
}

TEST_CASE("time windows write twice, whatever a window holds, and expired ones go without being read") {
  // 4 and 16 flushes in a window; more than that are merged once before it closes.
  for (const uint64_t k_over_m : {64, 256}) {
    const auto ttl = run(StrategyKind::kTwcs, Workload::kTtl, k_over_m);
    INFO("K/M " << k_over_m << ": write " << ttl.write_amp << " space " << ttl.space_amp_mean);
    CHECK(ttl.write_amp <= 2.05);
    CHECK(ttl.space_amp_mean <= 1.15);
  }
}

TEST_CASE("deleted rows leave under every strategy") {
  for (const StrategyKind kind : kStrategyKinds) {
    if (kind == StrategyKind::kTwcs) continue;  // windows never meet
    const auto r = run(kind, Workload::kDelete, 64);
    INFO(to_string(kind) << " space " << r.space_amp_mean);
    CHECK(r.space_amp_mean < (kind == StrategyKind::kStcs ? 3 : 1.6));
  }
}

TEST_CASE("the engine costs what the simulator says, within 10 %, and at most takes as much space, within 25 %") {
  for (const Workload workload : kWorkloads) {
    for (const StrategyKind kind : kStrategyKinds) {
      const EngineComparison c = compare_with_engine(kind, workload, 64, 100);
      INFO(to_string(workload) << " " << to_string(kind) << ": write " << c.write_engine << " for " << c.write_simulator
                               << ", space " << c.space_engine << " for " << c.space_simulator << ", at most "
                               << c.peak_engine << " for " << c.peak_simulator);
      CHECK(std::abs(c.write_engine / c.write_simulator - 1) <= 0.1);
      CHECK(std::abs(c.space_engine / c.space_simulator - 1) <= 0.1);
      CHECK(std::abs(c.peak_engine / c.peak_simulator - 1) <= 0.25);
    }
  }
}

TEST_CASE("a tablet's estimate of its live bytes is close") {
  const EngineComparison c = compare_with_engine(StrategyKind::kStcs, Workload::kUniform, 4, 3000);
  INFO("estimated " << c.space_estimated << ", mean " << c.space_engine);
  CHECK(c.space_estimated > 1.0);
  CHECK(std::abs(c.space_estimated / c.space_end - 1) < 0.1);
}

}  // namespace cairn::storage
