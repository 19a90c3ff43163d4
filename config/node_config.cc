#include "config/node_config.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace cairn::config {
namespace {

constexpr std::string_view kDefault = "default";  // the origin of a value that nobody has set

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

Error invalid(const std::string& where, const std::string& what) {
  return Error{ErrorCode::kInvalidArgument, where + ": " + what};
}

Error unknown_key(const std::string& where, const std::string& name) {
  std::string_view nearest;
  size_t best = ~size_t{0};
  for (const KeySpec& key : key_specs()) {
    const size_t distance = edit_distance(name, key.name);
    if (distance < best) {
      best = distance;
      nearest = key.name;
    }
  }
  return invalid(where, "unknown key `" + name + "`; the nearest known key is `" + std::string(nearest) + "`");
}

Result<void> set(NodeConfig& config, const KeySpec& key, const std::string& value, const std::string& where) {
  const auto wrong = [&](const std::string& why) {
    return invalid(where, "`" + std::string(key.name) + "` " + why + "; allowed: " + std::string(key.range));
  };
  switch (key.kind) {
    case KeyKind::kText:
    case KeyKind::kSecret: key.text(config, value); break;
    case KeyKind::kAddress:
      if (!is_address(value)) return wrong("is '" + value + "', which is not HOST:PORT");
      key.text(config, value);
      break;
    case KeyKind::kChoice: {
      std::stringstream choices{std::string(key.range)};
      std::string choice;
      bool found = false;
      while (choices >> choice) found = found || (choice != "|" && choice == value);
      if (!found) return wrong("is '" + value + "'");
      key.text(config, value);
      break;
    }
    case KeyKind::kBool:
      if (value != "true" && value != "false") return wrong("is '" + value + "'");
      key.number(config, value == "true" ? 1 : 0);
      break;
    default: {
      Result<uint64_t> number = 0;
      if (key.kind == KeyKind::kBytes) {
        number = parse_bytes(value);
      } else if (key.kind == KeyKind::kDuration) {
        number = parse_duration(value);
      } else {
        uint64_t parsed = 0;
        const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
        if (error != std::errc{} || end != value.data() + value.size()) {
          return wrong("is '" + value + "', which is not a whole number");
        }
        number = parsed;
      }
      if (!number) return wrong("is '" + value + "': " + number.error().message);
      if (*number < key.low || *number > key.high) return wrong("is '" + value + "', out of range");
      key.number(config, *number);
    }
  }
  config.origins[std::string(key.name)] = where;
  return {};
}

Result<void> walk(NodeConfig& config, const YAML::Node& node, const std::string& prefix, const std::string& file) {
  for (const auto& item : node) {
    const std::string where = file + ":" + std::to_string(item.first.Mark().line + 1);
    if (!item.first.IsScalar()) return invalid(where, "a key must be plain text");
    const std::string name = prefix.empty() ? item.first.Scalar() : prefix + "." + item.first.Scalar();
    if (item.second.IsMap()) {
      const bool group = std::any_of(key_specs().begin(), key_specs().end(),
                                     [&](const KeySpec& k) { return k.name.starts_with(name + "."); });
      if (!group) return unknown_key(where, name);
      CAIRN_TRY_VOID(walk(config, item.second, name, file));
      continue;
    }
    const KeySpec* key = find_key(name);
    if (key == nullptr) return unknown_key(where, name);
    if (!item.second.IsScalar())
      return invalid(where, "`" + name + "` must be one value; allowed: " + std::string(key->range));
    // The file is read first, so whatever has an origin has it from the file.
    if (config.origins[name] != kDefault) return invalid(where, "`" + name + "` stands here for the second time");
    CAIRN_TRY_VOID(set(config, *key, item.second.Scalar(), where));
  }
  return {};
}

Result<void> load_file(NodeConfig& config, const std::string& path) {
  std::ifstream in(path);
  if (!in) return Error{ErrorCode::kInvalidArgument, path + ": cannot be read"};
  std::stringstream text;
  text << in.rdbuf();
  try {  // yaml-cpp throws; no exception leaves this function
    const YAML::Node root = YAML::Load(text.str());
    if (root.IsNull()) return {};
    if (!root.IsMap()) return invalid(path + ":1", "the file must be a mapping of keys to values");
    return walk(config, root, "", path);
  } catch (const YAML::Exception& error) {
    return invalid(path + ":" + std::to_string(error.mark.line + 1), error.msg);
  }
}

// What a variable NAME_FILE says of a secret: the first line of the file that it names.
Result<std::string> read_secret(const std::string& where, const std::string& path) {
  std::ifstream in(path);
  std::string line;
  if (!in || !std::getline(in, line)) return invalid(where, "'" + path + "' cannot be read, or is empty");
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

std::string environment_name(std::string_view key) {
  std::string name = "CAIRN_";
  for (char c : key) {
    if (c == '.') {
      name += "__";
    } else {
      name.push_back(static_cast<char>(std::toupper(static_cast<unsigned char>(c))));
    }
  }
  return name;
}

}  // namespace

const KeySpec* find_key(std::string_view name) {
  const auto keys = key_specs();
  const auto found = std::find_if(keys.begin(), keys.end(), [&](const KeySpec& k) { return k.name == name; });
  return found == keys.end() ? nullptr : &*found;
}

Result<void> set_key(NodeConfig& config, std::string_view name, const std::string& value, const std::string& origin) {
  const KeySpec* key = find_key(name);
  if (key == nullptr) return unknown_key(origin, std::string(name));
  return set(config, *key, value, origin);
}

bool is_address(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const std::string_view host = text.substr(0, colon);
  if (host.find(':') != std::string_view::npos && !(host.front() == '[' && host.back() == ']')) return false;
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data() + colon + 1, text.data() + text.size(), port);
  return error == std::errc{} && end == text.data() + text.size() && port >= 1 && port <= 65535;
}

