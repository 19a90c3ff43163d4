// Calls, times and errors by command, for INFO, LATENCY HISTOGRAM and the metrics page.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/metrics.h"
#include "server/commands/command.h"
#include "server/session/command_latency.h"
#include "server/session/latency.h"

namespace cairn::server {

// Owned by the node, shared by its sessions. Thread safety: the counters any thread, the rest on the range loop.
struct CommandStats {
  static constexpr size_t kCommandsMax = 128;
  static constexpr size_t kSubcommandsMax = 128;
  static constexpr size_t kErrorKindsMax = 128;
  struct Entry {
    Counter calls;                            // that passed the checks of name, arity and authentication
    Counter rejected;                         // that did not
    Counter failed;                           // answered with an error
    Counter us;                               // from evaluation to reply, all calls together; 0 while nothing is timed
    std::unique_ptr<LatencyHistogram> times;  // null: none yet
  };
  // By position in command_table(), then by position in subcommand_table().
  std::array<Entry, kCommandsMax + kSubcommandsMax> by_command;
  Counter unknown;                                      // commands that do not exist
  Counter commands;                                     // all, as INFO's total_commands_processed
  Counter error_replies;                                // as INFO's total_error_replies
  std::map<std::string, uint64_t, std::less<>> errors;  // by their first word
  CommandTimes times;                                   // by CommandFamilies; reset() leaves them alone

  Entry& of(const CommandSpec& spec, const SubcommandSpec* subcommand = nullptr) {
    return by_command[place(spec, subcommand)];
  }
  const Entry& of(const CommandSpec& spec, const SubcommandSpec* subcommand = nullptr) const {
    return by_command[place(spec, subcommand)];
  }
  void took(Entry& entry, Duration time, bool histogram) {
    entry.us.add_owned(time / kMicrosecond);
    if (!histogram) return;
    if (!entry.times) entry.times = std::make_unique<LatencyHistogram>();
    entry.times->record(time);
  }
  // `reply`: an error as it is sent, "-ERR ...". A kind beyond kErrorKindsMax is only counted in the sum.
  void count_error(std::string_view reply) {
    error_replies.add();
    if (reply.starts_with('!')) reply.remove_prefix(std::min(reply.size(), reply.find('\n')));
    reply.remove_prefix(reply.empty() ? 0 : 1);
    reply = reply.substr(0, reply.find_first_of(" \r\n"));
    const auto known = errors.find(reply);
    if (known != errors.end()) {
      ++known->second;
    } else if (errors.size() < kErrorKindsMax) {
      errors.emplace(reply, 1);
    }
  }
  void reset() {
    for (Entry& entry : by_command) {
      entry.calls.set(0);
      entry.rejected.set(0);
      entry.failed.set(0);
      entry.us.set(0);
      entry.times.reset();
    }
    unknown.set(0);
    commands.set(0);
    error_replies.set(0);
    errors.clear();
  }

 private:
  static size_t place(const CommandSpec& spec, const SubcommandSpec* subcommand) {
    return subcommand != nullptr ? kCommandsMax + position(subcommand, subcommand_table())
                                 : position(&spec, command_table());
  }
  template <class T>
  static size_t position(const T* entry, std::span<const T> table) {
    return static_cast<size_t>(entry - table.data());
  }
};

}  // namespace cairn::server
