// Calls by command, for INFO commandstats and the metrics page.
#pragma once

#include <array>

#include "base/metrics.h"
#include "server/commands/command.h"
#include "server/session/command_latency.h"

namespace cairn::server {

// Owned by the node, shared by its sessions. Thread safety: any thread.
struct CommandStats {
  static constexpr size_t kCommandsMax = 128;
  struct Entry {
    Counter calls;     // that passed the checks of name, arity and authentication
    Counter rejected;  // that did not
    Counter failed;    // answered with an error at once (an error that comes later is not seen here)
  };
  std::array<Entry, kCommandsMax> by_command;  // by position in command_table()
  Counter unknown;                             // commands that do not exist
  Counter commands;                            // all, as INFO's total_commands_processed
  Counter error_replies;                       // as INFO's total_error_replies, of the session's own errors
  CommandTimes times;                          // by CommandFamilies; reset() leaves them alone

  Entry& of(const CommandSpec& spec) { return by_command[static_cast<size_t>(&spec - command_table().data())]; }
  void reset() {
    for (Entry& entry : by_command) {
      entry.calls.set(0);
      entry.rejected.set(0);
      entry.failed.set(0);
    }
    unknown.set(0);
    commands.set(0);
    error_replies.set(0);
  }
};

}  // namespace cairn::server
