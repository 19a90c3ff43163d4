// What `cairn-bench engine` prints.
#pragma once

#include <cstdint>
#include <vector>

#include "test/bench/engine_cell.h"

namespace cairn::bench {

class EngineReport {
 public:
  explicit EngineReport(const EngineBenchOptions& options) : options_(options) {}
  void header() const;
  void add(uint64_t round, const Workload& workload, const EngineKind& engine, const CellResult& result);
  // Medians over the rounds, and Cairn's beside those of the others: how many times better, whatever the figure.
  void ratios() const;

 private:
  struct Row {
    const Workload* workload;
    const EngineKind* engine;
    CellResult result;
  };
  struct Figure;
  double median_of(const Workload& workload, const EngineKind& engine, const Figure& figure) const;
  void ratio(const Workload& workload, const Figure& figure) const;

  const EngineBenchOptions& options_;
  std::vector<Row> rows_;
};

}  // namespace cairn::bench
