// Finds the structure of RESP2 and RESP3 replies in a byte string: to merge the parts of a scattered command,
// and for tests. Foreign bytes are fine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace cairn::server {

enum class ReplyState : uint8_t { kComplete, kIncomplete, kMalformed };

// The first line of a reply, with the bytes of a bulk string.
struct ReplyHead {
  char type = 0;          // '+', '-', ':', '$', '*', '_', '%', '~', '=', '>', '#', ',', '(', '!', '|'
  int64_t number = 0;     // ':' the value; '$' '=' '!' the length; aggregates: the announced count. -1: null
  std::string_view text;  // '+' '-' ',' '(' '#': the line; '$' '=' '!': the bytes
  uint64_t children = 0;  // replies that follow and belong to this one
  size_t bytes = 0;       // of this head, with the bulk bytes, without the children
};
ReplyState read_reply_head(std::string_view in, ReplyHead& head);

// Length of the first whole reply with all its children. Needs no stack for nesting.
ReplyState reply_length(std::string_view in, size_t& length);

}  // namespace cairn::server
