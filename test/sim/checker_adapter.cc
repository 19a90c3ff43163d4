#include "test/sim/checker_adapter.h"

#include <fmt/format.h>

namespace cairn::sim {

std::vector<std::string> check_history(const std::vector<Operation>& history) {
  std::vector<std::string> problems;
  const CheckResult result = check_linearizable(history);
  if (result.verdict == Verdict::kViolation) {
    problems.push_back(fmt::format("key {} is not linearizable: {}", result.key, result.explanation));
  } else if (result.verdict == Verdict::kUndecided) {
    problems.push_back(fmt::format("key {}: the checker ran out of steps", result.key));
  }
  return problems;
}

}  // namespace cairn::sim
