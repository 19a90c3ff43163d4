#include "server/commands/argument_docs.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/assert.h"

namespace cairn::server {
namespace {

constexpr std::string_view kString = "string";
constexpr std::string_view kKey = "key";
constexpr std::string_view kToken = "pure-token";
constexpr std::string_view kOneOf = "oneof";
constexpr std::string_view kBlock = "block";
constexpr auto kTypes = std::to_array<std::pair<std::string_view, std::string_view>>(
    {{"int", "integer"}, {"double", "double"}, {"time", "unix-time"}, {"pattern", "pattern"}, {"key", kKey}});

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
  return out;
}

class ArgumentParser {
 public:
  explicit ArgumentParser(std::string_view text) : rest_(text) {}

  std::vector<ArgumentDoc> list() {
    std::vector<ArgumentDoc> out;
    while (!rest_.empty() && rest_[0] != '}') {
      out.push_back(item());
      (void)take(' ');
    }
    return out;
  }
  bool ended() const { return rest_.empty(); }

 private:
  bool take(char c) {
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool take(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  void need(char c) { CAIRN_ASSERT_MSG(take(c), "the arguments of a command are malformed"); }
  std::string_view word() {
    const size_t end = std::min(rest_.find_first_of(" |()[]{}@="), rest_.size());
    const std::string_view found = rest_.substr(0, std::min(end, rest_.find("...")));
    CAIRN_ASSERT_MSG(!found.empty(), "the arguments of a command are malformed");
    rest_.remove_prefix(found.size());
    return found;
  }
  static bool is_token(std::string_view word) {
    return std::all_of(word.begin(), word.end(), [](char c) { return (c >= 'A' && c <= 'Z') || c == '-'; });
  }

  ArgumentDoc item() {
    const bool optional = take('[');
    ArgumentDoc out = element();
    out.optional = optional;
    if (optional) need(']');
    out.multiple = take("...");
    out.multiple_token = out.multiple && take('!');
    return out;
  }

  ArgumentDoc element() {
    ArgumentDoc out;
    std::string_view first = word();
    if (is_token(first)) {
      out.token = first;
      // A word in lower case behind it is its value.
      if (rest_.size() > 1 && rest_[0] == ' ' && rest_[1] >= 'a' && rest_[1] <= 'z') {
        need(' ');
        first = word();
      } else {
        out.type = kToken;
        out.name = lower(first);
        return since(std::move(out));
      }
    }
    if (take('=')) {
      out.name = first;
      group(out);
    } else {
      name_and_type(first, out);
    }
    return since(std::move(out));
  }

  void group(ArgumentDoc& out) {
    if (take('{')) {
      out.type = kBlock;
      out.arguments = list();
      return need('}');
    }
    need('(');
    out.type = kOneOf;
    do {
      out.arguments.push_back(item());
    } while (take('|'));
    need(')');
  }

  static void name_and_type(std::string_view word, ArgumentDoc& out) {
    out.name = word;
    out.type = kString;
    const size_t colon = word.rfind(':');
    if (colon == std::string_view::npos) return;
    std::string_view type = word.substr(colon + 1);
    const bool second = type == "key1";
    if (second) type = kKey;
    for (const auto& [shorthand, full] : kTypes) {
      if (type != shorthand) continue;
      out.name = word.substr(0, colon);
      out.type = full;
      out.key_spec = second ? 1 : 0;
    }
  }

  ArgumentDoc since(ArgumentDoc out) {
    if (take('@')) {
      const size_t end = std::min(rest_.find_first_not_of("0123456789."), rest_.size());
      out.since = rest_.substr(0, end);
      rest_.remove_prefix(end);
    }
    return out;
  }

  std::string_view rest_;
};

void add_text(const ArgumentDoc& argument, std::string& out);

// What may be repeated: the argument with or without its token.
std::string body(const ArgumentDoc& argument) {
  if (argument.type == kToken) return {};
  if (argument.arguments.empty()) return argument.name;
  std::vector<std::string> parts;
  for (const ArgumentDoc& inner : argument.arguments) add_text(inner, parts.emplace_back());
  const bool words =
      std::none_of(parts.begin(), parts.end(), [](const std::string& part) { return part.find(' ') != part.npos; });
  std::string_view separator = " ";
  if (argument.type == kOneOf) separator = words ? "|" : " | ";
  std::string out;
  for (const std::string& part : parts) {
    if (!out.empty()) out += separator;
    out += part;
  }
  return out;
}

void add_text(const ArgumentDoc& argument, std::string& out) {
  if (argument.optional) out += '[';
  const std::string repeated = body(argument);
  const std::string once =
      std::string(argument.token) + (argument.token.empty() || repeated.empty() ? "" : " ") + repeated;
  out += once;
  if (argument.multiple && argument.optional) out += " ...";
  if (argument.multiple && !argument.optional) {
    const bool choice = argument.type == kOneOf;  // each time another one, perhaps
    out += choice ? " ..." : " [" + (argument.multiple_token ? once : repeated) + " ...]";
  }
  if (argument.optional) out += ']';
}

void write_argument(const ArgumentDoc& argument, RespWriter& reply) {
  const bool flags = argument.optional || argument.multiple || argument.multiple_token;
  const bool is_key = argument.type == kKey;
  reply.map(2 + size_t{is_key} + size_t{!argument.token.empty()} + size_t{!argument.since.empty()} + size_t{flags} +
            size_t{!argument.arguments.empty()});
  reply.bulk("name");
  reply.bulk(argument.name);
  reply.bulk("type");
  reply.bulk(argument.type);
  if (is_key) {
    reply.bulk("key_spec_index");
    reply.integer(argument.key_spec);
  }
  if (!argument.token.empty()) {
    reply.bulk("token");
    reply.bulk(argument.token);
  }
  if (!argument.since.empty()) {
    reply.bulk("since");
    reply.bulk(argument.since);
  }
  if (flags) {
    reply.bulk("flags");
    reply.set(size_t{argument.optional} + size_t{argument.multiple} + size_t{argument.multiple_token});
    if (argument.optional) reply.status("optional");
    if (argument.multiple) reply.status("multiple");
    if (argument.multiple_token) reply.status("multiple_token");
  }
  if (argument.arguments.empty()) return;
  reply.bulk("arguments");
  write_arguments(argument.arguments, reply);
}

}  // namespace

std::vector<ArgumentDoc> parse_arguments(std::string_view text) {
  ArgumentParser parser(text);
  std::vector<ArgumentDoc> out = parser.list();
  CAIRN_ASSERT_MSG(parser.ended(), "the arguments of a command are malformed");
  return out;
}

std::string arguments_text(const std::vector<ArgumentDoc>& arguments) {
  std::string out;
  for (const ArgumentDoc& argument : arguments) {
    if (!out.empty()) out += ' ';
    add_text(argument, out);
  }
  return out;
}

void write_arguments(const std::vector<ArgumentDoc>& arguments, RespWriter& reply) {
  reply.array(arguments.size());
  for (const ArgumentDoc& argument : arguments) write_argument(argument, reply);
}

}  // namespace cairn::server
