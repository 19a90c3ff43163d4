// docs/compatibility.md, out of the command table.
#include <map>

#include "server/commands/argument_docs.h"
#include "server/commands/command_info.h"

namespace cairn::server {
namespace {

std::string_view where(CommandPlace place) {
  switch (place) {
    case CommandPlace::kConnection: return "this node";
    case CommandPlace::kRange: return "leader, keys of one slot";
    case CommandPlace::kScatter: return "leaders, keys of any slots";
    case CommandPlace::kEverywhere:
    case CommandPlace::kWalk: return "leaders of all ranges";
  }
  return "";
}

// '|' would end a cell of a table.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

std::string with_arguments(std::string_view name, std::string_view arguments) {
  const std::string text = cell(arguments_text(parse_arguments(arguments)));
  return std::string(name) + (text.empty() ? "" : " ") + text;
}

}  // namespace

std::string compatibility_page() {
  std::map<std::string, std::string> groups;
  size_t subcommands = 0;
  for (const CommandSpec& spec : command_table()) {
    std::string& rows = groups[std::string(spec.group)];
    rows += "| " + with_arguments(spec.name, spec.arguments) + " | " + std::to_string(spec.arity) + " | " +
            std::string(spec.since) + " | " + std::string(where(spec.place)) + " | " + cell(spec.summary) + " |\n";
    for (const SubcommandSpec& sub : subcommand_table()) {
      if (sub.container != spec.name) continue;
      ++subcommands;
      rows += "| " + std::string(spec.name) + " " + with_arguments(sub.name, sub.arguments) + " | " +
              std::to_string(sub.arity) + " | " + std::string(sub.since) + " | | " + cell(sub.summary) + " |\n";
    }
  }
  std::string page = "# Compatibility\n\n" + std::to_string(command_table().size()) + " commands and " +
                     std::to_string(subcommands) +
                     " subcommands of Redis 7.0 are there, by group. Printed by `cairnd dump commands`; a unit test "
                     "compares.\nWhere an answer differs from Redis', [commands.md](commands.md) says so. Arity as in "
                     "COMMAND: exact, or minus the least number of words.\n";
  for (const auto& [group, rows] : groups) {
    page += "\n## " + group +
            "\n\n| command | arity | since Redis | runs on | what it does |\n| --- | --- | --- | --- | --- |\n" + rows;
  }
  return page;
}

}  // namespace cairn::server