bool is_loopback(std::string_view address) {
  const std::string_view host = address.substr(0, address.rfind(':'));
  return host == "localhost" || host == "[::1]" || host.starts_with("127.");
}

Result<uint64_t> parse_bytes(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return Error{ErrorCode::kInvalidArgument, "not a size"};
  std::string unit;
  for (char c : text.substr(static_cast<size_t>(end - text.data()))) {
    if (c != ' ') unit.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
  }
  static const std::map<std::string, unsigned, std::less<>> kShifts = {
      {"", 0},     {"b", 0},  {"k", 10},  {"kb", 10},  {"kib", 10}, {"m", 20},  {"mb", 20},
      {"mib", 20}, {"g", 30}, {"gb", 30}, {"gib", 30}, {"t", 40},   {"tib", 40}};
  const auto shift = kShifts.find(unit);
  if (shift == kShifts.end()) return Error{ErrorCode::kInvalidArgument, "unknown unit '" + unit + "'"};
  if (shift->second > 0 && value >> (64 - shift->second) != 0) return Error{ErrorCode::kInvalidArgument, "too large"};
  return value << shift->second;
}

Result<Duration> parse_duration(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return Error{ErrorCode::kInvalidArgument, "not a duration"};
  const std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  uint64_t scale = 0;
  if (unit == "us") scale = kMicrosecond;
  if (unit == "ms") scale = kMillisecond;
  if (unit == "s") scale = kSecond;
  if (unit == "m") scale = 60 * kSecond;
  if (unit == "h") scale = 3600 * kSecond;
  if (unit.empty() && value == 0) return 0;
  if (scale == 0) return Error{ErrorCode::kInvalidArgument, "needs a unit: us, ms, s, m or h"};
  if (value > ~uint64_t{0} / scale) return Error{ErrorCode::kInvalidArgument, "too large"};
  return value * scale;
}

std::string format_duration(Duration duration) {
  constexpr std::pair<const char*, uint64_t> kUnits[] = {
      {"h", 3600 * kSecond}, {"m", 60 * kSecond}, {"s", kSecond}, {"ms", kMillisecond}, {"us", kMicrosecond}};
  if (duration == 0) return "0";
  for (const auto& [unit, scale] : kUnits) {
    if (duration % scale == 0) return std::to_string(duration / scale) + unit;
  }
  return std::to_string(duration / kMicrosecond) + "us";
}

std::vector<std::string> items_of(std::string_view text) {
  std::vector<std::string> items;
  std::string item;
  for (const char c : std::string(text) + ' ') {
    if (c != ' ' && c != ',') {
      item.push_back(c);
    } else if (!item.empty()) {
      items.push_back(std::exchange(item, {}));
    }
  }
  return items;
}

