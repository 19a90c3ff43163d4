// What COMMAND tells about the table, and the words for names and errors that are derived from it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/commands/command.h"
#include "server/resp/writer.h"

namespace cairn::server {

// "get", "client|id" to the table's rows, whatever the case; `subcommand` is set to null for a whole command. Null:
// unknown.
const CommandSpec* find_full(std::string_view name, const SubcommandSpec** subcommand);
bool has_subcommands(const CommandSpec& spec);
// "get", "client|id"; `subcommand` may be null.
std::string full_name(const CommandSpec& spec, const SubcommandSpec* subcommand);
// "ERR unknown subcommand 'x'. Try CLIENT HELP.", or why Cairn has no such subcommand.
std::string unknown_subcommand_text(const CommandSpec& spec, std::string_view subcommand);

// COMMAND and its subcommands; `subcommand` is empty for the bare command, else in upper case.
void answer_command(std::string_view subcommand, Argv argv, RespWriter& reply);
// ACL CAT: the names of all categories, and the commands of one in lower case; nullopt: no such category.
std::vector<std::string_view> acl_categories();
std::optional<std::vector<std::string>> commands_of_category(std::string_view category);
// docs/compatibility.md: every command and subcommand of the table, as Markdown.
std::string compatibility_page();
// CLIENT HELP and the like.
void answer_help(const CommandSpec& spec, RespWriter& reply);

}  // namespace cairn::server
