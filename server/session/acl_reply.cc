// ACL and LOLWUT as far as there is something to say: one user, who may do everything.
#include "server/commands/command_info.h"
#include "server/session/node_commands.h"
#include "server/session/wording.h"

namespace cairn::server {

void answer_acl(std::string_view subcommand, Argv argv, bool password, RespWriter& reply) {
  if (subcommand == "WHOAMI") return reply.bulk("default");
  if (subcommand == "USERS") {
    reply.array(1);
    return reply.bulk("default");
  }
  if (subcommand == "LIST") {  // the password's hash stays here: one administrator's password is everybody's
    reply.array(1);
    return reply.bulk(password ? "user default on #(set) ~* &* +@all" : "user default on nopass ~* &* +@all");
  }
  if (argv.size() > 3) return reply.error(odd_arguments("ACL", argv[1]));  // CAT
  if (argv.size() == 2) {
    const auto categories = acl_categories();
    reply.array(categories.size());
    for (const std::string_view category : categories) reply.bulk(category);
    return;
  }
  const auto names = commands_of_category(argv[2]);
  if (!names) return reply.error(quoted_error("ERR Unknown category '", argv[2]));
  reply.array(names->size());
  for (const std::string& name : *names) reply.bulk(name);
}

// A pile of stones, drawn from the node's id: every node has one of its own.
void answer_lolwut(std::string_view run_id, std::string_view version, RespWriter& reply) {
  uint64_t state = 0x9E3779B97F4A7C15ull;
  for (const char c : run_id) state = (state ^ static_cast<uint8_t>(c)) * 0x100000001B3ull;
  const auto next = [&](size_t below) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<size_t>(state >> 33) % below;
  };
  constexpr size_t kWidth = 34;
  std::string text;
  size_t width = 2 + next(3);
  for (size_t layer = 0; layer < 6; ++layer) {
    const size_t left = (kWidth - width) / 2 + next(3) - 1;
    text += std::string(left, ' ') + "." + std::string(width, '-') + ".\n";
    text += std::string(left, ' ') + "'" + std::string(width, next(3) == 0 ? '~' : '_') + "'\n";
    width = std::min(kWidth - 4, width + 2 + next(4));
  }
  reply.verbatim(text + "\nCairn ver. " + std::string(version) + "\n");
}

}  // namespace cairn::server
