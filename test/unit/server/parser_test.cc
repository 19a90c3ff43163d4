#include "server/resp/parser.h"

#include <catch2/catch.hpp>

#include "base/random.h"
#include "server/resp/number.h"
#include "test/support/session_harness.h"

using namespace cairn;
using namespace cairn::server;
using cairn::test::request;

namespace {

using Commands = std::vector<std::vector<std::string>>;
struct Parsed {
  Commands commands;  // a too large one shows as {"<too large>"}
  std::string error;
  friend bool operator==(const Parsed&, const Parsed&) = default;
};

// Feeds `input` in pieces that end at the given places, as a connection would.
Parsed parse(std::string_view input, std::vector<size_t> cuts = {}, ParserLimits limits = {},
             bool authenticated = true) {
  RequestParser parser(limits);
  parser.set_authenticated(authenticated);
  Parsed out;
  std::string buffer;
  size_t at = 0;
  cuts.push_back(input.size());
  for (const size_t cut : cuts) {
    buffer.append(input.substr(at, cut - at));
    at = cut;
    for (;;) {
      const auto step = parser.next(buffer);
      if (step.status == ParseStatus::kProtocolError) {
        out.error = parser.error();
        return out;
      }
      if (step.status == ParseStatus::kCommand) {
        out.commands.emplace_back(parser.argv().begin(), parser.argv().end());
      } else if (step.status == ParseStatus::kTooLarge) {
        out.commands.push_back({"<too large>"});
      }
      buffer.erase(0, step.consumed);
      if (step.status == ParseStatus::kNeedMore) break;
    }
  }
  return out;
}

std::string error_of(std::string_view input) { return parse(input).error; }

}  // namespace

TEST_CASE("multibulk and inline commands come out as sent") {
  CHECK(parse("*2\r\n$3\r\nGET\r\n$3\r\nfoo\r\n").commands == Commands{{"GET", "foo"}});
  CHECK(parse("*1\r\n$0\r\n\r\n").commands == Commands{{""}});
  CHECK(parse("PING\r\nPING\n").commands == Commands{{"PING"}, {"PING"}});
  CHECK(parse("  SET  a\tb  \r\n").commands == Commands{{"SET", "a", "b"}});
  CHECK(parse("\r\n\r\n   \r\nPING\r\n").commands == Commands{{"PING"}});
  CHECK(parse("*0\r\n*-1\r\nPING\r\n").commands == Commands{{"PING"}});
  // Redis does not look at the two bytes behind an argument.
  CHECK(parse("*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n").commands == Commands{{"PING"}, {"PING"}});
}

TEST_CASE("inline quoting") {
  CHECK(parse("ECHO \"a\\x41b\\n\"\r\n").commands == Commands{{"ECHO", "aAb\n"}});
  CHECK(parse("ECHO \"\\xzz\\a\\b\\t\\r\\q\"\r\n").commands == Commands{{"ECHO", "xzz\a\b\t\rq"}});
  CHECK(parse("ECHO 'it\\'s' ''\r\n").commands == Commands{{"ECHO", "it's", ""}});
  CHECK(parse("ECHO 'a\\nb'\r\n").commands == Commands{{"ECHO", "a\\nb"}});
  CHECK(parse("SET foo\"b ar\" x\r\n").commands == Commands{{"SET", "foob ar", "x"}});
  CHECK(parse("\"\"\r\n").commands == Commands{{""}});
  for (const char* line : {"\"a\r\n", "'a\r\n", "\"a\"b\r\n", "'a'b\r\n", "a\"\\\r\n"}) {
    CHECK(error_of(line) == "ERR Protocol error: unbalanced quotes in request");
  }
}

