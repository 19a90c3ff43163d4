// `cairn-bench compaction`: amplification of every strategy under every load, from the simulator. With --engine the
// same operations are given to a tablet on a file system in memory as well.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "storage/compaction/simulator.h"
#include "test/bench/commands.h"
#include "test/unit/storage/engine_amplification.h"

namespace cairn::bench {

using namespace storage;

namespace {

struct Arguments {
  std::vector<uint64_t> k_over_m;
  std::string workload, strategy;
  uint64_t memtable_rows = 128;
  bool engine = false;  // the engine beside the model
};

bool parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 0; i < argc; ++i) {
    const std::string text = argv[i];
    const size_t equals = text.find('=');
    const std::string name = text.substr(0, equals), value = equals == text.npos ? "" : text.substr(equals + 1);
    if (name == "--k-over-m") {
      for (const char* at = value.c_str(); *at != '\0';) {
        char* end = nullptr;
        arguments.k_over_m.push_back(std::strtoull(at, &end, 10));
        if (end == at || arguments.k_over_m.back() == 0) return false;
        at = *end == ',' ? end + 1 : end;
      }
    } else if (name == "--workload") {
      arguments.workload = value;
    } else if (name == "--strategy") {
      arguments.strategy = value;
    } else if (name == "--memtable-rows") {
      arguments.memtable_rows = std::strtoull(value.c_str(), nullptr, 10);
      if (arguments.memtable_rows < 16) return false;
    } else if (text == "--engine") {
      arguments.engine = true;
    } else {
      return false;
    }
  }
  if (arguments.k_over_m.empty())
    arguments.k_over_m = arguments.engine ? std::vector<uint64_t>{64} : std::vector<uint64_t>{64, 512};
  return true;
}

template <class Line>
void for_each(const Arguments& arguments, Line line) {
  for (const Workload workload : kWorkloads) {
    if (!arguments.workload.empty() && arguments.workload != to_string(workload)) continue;
    for (const StrategyKind kind : kStrategyKinds) {
      if (!arguments.strategy.empty() && arguments.strategy != to_string(kind)) continue;
      for (const uint64_t k_over_m : arguments.k_over_m) line(workload, kind, k_over_m);
    }
  }
}

void model(const Arguments& arguments) {
  std::puts(
      "workload,strategy,k_over_m,write_amp,read_runs_mean,space_amp_mean,space_amp_peak,temp_bytes_peak,"
      "obsolete_bytes_mean");
  for_each(arguments, [&](Workload workload, StrategyKind kind, uint64_t k_over_m) {
    const uint64_t keys = k_over_m * arguments.memtable_rows;
    const SimulatorOptions options = simulator_options(kind, keys, arguments.memtable_rows, 128);
    const SimulatorResult r = simulate(options, workload, keys);
    std::printf("%s,%s,%llu,%.2f,%.2f,%.2f,%.2f,%llu,%.0f\n", to_string(workload).data(), to_string(kind).data(),
                static_cast<unsigned long long>(k_over_m), r.write_amp, r.read_runs_mean, r.space_amp_mean,
                r.space_amp_peak, static_cast<unsigned long long>(r.temp_bytes_peak), r.obsolete_bytes_mean);
    std::fflush(stdout);
  });
}

void model_and_engine(const Arguments& arguments) {
  std::puts(
      "workload,strategy,k_over_m,write_amp_engine,write_amp_simulator,space_amp_engine,space_amp_simulator,"
      "space_peak_engine,space_peak_simulator");
  for_each(arguments, [&](Workload workload, StrategyKind kind, uint64_t k_over_m) {
    const EngineComparison c = compare_with_engine(kind, workload, k_over_m, arguments.memtable_rows);
    std::printf("%s,%s,%llu,%.2f,%.2f,%.2f,%.2f,%.2f,%.2f\n", to_string(workload).data(), to_string(kind).data(),
                static_cast<unsigned long long>(k_over_m), c.write_engine, c.write_simulator, c.space_engine,
                c.space_simulator, c.peak_engine, c.peak_simulator);
    std::fflush(stdout);
  });
}

}  // namespace

int run_compaction(int argc, char** argv) {
  Arguments arguments;
  if (!parse(argc, argv, arguments)) return kUsage;
  if (arguments.engine) {
    model_and_engine(arguments);
  } else {
    model(arguments);
  }
  return 0;
}

}  // namespace cairn::bench
