// What COMMAND DOCS says of a command's arguments, written in the command tables in a short form:
//
//   name            a string; name:int, name:double, name:time (a Unix time), name:pattern, name:key, name:key1 (the
//                   second key specification)
//   TOKEN           the word itself;  TOKEN name  the word and what follows it
//   name=(a|b)      one of several;   name={a b}  several together; both may follow a TOKEN
//   [a]             may be missing
//   a...            may be repeated;  a...!       the TOKEN with it
//   a@6.2.0         since that version of Redis
//
// As Redis 7.0 describes them (https://redis.io/docs/latest/commands/command-docs/).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/resp/writer.h"

namespace cairn::server {

struct ArgumentDoc {
  std::string name;
  std::string_view type;  // as COMMAND DOCS names it
  std::string_view token;
  std::string_view since;
  int key_spec = 0;  // of a key
  bool optional = false;
  bool multiple = false;
  bool multiple_token = false;
  std::vector<ArgumentDoc> arguments;  // of "oneof" and "block"
};

// Views into `text`. A malformed text ends the process: only tables are parsed.
std::vector<ArgumentDoc> parse_arguments(std::string_view text);
// As people write it: "key value [NX|XX] [EX seconds | PX milliseconds]".
std::string arguments_text(const std::vector<ArgumentDoc>& arguments);
void write_arguments(const std::vector<ArgumentDoc>& arguments, RespWriter& reply);

}  // namespace cairn::server
