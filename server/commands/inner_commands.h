// What nodes ask each other on behalf of subcommands of their clients.
#pragma once

#include <span>

#include "server/commands/command.h"

namespace cairn::server {

// argv: name, key. Replies bytes of all rows of the key, or null.
extern const CommandSpec kMemoryUsageCommand;
// argv: name, most keys to answer. Replies keys of the call's slot; with an empty second argument their number.
extern const CommandSpec kSlotKeysCommand;

}  // namespace cairn::server
