#include "server/runtime/redis_parameters.h"

#include <algorithm>
#include <charconv>
#include <sstream>

#include "server/commands/command.h"
#include "server/session/info_reply.h"

namespace cairn::server {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;
using config::KeySpec;
using config::NodeConfig;

enum class Form : uint8_t { kNumber, kMemory, kSeconds, kMilliseconds, kMicroseconds, kYesNo, kPassword, kLogLevel };
struct Parameter {
  std::string_view name;
  std::string_view key;
  Form form;
};
constexpr Parameter kParameters[] = {
    {"client-query-buffer-limit", "client.query_buffer_bytes", Form::kMemory},
    {"latency-monitor-threshold", "latency.threshold", Form::kMilliseconds},
    {"latency-tracking", "latency.tracking", Form::kYesNo},
    {"loglevel", "log.level", Form::kLogLevel},
    {"maxclients", "client.max", Form::kNumber},
    {"requirepass", "requirepass", Form::kPassword},
    {"slowlog-log-slower-than", "slowlog.slower_than", Form::kMicroseconds},
    {"slowlog-max-len", "slowlog.max_len", Form::kNumber},
    {"tcp-keepalive", "client.tcp_keepalive", Form::kSeconds},
    {"timeout", "client.idle_timeout", Form::kSeconds},
};
constexpr std::string_view kOutputLimit = "client-output-buffer-limit";
constexpr std::pair<std::string_view, std::string_view> kLogLevels[] = {
    {"debug", "debug"}, {"verbose", "debug"}, {"notice", "info"}, {"warning", "warn"}};

uint64_t unit(Form form) {
  if (form == Form::kSeconds) return kSecond;
  if (form == Form::kMilliseconds) return kMillisecond;
  return form == Form::kMicroseconds ? kMicrosecond : 1;
}
// Of slowlog.slower_than: nothing is logged, -1 in Redis.
constexpr bool kept_for_never(Form form) { return form == Form::kMicroseconds; }

Error invalid(std::string text) { return Error{ErrorCode::kInvalidArgument, std::move(text)}; }

std::string value_of(const NodeConfig& config, const Parameter& parameter) {
  const KeySpec& key = *config::find_key(parameter.key);
  switch (parameter.form) {
    case Form::kPassword: return config::shown_value(config, key);
    case Form::kYesNo: return key.number_of(config) != 0 ? "yes" : "no";
    case Form::kLogLevel:
      for (auto level = std::rbegin(kLogLevels); level != std::rend(kLogLevels); ++level) {
        if (level->second == key.text_of(config))
          return std::string(level->first == "verbose" ? "debug" : level->first);
      }
      return "warning";  // Cairn's level "error", which Redis does not have
    default: {
      const uint64_t number = key.number_of(config);
      if (kept_for_never(parameter.form) && number == key.high) return "-1";
      return std::to_string(number / unit(parameter.form));
    }
  }
}

// Redis' unit names: k is 1000, kb is 1024.
bool parse_memory(std::string_view text, uint64_t& bytes) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  if (error != std::errc{}) return false;
  std::string suffix(end, text.data() + text.size());
  for (char& c : suffix) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  constexpr std::pair<std::string_view, uint64_t> kUnits[] = {
      {"", 1},          {"b", 1},          {"k", 1000},          {"kb", 1024},
      {"m", 1'000'000}, {"mb", 1'048'576}, {"g", 1'000'000'000}, {"gb", 1'073'741'824}};
  for (const auto& [name, size] : kUnits) {
    if (suffix == name) return !__builtin_mul_overflow(bytes, size, &bytes);
  }
  return false;
}

Result<std::string> number_for(const KeySpec& key, const Parameter& parameter, const std::string& value) {
  const uint64_t scale = unit(parameter.form);
  const auto between = [&](std::string_view low) {
    return invalid("argument must be between " + std::string(low) + " and " + std::to_string(key.high / scale) +
                   " inclusive");
  };
  const std::string low = kept_for_never(parameter.form) ? "-1" : std::to_string(key.low / scale);
  uint64_t number = 0;
  if (parameter.form == Form::kMemory) {
    if (!parse_memory(value, number)) return invalid("argument must be a memory value");
  } else {
    int64_t parsed = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
    if (error != std::errc{} || end != value.data() + value.size()) {
      return invalid("argument couldn't be parsed into an integer");
    }
    if (parsed == -1 && kept_for_never(parameter.form)) {
      number = key.high / scale;
    } else if (parsed < 0) {
      return between(low);
    } else {
      number = static_cast<uint64_t>(parsed);
    }
  }
  if (number > key.high / scale || number * scale < key.low) return between(low);
  return std::to_string(number) + (parameter.form == Form::kSeconds        ? "s"
                                   : parameter.form == Form::kMilliseconds ? "ms"
                                   : parameter.form == Form::kMicroseconds ? "us"
                                                                           : "");
}

