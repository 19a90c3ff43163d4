#include "server/resp/reply_parser.h"

#include "server/resp/number.h"

namespace cairn::server {
namespace {
constexpr int64_t kLengthMax = int64_t{1} << 32;
}

ReplyState read_reply_head(std::string_view in, ReplyHead& head) {
  head = {};
  if (in.empty()) return ReplyState::kIncomplete;
  head.type = in[0];
  const size_t line_end = in.find("\r\n", 1);
  if (line_end == std::string_view::npos) return ReplyState::kIncomplete;
  const std::string_view line = in.substr(1, line_end - 1);
  head.bytes = line_end + 2;
  switch (head.type) {
    case '+':
    case '-':
    case ',':
    case '(':
    case '#': head.text = line; return ReplyState::kComplete;
    case '_': head.number = -1; return line.empty() ? ReplyState::kComplete : ReplyState::kMalformed;
    case ':': return parse_integer(line, head.number) ? ReplyState::kComplete : ReplyState::kMalformed;
    case '$':
    case '=':
    case '!': {
      if (!parse_integer(line, head.number) || head.number < -1 || head.number > kLengthMax) {
        return ReplyState::kMalformed;
      }
      if (head.number < 0) return ReplyState::kComplete;
      const auto length = static_cast<size_t>(head.number);
      if (in.size() < head.bytes + length + 2) return ReplyState::kIncomplete;
      if (in.substr(head.bytes + length, 2) != "\r\n") return ReplyState::kMalformed;
      head.text = in.substr(head.bytes, length);
      head.bytes += length + 2;
      return ReplyState::kComplete;
    }
    case '*':
    case '~':
    case '>':
    case '%':
    case '|':
      if (!parse_integer(line, head.number) || head.number < -1 || head.number > kLengthMax) {
        return ReplyState::kMalformed;
      }
      if (head.number > 0) {
        const bool pairs = head.type == '%' || head.type == '|';
        // An attribute is followed by the reply that it describes.
        head.children = static_cast<uint64_t>(head.number) * (pairs ? 2 : 1);
      }
      if (head.type == '|') ++head.children;
      return ReplyState::kComplete;
    default: return ReplyState::kMalformed;
  }
}

ReplyState reply_length(std::string_view in, size_t& length) {
  uint64_t wanted = 1;
  size_t at = 0;
  while (wanted > 0) {
    ReplyHead head;
    const ReplyState state = read_reply_head(in.substr(at), head);
    if (state != ReplyState::kComplete) return state;
    at += head.bytes;
    if (wanted - 1 > (uint64_t{1} << 62) - head.children) return ReplyState::kMalformed;
    wanted += head.children - 1;
  }
  length = at;
  return ReplyState::kComplete;
}

}  // namespace cairn::server
