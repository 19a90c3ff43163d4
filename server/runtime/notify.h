// What a service manager is told: the datagrams of sd_notify(3), without its library.
#pragma once

#include <string_view>

#include "base/types.h"

namespace cairn::server {

// "READY=1", "STOPPING=1", "WATCHDOG=1", "STATUS=...". Nothing without NOTIFY_SOCKET; never waits.
void notify_manager(std::string_view state);
// How often the manager wants to hear WATCHDOG=1 (half of WATCHDOG_USEC); 0: not at all.
Duration watchdog_period();

}  // namespace cairn::server
