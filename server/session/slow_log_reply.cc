#include <vector>

#include "server/resp/number.h"
#include "server/session/node_commands.h"
#include "server/session/wording.h"

namespace cairn::server {
namespace {

void write_entry(const SlowLog::Entry& entry, RespWriter& reply) {
  reply.array(6);
  reply.integer(static_cast<int64_t>(entry.id));
  reply.integer(static_cast<int64_t>(entry.second));
  reply.integer(static_cast<int64_t>(entry.us));
  const auto arguments = unpack_arguments(entry.arguments);
  reply.array(arguments.size());
  for (const std::string_view argument : arguments) reply.bulk(argument);
  reply.bulk(entry.client);
  reply.bulk(entry.name);
}

}  // namespace

void answer_slowlog(std::string_view subcommand, Argv argv, SessionHub& hub, RespWriter& reply) {
  const auto& entries = hub.slow_log.entries();
  if (subcommand == "LEN") return reply.integer(static_cast<int64_t>(entries.size()));
  if (subcommand == "RESET") {
    hub.slow_log.clear();
    return reply.ok();
  }
  if (argv.size() > 3) return reply.error(odd_arguments("SLOWLOG", argv[1]));
  int64_t count = 10;
  if (argv.size() == 3 && (!parse_integer(argv[2], count) || count < -1)) {
    return reply.error("ERR count should be greater than or equal to -1");
  }
  const size_t shown = count < 0 ? entries.size() : std::min(entries.size(), static_cast<size_t>(count));
  reply.array(shown);
  for (size_t i = 0; i < shown; ++i) write_entry(entries[i], reply);
}

}  // namespace cairn::server
