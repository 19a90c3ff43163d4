// One seed: one cluster life with faults, then healing, then judgement.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/types.h"

namespace cairn::sim {

struct LifeOptions {
  std::string mode = "mix";  // mix, or one of: network, process, clock, disk, power
  bool verbose = false;
};

struct LifeReport {
  uint64_t seed = 0;
  uint64_t trace_hash = 0;
  Duration simulated = 0;
  uint64_t events = 0;
  uint64_t operations = 0;
  uint64_t acknowledged = 0;
  std::map<std::string, uint64_t> faults;  // fired, by kind: "17 kill", ...
  std::vector<std::string> violations;     // empty: all is well
};

LifeReport run_life(uint64_t seed, const LifeOptions& options);

// All fault kinds a long run has to have fired at least once.
const std::vector<std::string>& fault_kinds();

}  // namespace cairn::sim
