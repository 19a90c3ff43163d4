#include <catch2/catch.hpp>
#include <cctype>
#include <string>

#include "server/commands/command.h"
#include "server/commands/command_info.h"
#include "server/commands/glob.h"

using namespace cairn::server;

TEST_CASE("every command is found in any case, and nothing else is") {
  for (const CommandSpec& spec : command_table()) {
    CHECK(find_command(spec.name) == &spec);
    std::string mixed(spec.name);
    for (size_t i = 0; i < mixed.size(); i += 2) mixed[i] = static_cast<char>(std::tolower(mixed[i]));
    CHECK(find_command(mixed) == &spec);
    CHECK(find_command(mixed + "x") == nullptr);
  }
  CHECK(find_command("") == nullptr);
  CHECK(find_command(std::string("GET\0", 4)) == nullptr);
  CHECK(find_command(std::string(1000, 'a')) == nullptr);
}

TEST_CASE("the table is complete in itself") {
  for (const CommandSpec& spec : command_table()) {
    INFO(spec.name);
    CHECK(spec.arity != 0);
    CHECK(spec.categories != 0);
    CHECK(!spec.summary.empty());
    CHECK(!spec.since.empty());
    CHECK(!spec.group.empty());
    const bool by_key = spec.place == CommandPlace::kRange || spec.place == CommandPlace::kScatter;
    CHECK((by_key || spec.session == SessionCommand::kWatch) == (spec.first_key != 0));
    if (by_key) {
      CHECK(spec.evaluate != nullptr);
      CHECK(!spec.key_flags.empty());
      CHECK(((spec.flags & kWrite) != 0) != ((spec.flags & kReadOnly) != 0));
    }
    CHECK((spec.place == CommandPlace::kConnection) == (spec.session != SessionCommand::kNone));
    if (spec.flags & kWrite) CHECK((spec.categories & kAclWrite) != 0);
    if (spec.flags & kReadOnly) CHECK((spec.categories & kAclRead) != 0);
  }
  for (const SubcommandSpec& sub : subcommand_table()) {
    const CommandSpec* spec = find_command(sub.container);
    REQUIRE(spec != nullptr);
    CHECK(has_subcommands(*spec));
    CHECK(find_subcommand(sub.container, full_name(*spec, &sub).substr(sub.container.size() + 1)) == &sub);
  }
}

TEST_CASE("globs") {
  for (const auto& [pattern, text] : {std::pair{"*", ""},
                                      {"*", "abc"},
                                      {"a*c", "abbbc"},
                                      {"a?c", "abc"},
                                      {"[a-c]x", "bx"},
                                      {"[^a]x", "bx"},
                                      {"a\\*", "a*"},
                                      {"*a*b*", "xaybz"},
                                      {"max*", "maxmemory"},
                                      {"[c-a]", "b"}}) {
    CHECK(glob_matches(pattern, text));
  }
  for (const auto& [pattern, text] : {std::pair{"", "a"},
                                      {"a", ""},
                                      {"a?c", "ac"},
                                      {"[^a]x", "ax"},
                                      {"a\\*", "ab"},
                                      {"*b", "abc"},
                                      {"[ab", "c"},
                                      {"ABC", "abc"}}) {
    CHECK(!glob_matches(pattern, text));
  }
  CHECK(glob_matches("MAX*", "maxmemory", true));
  CHECK(!glob_matches(std::string(1000, '*') + "b", std::string(2000, 'a')));
}
