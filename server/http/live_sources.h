// What the admin API needs of a node that can change while it runs and that keeps its slow commands. What is null is
// not served.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace cairn::server {

struct AppliedChange {
  std::string key, before, after;  // values as people may see them
};
struct SlowCommand {
  uint64_t id = 0;
  uint64_t second = 0;                 // since 1970, when it was answered
  uint64_t us = 0;                     // from the start of its evaluation to its reply
  std::vector<std::string> arguments;  // shortened; any bytes
  std::string client;                  // its address
  std::string name;                    // of the connection
};

// Thread safety: called on the range loop.
struct LiveSources {
  using Changes = std::vector<std::pair<std::string, std::string>>;  // key, value as a file would have it
  // All changes or none. Errors: kInvalidArgument (unknown key, wrong value, a key that needs a restart).
  std::function<Result<std::vector<AppliedChange>>(const Changes&)> apply_config;
  std::function<std::vector<SlowCommand>()> slow_commands;  // newest first
};

}  // namespace cairn::server
