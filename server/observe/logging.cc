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
}  // namespace

Result<void> start_logging(const std::string& file, const std::string& level) {
  try {  // spdlog throws when the file cannot be opened
    auto logger = file.empty() ? spdlog::stderr_logger_mt("cairn") : spdlog::basic_logger_mt("cairn", file);
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
    logger->set_level(spdlog::level::from_str(level == "error" ? "err" : level));
    logger->flush_on(spdlog::level::info);
    spdlog::set_default_logger(logger);
    return {};
  } catch (const spdlog::spdlog_ex& error) {
    return Error{ErrorCode::kIoError, error.what()};
  }
}

void log_line(LogLevel level, std::string_view text) { spdlog::log(to_spdlog(level), "{}", text); }
void flush_log() { spdlog::default_logger()->flush(); }

}  // namespace cairn::server
