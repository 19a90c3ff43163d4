// The text of INFO.
#pragma once

#include <map>
#include <string>

#include "server/commands/command.h"
#include "server/session/command_sink.h"
#include "server/session/command_stats.h"

namespace cairn::server {

// Sections in Redis' order, those of our own last (tools look for the first occurrence of a name in the whole
// text). `wanted`: section names, "default", "all", "everything"; empty means default. What every client
// relies on and `sections` does not give (redis_version, redis_mode, arch_bits, loading, cluster_enabled,
// role) is filled in. `stats` may be null.
std::string info_text(InfoSections sections, Argv wanted, bool whole, const CommandStats* stats);

// Redis' answers to the CONFIG GET questions that clients and tools ask, for a node to start from.
std::map<std::string, std::string> default_config_parameters();

}  // namespace cairn::server
