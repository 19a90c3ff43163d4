// CONFIG: the parameters of this node.
#include <set>

#include "server/commands/glob.h"
#include "server/session/session.h"
#include "server/session/wording.h"

namespace cairn::server {

void Session::answer_config(std::string_view subcommand, Argv argv, RespWriter& reply) {
  if (subcommand == "GET") return answer_config_get(argv, reply);
  if (subcommand == "SET") return answer_config_set(argv, reply);
  if (subcommand == "RESETSTAT") {
    if (options_.stats != nullptr) options_.stats->reset();
    return reply.ok();
  }
  if (const auto written = sink_.hub().parameters().rewrite(); !written) {
    return reply.error("ERR " + written.error().message);
  }
  reply.ok();
}

// A name without wildcards is answered as it was asked for; each parameter once, whatever patterns it matches.
void Session::answer_config_get(Argv argv, RespWriter& reply) {
  const auto parameters = sink_.hub().parameters().list();
  std::vector<std::pair<std::string_view, std::string_view>> found;
  for (const auto& [name, value] : parameters) {
    for (const std::string_view pattern : argv.subspan(2)) {
      if (!glob_matches(pattern, name, true)) continue;
      const bool exact = pattern.find_first_of("*?[\\") == std::string_view::npos;
      found.emplace_back(exact ? pattern : std::string_view(name), value);
      break;
    }
  }
  reply.map(found.size());
  for (const auto& [name, value] : found) {
    reply.bulk(name);
    reply.bulk(value);
  }
}

void Session::answer_config_set(Argv argv, RespWriter& reply) {
  if (argv.size() % 2 != 0) return reply.error(kSyntaxError);
  Parameters::Changes changes;
  std::set<std::string> seen;
  for (size_t i = 2; i < argv.size(); i += 2) {
    std::string name(argv[i]);
    for (char& c : name) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    }
    if (!seen.insert(name).second) {
      return reply.error(
          quoted_error("ERR CONFIG SET failed (possibly related to argument '", argv[i], "') - duplicate parameter"));
    }
    changes.emplace_back(std::move(name), argv[i + 1]);
  }
  if (const auto done = sink_.hub().parameters().set(changes); !done) {
    return reply.error("ERR " + done.error().message);
  }
  reply.ok();
}

}  // namespace cairn::server
