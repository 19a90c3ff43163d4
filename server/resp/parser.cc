#include "server/resp/parser.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/codec.h"
#include "server/resp/number.h"

namespace cairn::server {
namespace {
constexpr std::string_view kPrefix = "ERR Protocol error: ";
constexpr size_t kArgumentsKept = 4096;  // a rare command with very many arguments gives its memory back

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
}  // namespace

void RequestParser::reset() {
  arguments_left_ = -1;
  bulk_length_ = -1;
  at_ = 0;
  skipping_ = false;
  skip_bytes_ = 0;
  arguments_.clear();
  if (arguments_.capacity() > kArgumentsKept) arguments_.shrink_to_fit();
}

RequestParser::Step RequestParser::fail(std::string_view reason) {
  error_.assign(kPrefix);
  error_.append(reason);
  return {ParseStatus::kProtocolError, 0};
}

RequestParser::Line RequestParser::read_number(std::string_view in, size_t& at, int64_t& value) const {
  // Nearly every line is a short positive number that is there as a whole.
  const char* p = in.data() + at;
  const char* end = in.data() + in.size();
  const char* start = p;
  int64_t n = 0;
  while (p < end && p - start < 18 && *p >= '0' && *p <= '9') n = n * 10 + (*p++ - '0');
  if (p > start && p + 1 < end && *p == '\r' && (*start != '0' || p == start + 1)) {
    at = static_cast<size_t>(p - in.data()) + 2;
    value = n;
    return Line::kDone;
  }
  const size_t room = std::min(in.size() - at, limits_.inline_bytes_max + 1);
  const void* found = room == 0 ? nullptr : std::memchr(start, '\r', room);
  if (found == nullptr) return room > limits_.inline_bytes_max ? Line::kTooLong : Line::kNeedMore;
  const auto length = static_cast<size_t>(static_cast<const char*>(found) - start);
  if (at + length + 2 > in.size()) return Line::kNeedMore;
  if (!parse_integer(in.substr(at, length), value)) return Line::kInvalid;
  at += length + 2;
  return Line::kDone;
}

RequestParser::Line RequestParser::read_bulk_header(std::string_view in, size_t& at) {
  if (at >= in.size()) return Line::kNeedMore;
  if (in[at] != '$') {
    // The reply is text: a line end inside it becomes a space when it is written.
    error_.assign("expected '$', got '");
    error_.push_back(in[at]);
    error_.push_back('\'');
    return Line::kInvalid;
  }
  size_t next = at + 1;
  int64_t length = 0;
  switch (read_number(in, next, length)) {
    case Line::kDone: break;
    case Line::kNeedMore: return Line::kNeedMore;
    case Line::kTooLong: error_ = "too big bulk count string"; return Line::kInvalid;
    case Line::kInvalid: error_ = "invalid bulk length"; return Line::kInvalid;
  }
  if (length < 0 || length > limits_.bulk_bytes_max) {
    error_ = "invalid bulk length";
    return Line::kInvalid;
  }
  if (!authenticated_ && length > limits_.unauthenticated_bulk_bytes_max) {
    error_ = "unauthenticated bulk length";
    return Line::kInvalid;
  }
  at = next;
  bulk_length_ = length;
  return Line::kDone;
}

RequestParser::Step RequestParser::next(std::string_view input) {
  size_t base = 0;  // start of the command being read
  for (;;) {
    std::string_view in = input.substr(base);
    while (skipping_) {
      const size_t take = std::min(skip_bytes_, in.size());
      skip_bytes_ -= take;
      base += take;
      in.remove_prefix(take);
      if (skip_bytes_ > 0) return {ParseStatus::kNeedMore, base};
      if (arguments_left_ == 0) {
        reset();
        break;
      }
      size_t at = 0;
      const Line line = read_bulk_header(in, at);
      if (line == Line::kInvalid) return fail(std::string(error_));
      if (line == Line::kNeedMore) return {ParseStatus::kNeedMore, base};
      --arguments_left_;
      base += at;
      in.remove_prefix(at);
      skip_bytes_ = static_cast<size_t>(bulk_length_) + 2;
    }
    if (in.empty()) return {ParseStatus::kNeedMore, base};
    if (arguments_left_ < 0) {
      if (in[0] != '*') {
        const Step step = parse_inline(in, base);
        if (step.status != ParseStatus::kCommand || !argv_.empty()) return step;
        base = step.consumed;  // an empty line is no command
        continue;
      }
      size_t at = 1;
      int64_t count = 0;
      switch (read_number(in, at, count)) {
        case Line::kDone: break;
        case Line::kNeedMore: return {ParseStatus::kNeedMore, base};
        case Line::kTooLong: return fail("too big mbulk count string");
        case Line::kInvalid: return fail("invalid multibulk length");
      }
      if (count > limits_.arguments_max) return fail("invalid multibulk length");
      if (!authenticated_ && count > limits_.unauthenticated_arguments_max) {
        return fail("unauthenticated multibulk length");
      }
      if (count <= 0) {
        base += at;
        continue;
      }
      arguments_left_ = count;
      at_ = at;
    }
    while (arguments_left_ > 0) {
      if (bulk_length_ < 0) {
        const Line line = read_bulk_header(in, at_);
        if (line == Line::kInvalid) return fail(std::string(error_));
        if (line == Line::kNeedMore) return {ParseStatus::kNeedMore, base};
        const auto bytes = static_cast<size_t>(bulk_length_);
        const bool value = bytes > limits_.value_bytes_max;
        if (value || at_ + bytes + 2 > limits_.command_bytes_max) {
          skipping_ = true;
          skip_bytes_ = bytes + 2;
          --arguments_left_;
          return {value ? ParseStatus::kValueTooLarge : ParseStatus::kTooLarge, base + at_};
        }
      }
      const auto length = static_cast<size_t>(bulk_length_);
      if (in.size() < at_ + length + 2) return {ParseStatus::kNeedMore, base};
      arguments_.push_back({at_, length});
      at_ += length + 2;
      bulk_length_ = -1;
      --arguments_left_;
    }
    argv_.clear();
    if (argv_.capacity() > kArgumentsKept && arguments_.size() <= kArgumentsKept) argv_.shrink_to_fit();
    for (const Argument& argument : arguments_) argv_.push_back(in.substr(argument.offset, argument.length));
    const size_t consumed = base + at_;
    reset();
    return {ParseStatus::kCommand, consumed};
  }
}

RequestParser::Step RequestParser::parse_inline(std::string_view in, size_t base) {
  const size_t room = std::min(in.size(), limits_.inline_bytes_max + 1);
  // at_: what earlier calls have searched already.
  const void* found = room > at_ ? std::memchr(in.data() + at_, '\n', room - at_) : nullptr;
  if (found == nullptr) {
    if (room > limits_.inline_bytes_max) return fail("too big inline request");
    at_ = room;
    return {ParseStatus::kNeedMore, base};
  }
  const auto end = static_cast<size_t>(static_cast<const char*>(found) - in.data());
  std::string_view line = in.substr(0, end);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  at_ = 0;
  if (!split_inline(line)) return fail("unbalanced quotes in request");
  return {ParseStatus::kCommand, base + end + 1};
}

// Words are separated by blanks. Inside "..." there are escapes (\n \r \t \b \a \xHH, other characters stand
// for themselves), inside '...' only \'. A closing quote ends the word. False: a quote is left open or
// followed by text.
bool RequestParser::split_inline(std::string_view line) {
  argv_.clear();
  inline_bytes_.clear();
  inline_bytes_.reserve(line.size());  // no word is longer than its source: views into it stay valid
  size_t i = 0;
  for (;;) {
    while (i < line.size() && is_space(line[i])) ++i;
    if (i >= line.size()) return true;
    const size_t start = inline_bytes_.size();
    char quote = 0;
    for (bool done = false; !done;) {
      if (i >= line.size()) {
        if (quote != 0) return false;
        break;
      }
      const char c = line[i];
      if (quote == '"' && c == '\\' && i + 3 < line.size() && line[i + 1] == 'x' && hex_digit(line[i + 2]) >= 0 &&
          hex_digit(line[i + 3]) >= 0) {
        inline_bytes_.push_back(static_cast<char>(hex_digit(line[i + 2]) * 16 + hex_digit(line[i + 3])));
        i += 4;
      } else if (quote == '"' && c == '\\' && i + 1 < line.size()) {
        char plain = line[i + 1];
        switch (plain) {
          case 'n': plain = '\n'; break;
          case 'r': plain = '\r'; break;
          case 't': plain = '\t'; break;
          case 'b': plain = '\b'; break;
          case 'a': plain = '\a'; break;
          default: break;
        }
        inline_bytes_.push_back(plain);
        i += 2;
      } else if (quote == '\'' && c == '\\' && i + 1 < line.size() && line[i + 1] == '\'') {
        inline_bytes_.push_back('\'');
        i += 2;
      } else if (quote != 0 && c == quote) {
        ++i;
        if (i < line.size() && !is_space(line[i])) return false;
        done = true;
      } else if (quote != 0) {
        inline_bytes_.push_back(c);
        ++i;
      } else if (c == ' ' || c == '\n' || c == '\r' || c == '\t') {
        done = true;
      } else if (c == '"' || c == '\'') {
        quote = c;
        ++i;
      } else {
        inline_bytes_.push_back(c);
        ++i;
      }
    }
    argv_.push_back(std::string_view(inline_bytes_).substr(start));
  }
}

}  // namespace cairn::server
