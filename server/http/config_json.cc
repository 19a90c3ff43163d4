#include "server/http/config_json.h"

#include <fmt/format.h>

#include "base/checksum.h"

namespace cairn::server {

using config::KeyKind;
using nlohmann::json;

namespace {

std::string_view kind_name(KeyKind kind) {
  switch (kind) {
    case KeyKind::kText: return "text";
    case KeyKind::kSecret: return "secret";
    case KeyKind::kAddress: return "address";
    case KeyKind::kBool: return "bool";
    case KeyKind::kCount: return "count";
    case KeyKind::kBytes: return "bytes";
    case KeyKind::kDuration: return "duration";
    case KeyKind::kChoice: return "choice";
  }
  return "text";
}

json value_of(const config::KeySpec& key, const config::NodeConfig& config) {
  if (key.kind == KeyKind::kSecret) return nullptr;
  if (key.text_of != nullptr) return key.text_of(config);
  const uint64_t number = key.number_of(config);
  if (key.kind == KeyKind::kBool) return number != 0;
  if (key.kind == KeyKind::kDuration) return config::format_duration(number);
  return number;
}

}  // namespace

json key_json(const config::KeySpec& key, const config::NodeConfig& config) {
  const auto origin = config.origins.find(std::string(key.name));
  const std::string from = origin == config.origins.end() ? "default" : origin->second;
  const bool set = key.text_of == nullptr || !key.text_of(config).empty();
  return {{"key", key.name},      {"value", value_of(key, config)},
          {"set", set},           {"kind", kind_name(key.kind)},
          {"allowed", key.range}, {"origin", from},
          {"help", key.help}};
}

json config_json(const config::NodeConfig& config) {
  json list = json::array();
  for (const config::KeySpec& key : config::key_specs()) list.push_back(key_json(key, config));
  return list;
}

std::string config_tag(const config::NodeConfig& config) {
  std::string all = config_json(config).dump();
  for (const config::KeySpec& key : config::key_specs()) {
    if (key.kind == KeyKind::kSecret) all += "\n" + key.text_of(config);
  }
  return fmt::format("\"{:08x}\"", crc32c(all));
}

}  // namespace cairn::server
