// The same operations for the simulator and for a real tablet, and what each says they cost.
#pragma once

#include <charconv>

#include "storage/compaction/simulator.h"
#include "test/unit/storage/tablet_fixture.h"

namespace cairn::storage {

// As an engine with default options would do it, in small.
inline SimulatorOptions simulator_options(StrategyKind kind, uint64_t keys, uint64_t memtable_rows,
                                          uint64_t row_bytes) {
  SimulatorOptions options;
  options.strategy = kind;
  options.memtable_rows = memtable_rows;
  options.row_bytes = options.put_bytes = row_bytes;
  options.compaction = scaled({}, memtable_rows * row_bytes, std::max<uint64_t>(keys / 16, 1));
  return options;
}

struct EngineComparison {
  double write_engine = 0, write_simulator = 0;
  double space_engine = 0, space_simulator = 0;  // means; against what is really live
  double peak_engine = 0, peak_simulator = 0;    // of space, what compactions take meanwhile included
  double space_end = 0;                          // at the end
  double space_estimated = 0;                    // then, with the engine's own estimate of what is live
};

// A value begins with the time at which it dies, 20 digits.
inline uint64_t expiry_of_value(std::string_view, std::string_view value) {
  uint64_t expiry = 0;
  if (value.size() >= 20) std::from_chars(value.data(), value.data() + 20, expiry);
  return expiry;
}

inline EngineComparison compare_with_engine(StrategyKind kind, Workload workload, uint64_t k_over_m,
                                            uint64_t memtable_rows) {
  constexpr uint64_t kKeyBytes = 8, kValueBytes = 1000;
  const uint64_t keys = k_over_m * memtable_rows;
  SimulatorOptions options = simulator_options(kind, keys, memtable_rows, kKeyBytes + kValueBytes);
  options.block_bytes = 16 << 10;
  options.table_bytes = 500;  // footer, properties, index
  options.row_bytes += 6;     // filter, tag, offsets, time
  options.tombstone_bytes = kKeyBytes + 6;
  options.delete_bytes = kKeyBytes;
  CompactionSimulator simulator(options);
  test::TabletFixture f;
  f.options.memtable_bytes = f.options.memtable_budget_bytes = 1ull << 40;
  f.options.compression = Compression::kNone;
  f.options.delete_bytes_per_second = 0;  // no time passes
  f.options.block_bytes = static_cast<uint32_t>(options.block_bytes);
  f.options.strategy = kind;
  f.options.compaction = options.compaction;
  f.options.expiry = &expiry_of_value;
  (void)f.open();
  Tablet* tablet = f.tablet();
  WorkloadSource source(workload, keys, 1);
  Amplification before;
  EngineComparison out;
  double space = 0;
  uint64_t samples = 0, live = 0;
  std::string value(kValueBytes, 'x');
  for (uint64_t n = 0; n < source.end(); ++n) {
    if (n == source.warm_up()) {
      simulator.reset_measures();
      before = tablet->stats().amplification;
      space = 0;
      samples = 0;
      out.peak_engine = 0;
    }
    const SimulatedWrite write = source.next();
    const uint64_t flushes = simulator.flushes();
    simulator.write(write, source.now_ms());
    WriteBatch batch;
    if (write.deletes) {
      batch.remove(simulated_key(write.key));
    } else {
      std::string expiry = std::to_string(write.expiry_ms);
      value.replace(0, 20, std::string(20 - expiry.size(), '0') + expiry);
      batch.put(simulated_key(write.key), value);
    }
    // Flushes come where the simulator's do; those that end a window come by themselves.
    (void)tablet->apply({{n + 1}, {1}, source.now_ms(), n}, batch.bytes());
    if (simulator.flushes() == flushes) continue;
    if (simulator.memtable_empty()) tablet->flush();
    live = simulator.result().live_bytes;
    uint64_t most = 0;
    while (f.machine.step()) most = std::max(most, f.fs.used_bytes());
    if (live == 0) continue;
    out.peak_engine = std::max(out.peak_engine, static_cast<double>(most) / static_cast<double>(live));
    out.space_end = static_cast<double>(tablet->stats().sstable_bytes) / static_cast<double>(live);
    space += out.space_end;
    ++samples;
  }
  const Amplification after = tablet->stats().amplification;
  out.write_engine = static_cast<double>(after.flushed_bytes + after.compacted_out_bytes - before.flushed_bytes -
                                         before.compacted_out_bytes) /
                     static_cast<double>(after.user_bytes - before.user_bytes);
  const SimulatorResult result = simulator.result();
  out.write_simulator = result.write_amp;
  out.space_engine = samples == 0 ? 0 : space / static_cast<double>(samples);
  out.space_simulator = result.space_amp_mean;
  out.peak_simulator = result.space_amp_peak;
  out.space_estimated = after.space();
  return out;
}

}  // namespace cairn::storage
