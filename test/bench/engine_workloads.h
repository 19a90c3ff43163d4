// The loads that `cairn-bench engine` puts on an engine.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "test/bench/engine_data.h"
#include "test/bench/engine_statistics.h"
#include "test/bench/engine_target.h"

namespace cairn::bench {

enum class Setting : uint8_t {
  kEmpty,   // a fresh directory
  kLoaded,  // every key written once, in random order, memtable written out, compaction settled; only read
  kCopied,  // a copy of the same, for loads that write
};
enum class CacheSize : uint8_t { kWhole, kTenth };  // of the data

struct CellOptions {
  uint64_t keys = 0;
  size_t value_bytes = 0;
  KeyStyle style = KeyStyle::kDecimal;
};

struct Workload {
  std::string_view name;
  std::string_view what;  // for people
  Setting setting;
  LogMode log;
  CacheSize cache;
  // Throws std::runtime_error when the engine fails or answers wrongly. False: the engine cannot do this.
  bool (*run)(EngineTarget& engine, const CellOptions& options, CellResult& result);
  bool writes = false;       // the ratios show what was written and the longest waits
  bool memory_half = false;  // memory, page cache included, is held to half of the files; a quarter for the cache
};
std::span<const Workload> workloads();

// Makes what Setting::kLoaded says.
void load(EngineTarget& engine, const CellOptions& options);

}  // namespace cairn::bench
