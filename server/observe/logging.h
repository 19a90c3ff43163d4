// Log lines of the process, through spdlog. The only place that knows it.
#pragma once

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

}  // namespace cairn::server
