#include "test/sim/checker_adapter.h"

#include <fmt/format.h>

namespace cairn::sim {

std::vector<std::string> check_history(const std::vector<Operation>& history, bool* undecided) {
  std::vector<std::string> problems;
  const CheckResult result = check_linearizable(history);
  if (result.verdict == Verdict::kViolation) {
    problems.push_back(fmt::format("key {} is not linearizable: {}", result.key, result.explanation));
  } else if (result.verdict == Verdict::kUndecided) {
    *undecided = true;
  }
  return problems;
}

}  // namespace cairn::sim
