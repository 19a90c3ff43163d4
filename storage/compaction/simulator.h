// Compaction without I/O: the strategies' own picks over tables that are lists of key numbers. Tells what a strategy
// costs under a load in seconds instead of days, and what the engine's counters ought to say.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/random.h"
#include "storage/compaction/strategy.h"

namespace cairn::storage {

enum class Workload : uint8_t {
  kUniform,  // overwrites, every key as likely
  kZipf,     // overwrites, key i with a likelihood of 1 / i
  kInsert,   // every key once, in random order
  kDelete,   // every second write deletes, every key as likely
  kTtl,      // every key once, dead after as many writes as there are keys
};
inline constexpr Workload kWorkloads[] = {Workload::kUniform, Workload::kZipf, Workload::kInsert, Workload::kDelete,
                                          Workload::kTtl};
std::string_view to_string(Workload workload);

struct SimulatedWrite {
  uint32_t key = 0;
  bool deletes = false;
  uint64_t expiry_ms = 0;  // 0: never
};

// Draws the writes of a load. Write n happens at n ms.
class WorkloadSource {
 public:
  WorkloadSource(Workload workload, uint64_t keys, uint64_t seed) : workload_(workload), keys_(keys), random_(seed) {}
  SimulatedWrite next();
  uint64_t now_ms() const { return now_ms_; }
  // Writes after which costs no longer change much, and at which to stop.
  uint64_t warm_up() const { return workload_ == Workload::kInsert ? 0 : 2 * keys_; }
  uint64_t end() const { return workload_ == Workload::kInsert ? keys_ : 6 * keys_; }

 private:
  uint32_t zipf();
  Workload workload_;
  uint64_t keys_;
  SeededRandom random_;
  uint64_t now_ms_ = 0;
};

struct SimulatorOptions {
  StrategyKind strategy = StrategyKind::kStcs;
  CompactionOptions compaction;  // see scaled()
  uint64_t memtable_rows = 128;  // a flush per so many distinct keys
  uint64_t row_bytes = 128;      // of a row in a table
  uint64_t tombstone_bytes = 16;
  uint64_t put_bytes = 128;     // of the user, for a row
  uint64_t delete_bytes = 16;   // and for a delete
  uint64_t table_bytes = 0;     // of a table beside its rows
  uint64_t block_bytes = 8192;  // of rows, at which a block ends
};

// The options of an engine whose memtables are of `memtable_bytes` instead of 64 MiB, windows of
// `window_ms`, and tombstones that may lie for 32 of these.
CompactionOptions scaled(const CompactionOptions& options, uint64_t memtable_bytes, uint64_t window_ms);

struct SimulatorResult {
  double write_amp = 0;       // bytes of flushes and compactions / bytes of the user
  double read_runs_mean = 0;  // sorted runs whose range holds a key
  double read_runs_max = 0;
  double space_amp_mean = 0;       // bytes of tables / live bytes, between compactions
  double space_amp_peak = 0;       // and within them
  uint64_t temp_bytes_peak = 0;    // that a compaction takes beyond its inputs
  double obsolete_bytes_mean = 0;  // of tables, not live
  double largest_job = 0;          // bytes written by it / live bytes then
  uint64_t live_bytes = 0;         // at the end
};

class CompactionSimulator {
 public:
  explicit CompactionSimulator(const SimulatorOptions& options);
  void write(const SimulatedWrite& write, uint64_t now_ms);
  void flush();
  void reset_measures();  // what follows counts
  SimulatorResult result() const;
  const std::vector<SstableInfo>& tables() const { return infos_; }
  uint64_t flushes() const { return flushes_; }
  bool memtable_empty() const { return memtable_.empty(); }

 private:
  struct Row {
    uint32_t key;
    bool deletes;
    uint64_t expiry_ms;
    uint64_t time_ms;
  };
  using Rows = std::vector<Row>;
  void compact();
  void apply(const CompactionPlan& plan);
  Rows merged(const std::vector<uint64_t>& inputs, uint64_t& oldest_run) const;
  void purge(Rows& rows, uint64_t oldest_run) const;
  bool older_may_hold(uint32_t key, uint64_t oldest_run) const;
  std::vector<SstableInfo> cut(Rows rows, uint64_t run, uint32_t level, uint64_t bytes_max);
  void take_space(const CompactionPlan& plan, const std::vector<SstableInfo>& inputs,
                  const std::vector<SstableInfo>& outputs);
  void insert(std::vector<SstableInfo> tables);
  void expire();
  void sample();
  uint64_t bytes_of(const Row& row) const { return row.deletes ? options_.tombstone_bytes : options_.row_bytes; }
  uint64_t live_bytes() const { return live_rows_ * options_.row_bytes; }

  SimulatorOptions options_;
  std::unique_ptr<CompactionStrategy> strategy_;
  SeededRandom random_{1};
  uint64_t now_ms_ = 0, next_id_ = 1, total_bytes_ = 0;
  std::map<uint32_t, Row> memtable_;
  std::vector<SstableInfo> infos_;           // newest run first
  std::map<uint64_t, Rows> rows_;            // by table
  std::unordered_map<uint32_t, bool> live_;  // by key
  std::vector<uint32_t> keys_seen_;
  std::deque<std::pair<uint64_t, uint32_t>> expiries_;
  uint64_t live_rows_ = 0;
  uint64_t flushes_ = 0, user_bytes_ = 0, written_bytes_ = 0;
  uint64_t samples_ = 0, reads_ = 0, runs_read_ = 0, runs_read_max_ = 0, temp_peak_ = 0;
  double space_sum_ = 0, space_peak_ = 0, obsolete_sum_ = 0, largest_job_ = 0;
};

// A whole run over `keys` keys.
SimulatorResult simulate(const SimulatorOptions& options, Workload workload, uint64_t keys, uint64_t seed = 1);

// The row key of a number: order of numbers is order of keys.
std::string simulated_key(uint32_t key);

}  // namespace cairn::storage
