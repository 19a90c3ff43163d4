#include "server/resp/reply_parser.h"

#include <catch2/catch.hpp>
#include <string>

#include "server/resp/writer.h"

using namespace cairn::server;

TEST_CASE("whole replies are measured, and every prefix is incomplete") {
  std::string text;
  for (const int proto : {2, 3}) {
    RespWriter reply(text, proto);
    reply.array(5);
    reply.bulk("a\r\nb");
    reply.null();
    reply.integer(-12);
    reply.map(2);
    reply.status("k");
    reply.set(1);
    reply.verbatim("text");
    reply.error("ERR no");
    reply.null_array();
    reply.bulk("");
  }
  size_t length = 0;
  REQUIRE(reply_length(text, length) == ReplyState::kComplete);
  const std::string_view first = std::string_view(text).substr(0, length);
  for (size_t n = 0; n < first.size(); ++n) {
    size_t ignored = 0;
    REQUIRE(reply_length(first.substr(0, n), ignored) == ReplyState::kIncomplete);
  }
  size_t second = 0;
  REQUIRE(reply_length(std::string_view(text).substr(length), second) == ReplyState::kComplete);
  CHECK(length + second == text.size());
}

TEST_CASE("heads tell type, number and bytes") {
  ReplyHead head;
  REQUIRE(read_reply_head("$3\r\nabc\r\nrest", head) == ReplyState::kComplete);
  CHECK((head.type == '$' && head.text == "abc" && head.bytes == 9));
  REQUIRE(read_reply_head("%2\r\n", head) == ReplyState::kComplete);
  CHECK((head.number == 2 && head.children == 4));
  REQUIRE(read_reply_head("|1\r\n", head) == ReplyState::kComplete);
  CHECK(head.children == 3);
  REQUIRE(read_reply_head("$-1\r\n", head) == ReplyState::kComplete);
  CHECK((head.number == -1 && head.children == 0));
}

TEST_CASE("foreign bytes are refused") {
  size_t length = 0;
  for (const char* bad :
       {"x\r\n", "$a\r\n", "$-2\r\n", ":1.5\r\n", "*-7\r\n", "$1\r\nabc\r\n", "_x\r\n", "$99999999999\r\n"}) {
    CHECK(reply_length(bad, length) == ReplyState::kMalformed);
  }
  // Deep nesting needs no stack.
  std::string deep;
  for (int i = 0; i < 200000; ++i) deep += "*1\r\n";
  CHECK(reply_length(deep, length) == ReplyState::kIncomplete);
  CHECK(reply_length(deep + ":1\r\n", length) == ReplyState::kComplete);
}
