// Commands that only nodes send to each other, on behalf of subcommands of their clients. Their names begin with \x01,
// which no client's command does.
#pragma once

#include <span>

#include "server/commands/command.h"

namespace cairn::server {

// argv: name, key. Replies bytes of all rows of the key, or null.
extern const CommandSpec kMemoryUsageCommand;
// argv: name, most keys to answer. Replies keys of the call's slot; with an empty second argument their number.
extern const CommandSpec kSlotKeysCommand;

inline bool is_inner(const CommandSpec& spec) { return spec.name.starts_with('\x01'); }
// Null: none of them.
const CommandSpec* find_inner_command(std::string_view name);

}  // namespace cairn::server
