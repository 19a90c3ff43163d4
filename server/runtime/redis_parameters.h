// Redis' names of parameters, and how they are said in Cairn's keys.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "config/node_config.h"

namespace cairn::server {

// Every parameter of Redis that CONFIG GET answers, with its value.
std::map<std::string, std::string> redis_parameters(const config::NodeConfig& config);

// Turns "maxclients 100" into changes of Cairn's keys, values as a file would have them. kInvalidArgument: the reason
// in Redis' words ("argument must be between ..."); kNotFound: Redis has no such parameter, or Cairn does not know it.
Result<std::vector<std::pair<std::string, std::string>>> changes_of(const config::NodeConfig& config,
                                                                    std::string_view name, const std::string& value);

}  // namespace cairn::server
