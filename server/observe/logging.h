// Log lines of the process, through spdlog. The only place that knows it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "server/cluster/node_options.h"

namespace cairn::server {

// `file` empty: standard error. `level`: debug, info, warn, error.
Result<void> start_logging(const std::string& file, const std::string& level);
// Thread safety: any thread.
void log_line(LogLevel level, std::string_view text);
void flush_log();
// The least severe line that is written. Thread safety: any thread.
LogLevel log_level();
void set_log_level(LogLevel level);
// "debug", "info", "warn", "error"; nullopt: none of them.
std::optional<LogLevel> log_level_named(std::string_view name);
std::string_view name_of(LogLevel level);

}  // namespace cairn::server
