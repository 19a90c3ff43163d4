#pragma once

#include <string>
#include <vector>

#include "test/sim/checker.h"

namespace cairn::sim {
// Problems of a history: keys that are not linearizable. Empty: all is well.
std::vector<std::string> check_history(const std::vector<Operation>& history);
}  // namespace cairn::sim
