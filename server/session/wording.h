// Phrases that several of the connection's own commands answer with.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "server/commands/command.h"
#include "server/commands/key_access.h"

namespace cairn::server {

inline bool printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '!' && c <= '~'; });
}

inline std::string quoted_error(std::string_view before, std::string_view argument, std::string_view after = "'") {
  return std::string(before) + std::string(until_zero(argument)) + std::string(after);
}

// What Redis says of a subcommand with an odd number of arguments; the name is shown as it was sent.
inline std::string odd_arguments(std::string_view container, std::string_view subcommand) {
  return "ERR unknown subcommand or wrong number of arguments for '" +
         std::string(until_zero(subcommand).substr(0, 128)) + "'. Try " + std::string(container) + " HELP.";
}

}  // namespace cairn::server
