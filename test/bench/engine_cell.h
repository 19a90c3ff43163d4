// One cell of the table: one load on one engine, in a process of its own.
#pragma once

#include <optional>
#include <string>

#include "test/bench/engine_workloads.h"

namespace cairn::bench {

struct EngineBenchOptions {
  std::vector<const Workload*> workloads;
  std::vector<const EngineKind*> engines;
  CellOptions cell;
  uint64_t rounds = 3;
  storage::StrategyKind strategy = storage::kDefaultStrategy;
  storage::Compression compression = storage::kDefaultCompression;  // Cairn's
  uint64_t cache_bytes = 0;                                         // 0: twice the data, so that all of it fits
  uint64_t memtable_bytes = 64u << 20;
  bool uring = true, polled_reads = true;  // Cairn's
  uint64_t block_bytes = 0;                // Cairn's; 0: as the daemon has it
  bool keep_data = false;                  // see CellRunner
  std::string dir;
};

// Runs cells below options.dir and removes what it made there. The data of Setting::kLoaded are made once per engine;
// with options.keep_data they stay, and the next one that keeps data uses them again if it would make the same. Who
// has changed how an engine writes has to remove them.
class CellRunner {
 public:
  explicit CellRunner(const EngineBenchOptions& options) : options_(options) {}
  ~CellRunner();
  enum class Outcome : uint8_t { kMeasured, kSkipped, kFailed };
  // Says on standard error why a cell was skipped or has failed.
  Outcome run(const Workload& workload, const EngineKind& engine, CellResult& result);

 private:
  TargetOptions target_options(const Workload& workload, const std::string& dir) const;
  bool prepare_loaded(const EngineKind& engine);
  std::string what_is_loaded(const EngineKind& engine) const;  // all that decides what the data look like
  std::string loaded_dir(const EngineKind& engine) const { return options_.dir + "/" + engine.name + ".loaded"; }
  std::string loaded_note(const EngineKind& engine) const { return loaded_dir(engine) + ".as"; }  // what is there
  std::string work_dir(const EngineKind& engine) const { return options_.dir + "/" + engine.name + ".work"; }
  uint64_t data_bytes() const {
    return options_.cell.keys * (KeyMaker::average_bytes(options_.cell.style) + options_.cell.value_bytes);
  }

  const EngineBenchOptions& options_;
  std::vector<const EngineKind*> loaded_;
};

}  // namespace cairn::bench
