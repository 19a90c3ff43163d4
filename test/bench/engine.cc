// `cairn-bench engine`: the storage engine beside RocksDB and LevelDB, as Debian has them, in the same run.
//
// All get the same bytes of block cache and of memtables, filters of 10 bits a key, one thread for compactions (Cairn
// and RocksDB have another for flushes), the same guarantee for every put (engine_target.h, engine_log.h), a fresh
// directory on the same file system, and a process of their own for every cell. Blocks are compressed with LZ4 by Cairn
// and RocksDB and with snappy by LevelDB, which has no LZ4. Everything else is as each engine has it by itself. In
// every round the engines take turns, each round beginning with another one.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "test/bench/commands.h"
#include "test/bench/engine_report.h"

namespace cairn::bench {
namespace {

template <class Item, class All, class NameOf>
bool parse_list(const std::string& list, const All& all, NameOf name_of, std::vector<const Item*>& chosen) {
  chosen.clear();
  for (size_t at = 0; at <= list.size();) {
    const size_t comma = std::min(list.find(',', at), list.size());
    const std::string name = list.substr(at, comma - at);
    const size_t before = chosen.size();
    for (const Item& item : all) {
      if (name_of(item) == name) chosen.push_back(&item);
    }
    if (chosen.size() == before) {
      std::fprintf(stderr, "there is no \"%s\" here; there are:", name.c_str());
      for (const Item& item : all) std::fprintf(stderr, " %s", std::string(name_of(item)).c_str());
      std::fputc('\n', stderr);
      return false;
    }
    at = comma + 1;
  }
  return true;
}

bool parse_number(const std::string& text, uint64_t least, uint64_t most, uint64_t& number) {
  char* end = nullptr;
  number = std::strtoull(text.c_str(), &end, 10);
  return !text.empty() && *end == '\0' && number >= least && number <= most;
}

bool parse_option(const std::string& name, const std::string& value, EngineBenchOptions& options) {
  uint64_t number = 0;
  if (name == "--workloads") {
    return parse_list<Workload>(
        value, workloads(), [](const Workload& w) { return w.name; }, options.workloads);
  }
  if (name == "--engines") {
    const auto name_of = [](const EngineKind& e) { return std::string_view(e.name); };
    return parse_list<EngineKind>(value, engine_kinds(), name_of, options.engines);
  }
  if (name == "--keys") return parse_number(value, 2, 1ull << 32, options.cell.keys);
  if (name == "--value-bytes") {
    if (!parse_number(value, 8, 1u << 20, number)) return false;
    options.cell.value_bytes = number;
    return true;
  }
  if (name == "--key-style") {
    options.cell.style = value == "binary" ? KeyStyle::kBinary : KeyStyle::kDecimal;
    return value == "binary" || value == "decimal";
  }
  if (name == "--rounds") return parse_number(value, 1, 1000, options.rounds);
  if (name == "--strategy") {
    const auto kind = storage::parse_strategy_kind(value);
    if (kind) options.strategy = *kind;
    return kind.has_value();
  }
  if (name == "--compression") {
    const auto compression = storage::parse_compression(value);
    if (compression) options.compression = *compression;
    return compression.has_value();
  }
  if (name == "--cache-mb" || name == "--memtable-mb") {
    if (!parse_number(value, 1, 1u << 20, number)) return false;
    (name == "--cache-mb" ? options.cache_bytes : options.memtable_bytes) = number << 20;
    return true;
  }
  if (name == "--reads") {
    options.uring = value == "uring";
    return options.uring || value == "threads";
  }
  if (name == "--polled-reads") {
    options.polled_reads = value == "on";
    return options.polled_reads || value == "off";
  }
  if (name == "--block-kb") {
    if (!parse_number(value, 1, 1024, number)) return false;
    options.block_bytes = number << 10;
    return true;
  }
  if (name == "--dir") options.dir = value;
  return name == "--dir" && !value.empty();
}

// "--name value", "--name=value" or "--keep-data".
bool parse(int argc, char** argv, EngineBenchOptions& options) {
  for (int i = 0; i < argc; ++i) {
    const std::string text = argv[i];
    if (text == "--keep-data") {
      options.keep_data = true;
      continue;
    }
    const size_t equals = text.find('=');
    if (equals == text.npos && i + 1 == argc) return false;
    const std::string value = equals == text.npos ? argv[++i] : text.substr(equals + 1);
    if (!parse_option(text.substr(0, equals), value, options)) return false;
  }
  return true;
}

}  // namespace

int run_engine(int argc, char** argv) {
  EngineBenchOptions options;
  options.cell = {.keys = 1'000'000, .value_bytes = 100};
  options.dir = "cairn-bench.engine";
  for (const Workload& workload : workloads()) options.workloads.push_back(&workload);
  for (const EngineKind& engine : engine_kinds()) options.engines.push_back(&engine);
  if (!parse(argc, argv, options)) return kUsage;
  for (const EngineKind* engine : options.engines) {
    std::fprintf(stderr, "%s (%s)\n", engine->name.c_str(), engine->version.c_str());
  }
  CellRunner cells(options);
  EngineReport report(options);
  report.header();
  bool failed = false;
  for (uint64_t round = 0; round < options.rounds; ++round) {
    for (const Workload* workload : options.workloads) {
      for (size_t i = 0; i < options.engines.size(); ++i) {
        const EngineKind& engine = *options.engines[(i + round) % options.engines.size()];
        CellResult result;
        const auto outcome = cells.run(*workload, engine, result);
        if (outcome == CellRunner::Outcome::kMeasured) report.add(round + 1, *workload, engine, result);
        failed = failed || outcome == CellRunner::Outcome::kFailed;
      }
    }
  }
  report.ratios();
  return failed ? 1 : 0;
}

}  // namespace cairn::bench
