// One node as a process: loops, threads, sockets, signals around a Node.
#pragma once

#include <string>
#include <vector>

#include "config/node_config.h"

namespace cairn::server {

struct StartFlags {
  bool bootstrap = false;
  uint32_t initial_nodes = 1;
  std::vector<std::string> join;
};

inline constexpr int kExitClean = 0;
inline constexpr int kExitRunTime = 1;
inline constexpr int kExitConfiguration = 2;
inline constexpr int kExitInUse = 3;

// Runs in the foreground until SIGTERM or SIGINT; prints READY on standard output by the rule of /readyz. Returns the
// exit code of the process.
int run_daemon(const config::NodeConfig& config, const config::LoadRequest& loaded_from, const StartFlags& flags);

}  // namespace cairn::server
