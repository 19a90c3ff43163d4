// The short form in which the command tables describe arguments.
#include <catch2/catch.hpp>

#include "server/commands/argument_docs.h"
#include "server/commands/command.h"

using namespace cairn::server;

namespace {
std::string text_of(std::string_view arguments) { return arguments_text(parse_arguments(arguments)); }
std::string written(std::string_view arguments) {
  std::string out;
  RespWriter reply(out, 2);
  write_arguments(parse_arguments(arguments), reply);
  return out;
}
}  // namespace

TEST_CASE("arguments as people write them") {
  CHECK(text_of("").empty());
  CHECK(text_of("key:key value") == "key value");
  CHECK(text_of("key:key field...") == "key field [field ...]");
  CHECK(text_of("[command-name]...") == "[command-name ...]");
  CHECK(text_of("key:key1 [condition=(NX|XX)@2.6.12] [GET@6.2.0]") == "key [NX|XX] [GET]");
  CHECK(text_of("[e=(EX seconds:int@2.6.12|AT unix:time|KEEP)]") == "[EX seconds | AT unix | KEEP]");
  CHECK(text_of("index={start:int end:int [unit=(BYTE|BIT)]}") == "start end [BYTE|BIT]");
  CHECK(text_of("field_value={field value}...") == "field value [field value ...]");
  CHECK(text_of("PREFIX prefix...") == "PREFIX prefix [prefix ...]");
  CHECK(text_of("PREFIX prefix...!") == "PREFIX prefix [PREFIX prefix ...]");
  CHECK(text_of("x=(A a|B b)...") == "A a | B b ...");
  CHECK(text_of("ip:port yes/no") == "ip:port yes/no");
}

TEST_CASE("arguments as COMMAND DOCS answers them") {
  CHECK(written("destkey:key key:key1...") ==
        "*2\r\n*6\r\n$4\r\nname\r\n$7\r\ndestkey\r\n$4\r\ntype\r\n$3\r\nkey\r\n$14\r\nkey_spec_index\r\n:0\r\n"
        "*8\r\n$4\r\nname\r\n$3\r\nkey\r\n$4\r\ntype\r\n$3\r\nkey\r\n$14\r\nkey_spec_index\r\n:1\r\n"
        "$5\r\nflags\r\n*1\r\n+multiple\r\n");
  CHECK(written("[LEN len:int@7.0.0]") ==
        "*1\r\n*10\r\n$4\r\nname\r\n$3\r\nlen\r\n$4\r\ntype\r\n$7\r\ninteger\r\n$5\r\ntoken\r\n$3\r\nLEN\r\n"
        "$5\r\nsince\r\n$5\r\n7.0.0\r\n$5\r\nflags\r\n*1\r\n+optional\r\n");
  CHECK(written("o=(A|B)") ==
        "*1\r\n*6\r\n$4\r\nname\r\n$1\r\no\r\n$4\r\ntype\r\n$5\r\noneof\r\n$9\r\narguments\r\n*2\r\n"
        "*6\r\n$4\r\nname\r\n$1\r\na\r\n$4\r\ntype\r\n$10\r\npure-token\r\n$5\r\ntoken\r\n$1\r\nA\r\n"
        "*6\r\n$4\r\nname\r\n$1\r\nb\r\n$4\r\ntype\r\n$10\r\npure-token\r\n$5\r\ntoken\r\n$1\r\nB\r\n");
}

TEST_CASE("every command that takes arguments documents them") {
  for (const CommandSpec& spec : command_table()) {
    INFO(spec.name);
    const auto arguments = parse_arguments(spec.arguments);
    CHECK((spec.arity == 1 || !arguments.empty() || spec.session != SessionCommand::kNone));
    // As many as must be there.
    size_t needed = 1;
    for (const ArgumentDoc& argument : arguments) needed += argument.optional ? 0 : 1;
    CHECK(needed <= static_cast<size_t>(std::abs(spec.arity)));
  }
  for (const SubcommandSpec& spec : subcommand_table()) {
    INFO(spec.container << ' ' << spec.name);
    CHECK((spec.arity == 2 || !parse_arguments(spec.arguments).empty()));
    CHECK(!spec.since.empty());
  }
}
