#pragma once

#include <string>
#include <vector>

#include "test/sim/checker.h"

namespace cairn::sim {
// Problems of a history: keys that are not linearizable. Empty: none was found; `undecided` is set if the search of
// some key was given up (dozens of unknown outcomes on it).
std::vector<std::string> check_history(const std::vector<Operation>& history, bool* undecided);
}  // namespace cairn::sim
