#include "test/bench/engine_report.h"

#include <algorithm>
#include <cstdio>

namespace cairn::bench {

// One figure of a cell. `of_writes`: shown for loads that write only.
struct EngineReport::Figure {
  const char* name;
  double (*of)(const CellResult& result);
  bool larger_is_better;
  bool of_writes;
};

void EngineReport::header() const {
  std::puts(
      "round,workload,engine,key_style,keys,value_bytes,ops_per_s,p50_us,p99_us,p999_us,max_us,cpu_us_per_op,"
      "bytes_written,final_bytes,p9999_us");
  std::fflush(stdout);
}

void EngineReport::add(uint64_t round, const Workload& workload, const EngineKind& engine, const CellResult& r) {
  rows_.push_back({&workload, &engine, r});
  std::printf("%llu,%s,%s,%s,%llu,%zu,%.0f,%.2f,%.2f,%.2f,%.2f,%.3f,%llu,%llu,%.2f\n",
              static_cast<unsigned long long>(round), workload.name.data(), engine.name.c_str(),
              options_.cell.style == KeyStyle::kDecimal ? "decimal" : "binary",
              static_cast<unsigned long long>(options_.cell.keys), options_.cell.value_bytes, r.ops_per_s, r.p50_us,
              r.p99_us, r.p999_us, r.max_us, r.cpu_us_per_op, static_cast<unsigned long long>(r.bytes_written),
              static_cast<unsigned long long>(r.final_bytes), r.p9999_us);
  std::fflush(stdout);
}

double EngineReport::median_of(const Workload& workload, const EngineKind& engine, const Figure& figure) const {
  std::vector<double> values;
  for (const Row& row : rows_) {
    if (row.workload == &workload && row.engine == &engine) values.push_back(figure.of(row.result));
  }
  return median(std::move(values));
}

void EngineReport::ratio(const Workload& workload, const Figure& figure) const {
  const EngineKind& ours = engine_kinds().front();
  const double own = median_of(workload, ours, figure);
  double better = 0;
  std::string medians, ratios;
  char text[64];
  for (const EngineKind& engine : engine_kinds()) {
    const double value = median_of(workload, engine, figure);
    std::snprintf(text, sizeof text, ",%.2f", value);
    medians += value > 0 ? text : ",";
    if (&engine == &ours) continue;
    const double times = own > 0 && value > 0 ? (figure.larger_is_better ? own / value : value / own) : 0;
    std::snprintf(text, sizeof text, ",%.2f", times);
    ratios += times > 0 ? text : ",";
    if (times > 0) better = better == 0 ? times : std::min(better, times);
  }
  std::snprintf(text, sizeof text, ",%.2f", better);
  std::printf("%s,%s%s%s%s\n", workload.name.data(), figure.name, medians.c_str(), ratios.c_str(),
              better > 0 ? text : ",");
}

void EngineReport::ratios() const {
  static constexpr Figure kFigures[] = {
      {"ops_per_s", [](const CellResult& r) { return r.ops_per_s; }, true, false},
      {"cpu_us_per_op", [](const CellResult& r) { return r.cpu_us_per_op; }, false, false},
      {"p99_us", [](const CellResult& r) { return r.p99_us; }, false, false},
      {"p9999_us", [](const CellResult& r) { return r.p9999_us; }, false, true},
      {"max_us", [](const CellResult& r) { return r.max_us; }, false, true},
      {"bytes_written", [](const CellResult& r) { return static_cast<double>(r.bytes_written); }, false, true},
      {"final_bytes", [](const CellResult& r) { return static_cast<double>(r.final_bytes); }, false, true},
  };
  std::string line = "\nworkload,figure";
  for (const EngineKind& engine : engine_kinds()) line += "," + engine.name;
  for (const EngineKind& engine : engine_kinds()) {
    if (&engine != &engine_kinds().front()) line += ",times_better_than_" + engine.name;
  }
  std::printf("%s,times_better_than_best\n", line.c_str());
  for (const Workload* workload : options_.workloads) {
    for (const Figure& figure : kFigures) {
      if (!figure.of_writes || workload->writes) ratio(*workload, figure);
    }
  }
}

}  // namespace cairn::bench
