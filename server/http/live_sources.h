// What the admin API needs of a node that can change while it runs and that keeps its slow commands. What is null is
// not served.
#pragma once

#include <functional>
#include <vector>

#include "base/result.h"
#include "server/runtime/live_config.h"
#include "server/session/slow_log.h"

namespace cairn::server {

// Thread safety: called on the range loop.
struct LiveSources {
  std::function<Result<std::vector<ConfigChange>>(const LiveConfig::Changes&)> apply_config;  // as LiveConfig has it
  const SlowLog* slow_log = nullptr;
};

}  // namespace cairn::server