TEST_CASE("protocol errors in Redis' words") {
  CHECK(error_of("*1\r\nPING\r\n") == "ERR Protocol error: expected '$', got 'P'");
  CHECK(error_of("*1\r\n\r\n") == "ERR Protocol error: expected '$', got '\r'");
  for (const char* line :
       {"*abc\r\n", "* 1\r\n", "*+1\r\n", "*01\r\n", "*\r\n", "*1048577\r\n", "*9999999999999999999\r\n"}) {
    CHECK(error_of(line) == "ERR Protocol error: invalid multibulk length");
  }
  for (const char* line : {"$-1\r\n", "$536870913\r\n", "$abc\r\n", "$\r\n", "$-0\r\n", "$01\r\n"}) {
    CHECK(error_of("*1\r\n" + std::string(line)) == "ERR Protocol error: invalid bulk length");
  }
  CHECK(error_of(std::string(65537, 'x')) == "ERR Protocol error: too big inline request");
  CHECK(error_of(std::string(65536, 'x')).empty());
  CHECK(error_of("*" + std::string(65537, '1')) == "ERR Protocol error: too big mbulk count string");
  CHECK(error_of("*1\r\n$" + std::string(65537, '1')) == "ERR Protocol error: too big bulk count string");
  CHECK(parse("*1\r\n$4\r\nPING\r\n*1\r\n$-5\r\n").commands == Commands{{"PING"}});
}

TEST_CASE("an unauthenticated client is kept short") {
  const auto error = [](std::string_view input) { return parse(input, {}, {}, false).error; };
  CHECK(error("*11\r\n") == "ERR Protocol error: unauthenticated multibulk length");
  CHECK(error("*10\r\n").empty());
  CHECK(error("*1\r\n$16385\r\n") == "ERR Protocol error: unauthenticated bulk length");
  CHECK(error("*1\r\n$16384\r\n").empty());
}

TEST_CASE("a command that is too large is skipped, and the next one is read") {
  ParserLimits limits;
  limits.command_bytes_max = 1000;
  const std::string big = request({"SET", "k", std::string(2000, 'v'), "EX", "10"});
  const std::string input = request({"PING"}) + big + request({"GET", "k"}) + big + "PING\r\n";
  const Parsed whole = parse(input, {}, limits);
  CHECK(whole.commands == Commands{{"PING"}, {"<too large>"}, {"GET", "k"}, {"<too large>"}, {"PING"}});
  for (size_t cut = 1; cut < input.size(); ++cut) REQUIRE(parse(input, {cut}, limits) == whole);
  // Many small arguments count too.
  std::vector<std::string> many(300, "ab");
  CHECK(parse(request(many) + "PING\r\n", {}, limits).commands == Commands{{"<too large>"}, {"PING"}});
  // Nothing of what is skipped is kept.
  RequestParser parser(limits);
  const auto step = parser.next("*2\r\n$5000000\r\nabc");
  CHECK((step.status == ParseStatus::kTooLarge && step.consumed == 14));
  const auto rest = parser.next("abc");
  CHECK((rest.status == ParseStatus::kNeedMore && rest.consumed == 3));
}

TEST_CASE("the result does not depend on where the input is cut") {
  const std::string input = "PING\r\n" + request({"SET", "key", std::string("va\r\n\0lue", 8)}) +
                            "\r\nECHO \"a b\" 'c'\r\n" + request({"MGET", "", "b", std::string(100, 'c')}) +
                            "*0\r\n*-1\r\n  \n" + request({"DEL", "x"}) + "*1\r\n$3\r\n";
  const Parsed whole = parse(input);
  CHECK(whole.commands.size() == 5);
  for (size_t cut = 0; cut <= input.size(); ++cut) REQUIRE(parse(input, {cut}) == whole);
  std::vector<size_t> every;
  for (size_t i = 1; i < input.size(); ++i) every.push_back(i);
  CHECK(parse(input, every) == whole);
  SeededRandom random(11);
  for (int round = 0; round < 300; ++round) {
    std::string noise = input;
    for (int i = 0; i < 3; ++i) noise[random.below(noise.size())] = static_cast<char>(random.below(256));
    const Parsed expected = parse(noise);
    REQUIRE(parse(noise, every.size() == noise.size() - 1 ? every : std::vector<size_t>{}) == expected);
  }
}

TEST_CASE("integers are read strictly") {
  const auto value = [](std::string_view text) {
    int64_t n = 0;
    return parse_integer(text, n) ? std::to_string(n) : std::string("no");
  };
  for (const char* good : {"0", "1", "-1", "9223372036854775807", "-9223372036854775808"}) CHECK(value(good) == good);
  for (const char* bad : {"", "-", "-0", "00", "01", "+1", " 1", "1 ", "1.0", "1e3", "9223372036854775808",
                          "-9223372036854775809", "a", "--1"}) {
    CHECK(value(bad) == "no");
  }
}