// "normal HARD SOFT SECONDS", once or several times; the last one counts.
Result<Pairs> output_limit(const std::string& value) {
  std::stringstream in(value);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  if (words.empty() || words.size() % 4 != 0) {
    return invalid("Wrong number of arguments in buffer limit configuration.");
  }
  Pairs out;
  for (size_t i = 0; i < words.size(); i += 4) {
    if (!equals_ignoring_case(words[i], "NORMAL")) {
      return invalid("Invalid client class specified in buffer limit configuration.");
    }
    uint64_t hard = 0, soft = 0, seconds = 0;
    const auto [end, error] = std::from_chars(words[i + 3].data(), words[i + 3].data() + words[i + 3].size(), seconds);
    if (!parse_memory(words[i + 1], hard) || !parse_memory(words[i + 2], soft) || error != std::errc{} ||
        *end != '\0') {
      return invalid("Error in hard, soft or soft_seconds setting in buffer limit configuration.");
    }
    out = {{"client.output_hard_bytes", std::to_string(hard)},
           {"client.output_soft_bytes", std::to_string(soft)},
           {"client.output_soft_time", std::to_string(std::max<uint64_t>(seconds, 1)) + "s"}};
  }
  return out;
}

}  // namespace

std::map<std::string, std::string> redis_parameters(const NodeConfig& config) {
  std::map<std::string, std::string> out = default_config_parameters();
  for (const Parameter& parameter : kParameters) out[std::string(parameter.name)] = value_of(config, parameter);
  out[std::string(kOutputLimit)] = "normal " + std::to_string(config.client_output_hard_bytes) + " " +
                                   std::to_string(config.client_output_soft_bytes) + " " +
                                   std::to_string(config.client_output_soft_time / kSecond);
  const bool whole = config.cluster_sharding == "whole";
  out["cluster-enabled"] = whole ? "no" : "yes";
  out["dir"] = config.data_dir;
  out["port"] = config.client_listen.substr(config.client_listen.rfind(':') + 1);
  out["bind"] = config.client_listen.substr(0, config.client_listen.rfind(':'));
  out["protected-mode"] = config.insecure ? "no" : "yes";
  out["logfile"] = config.log_file;
  return out;
}

Result<Pairs> changes_of(const NodeConfig& config, std::string_view name, const std::string& value) {
  if (name == kOutputLimit) return output_limit(value);
  for (const Parameter& parameter : kParameters) {
    if (parameter.name != name) continue;
    const std::string key(parameter.key);
    switch (parameter.form) {
      case Form::kPassword: return Pairs{{key, value}};
      case Form::kYesNo:
        if (!equals_ignoring_case(value, "YES") && !equals_ignoring_case(value, "NO")) {
          return invalid("argument must be 'yes' or 'no'");
        }
        return Pairs{{key, equals_ignoring_case(value, "YES") ? "true" : "false"}};
      case Form::kLogLevel:
        for (const auto& [redis, ours] : kLogLevels) {
          if (redis == value) return Pairs{{key, std::string(ours)}};
        }
        return invalid("argument(s) must be one of the following: debug, verbose, notice, warning");
      default: {
        auto number = number_for(*config::find_key(parameter.key), parameter, value);
        if (!number) return number.error();
        return Pairs{{key, std::move(*number)}};
      }
    }
  }
  const auto all = redis_parameters(config);
  const auto fixed = all.find(std::string(name));
  if (fixed == all.end()) return Error{ErrorCode::kNotFound, "no such parameter"};
  if (fixed->second == value) return Pairs{};  // already so
  return invalid("can't set immutable config");
}

}  // namespace cairn::server
