#include "server/observe/logging.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace cairn::server {
namespace {
spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarn: return spdlog::level::warn;
    case LogLevel::kError: return spdlog::level::err;
  }
  return spdlog::level::info;
}
constexpr std::pair<LogLevel, std::string_view> kNames[] = {
    {LogLevel::kDebug, "debug"}, {LogLevel::kInfo, "info"}, {LogLevel::kWarn, "warn"}, {LogLevel::kError, "error"}};
}  // namespace

std::optional<LogLevel> log_level_named(std::string_view name) {
  for (const auto& [level, known] : kNames) {
    if (known == name) return level;
  }
  return std::nullopt;
}

std::string_view name_of(LogLevel level) {
  for (const auto& [known, name] : kNames) {
    if (known == level) return name;
  }
  return "info";
}

Result<void> start_logging(const std::string& file, const std::string& level) {
  try {  // spdlog throws when the file cannot be opened
    auto logger = file.empty() ? spdlog::stderr_logger_mt("cairn") : spdlog::basic_logger_mt("cairn", file);
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
    logger->set_level(to_spdlog(log_level_named(level).value_or(LogLevel::kInfo)));
    logger->flush_on(spdlog::level::info);
    spdlog::set_default_logger(logger);
    return {};
  } catch (const spdlog::spdlog_ex& error) {
    return Error{ErrorCode::kIoError, error.what()};
  }
}

void log_line(LogLevel level, std::string_view text) { spdlog::log(to_spdlog(level), "{}", text); }

LogLevel log_level() {
  const auto level = spdlog::default_logger()->level();
  for (const auto& [known, name] : kNames) {
    if (to_spdlog(known) == level) return known;
  }
  return LogLevel::kInfo;
}
void set_log_level(LogLevel level) { spdlog::default_logger()->set_level(to_spdlog(level)); }
void flush_log() { spdlog::default_logger()->flush(); }

}  // namespace cairn::server