Result<void> validate(const NodeConfig& config) {
  if (config.data_dir.empty()) return Error{ErrorCode::kInvalidArgument, "`data_dir` is required"};
  const auto origin = [&](const char* key) {
    const auto found = config.origins.find(key);
    return found == config.origins.end() ? std::string(kDefault) : found->second;
  };
  constexpr size_t kTokenMin = 16;
  if (!config.admin_token.empty() && config.admin_token.size() < kTokenMin) {
    return invalid(origin("admin.token"), "`admin.token` is too short; allowed: 16 characters or more");
  }
  if (config.storage_io_bytes_per_second_min > config.storage_io_bytes_per_second_max) {
    // Named by where it was set: the other one may be the default.
    const bool by_max = origin("storage.io_bytes_per_second_min") == kDefault;
    const char* key = by_max ? "storage.io_bytes_per_second_max" : "storage.io_bytes_per_second_min";
    return invalid(origin(key), "`storage.io_bytes_per_second_min` is above `storage.io_bytes_per_second_max`");
  }
  if (config.insecure) return {};
  const auto beyond = [&](const char* key, const std::string& address, const char* wanted) {
    return invalid(origin(key), "`" + std::string(key) + "` is " + address + ", beyond loopback: set " + wanted +
                                    ", or `insecure: true`");
  };
  const std::pair<const char*, const std::string*> bindings[] = {{"client.listen", &config.client_listen},
                                                                 {"peer.listen", &config.peer_listen},
                                                                 {"admin.listen", &config.admin_listen}};
  for (const auto& [key, address] : bindings) {
    if (!is_loopback(*address) && (config.requirepass.empty() || config.peer_secret.empty())) {
      return beyond(key, *address, "`requirepass` and `peer.secret`");
    }
  }
  if (!is_loopback(config.admin_listen) && config.admin_token.empty()) {
    return beyond("admin.listen", config.admin_listen, "`admin.token`");
  }
  return {};
}

Result<NodeConfig> load(const LoadRequest& request) {
  NodeConfig config;
  for (const KeySpec& key : key_specs()) config.origins[std::string(key.name)] = kDefault;
  if (!request.file.empty()) CAIRN_TRY_VOID(load_file(config, request.file));
  for (const auto& [name, value] : request.environment) {
    if (!name.starts_with("CAIRN_")) continue;
    const auto key = std::find_if(key_specs().begin(), key_specs().end(),
                                  [&](const KeySpec& k) { return environment_name(k.name) == name; });
    const auto secret = std::find_if(key_specs().begin(), key_specs().end(), [&](const KeySpec& k) {
      return k.kind == KeyKind::kSecret && environment_name(k.name) + "_FILE" == name;
    });
    if (secret != key_specs().end()) {
      CAIRN_TRY(const std::string content, read_secret("environment " + name, value));
      CAIRN_TRY_VOID(set(config, *secret, content, "environment " + name));
      continue;
    }
    if (key == key_specs().end()) continue;  // CAIRN_SEED and the like are not ours to judge
    CAIRN_TRY_VOID(set(config, *key, value, "environment " + name));
  }
  for (const auto& [name, value] : request.flags) {
    const KeySpec* key = find_key(name);
    if (key == nullptr) return unknown_key("flag --" + name, name);
    CAIRN_TRY_VOID(set(config, *key, value, "flag --" + name));
  }
  namespace fs = std::filesystem;
  const fs::path base = request.file.empty() ? fs::current_path() : fs::absolute(request.file).parent_path();
  const auto absolute = [&](std::string& path) {
    if (!path.empty() && fs::path(path).is_relative()) path = (base / path).lexically_normal().string();
  };
  absolute(config.data_dir);
  absolute(config.log_file);
  if (config.client_advertise.empty()) config.client_advertise = config.client_listen;
  if (config.peer_advertise.empty()) config.peer_advertise = config.peer_listen;
  if (config.admin_advertise.empty()) config.admin_advertise = config.admin_listen;
  if (const auto valid = validate(config); !valid) return valid.error();
  return config;
}

}  // namespace cairn::config
