// The configuration as the admin API shows it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "config/node_config.h"

namespace cairn::server {

// Secrets have no value.
nlohmann::json key_json(const config::KeySpec& key, const config::NodeConfig& config);
nlohmann::json config_json(const config::NodeConfig& config);
// ETag of config_json(): changes with what it shows, and with secrets.
std::string config_tag(const config::NodeConfig& config);

}  // namespace cairn::server
