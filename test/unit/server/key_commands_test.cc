// Keys that are touched, renamed and copied, and the commands about fields of a hash.
#include <catch2/catch.hpp>
#include <set>

#include "test/support/session_harness.h"

using namespace cairn::server;
using cairn::test::bulk;
using cairn::test::SessionHarness;

namespace {
constexpr const char* kOk = "+OK\r\n";
constexpr const char* kNil = "$-1\r\n";
constexpr const char* kNotInteger = "-ERR value is not an integer or out of range\r\n";

size_t rows_of(const SessionHarness& h) { return h.sink.rows.rows().size(); }

void fill_hash(SessionHarness& h, const std::string& key, int fields) {
  for (int i = 0; i < fields; ++i) h({"HSET", key, "f" + std::to_string(i), "v" + std::to_string(i)});
}

// The bulk strings of a flat array.
std::vector<std::string> texts(const std::string& reply) {
  std::vector<std::string> out;
  size_t at = reply.find("\r\n") + 2;
  while (at < reply.size()) {
    REQUIRE(reply[at] == '$');
    const size_t start = reply.find("\r\n", at) + 2;
    const size_t length = std::stoul(reply.substr(at + 1));
    out.push_back(reply.substr(start, length));
    at = start + length + 2;
  }
  return out;
}
}  // namespace

TEST_CASE("TOUCH counts over slots") {
  SessionHarness h;
  h({"SET", "a", "1"});
  h({"HSET", "b", "f", "v"});
  CHECK(h({"TOUCH", "a", "b", "c", "a"}) == ":3\r\n");
}

TEST_CASE("RENAME and RENAMENX") {
  SessionHarness h;
  CHECK(h({"RENAME", "{t}a", "{t}a"}) == "-ERR no such key\r\n");
  h({"SET", "{t}a", "1", "EX", "100"});
  CHECK(h({"RENAME", "{t}a", "{t}a"}) == kOk);
  CHECK(h({"RENAMENX", "{t}a", "{t}a"}) == ":0\r\n");
  fill_hash(h, "{t}h", 200);
  CHECK(h({"RENAMENX", "{t}a", "{t}h"}) == ":0\r\n");
  CHECK(h({"RENAME", "{t}a", "{t}h"}) == kOk);
  CHECK(rows_of(h) == 1);
  CHECK(h({"TTL", "{t}h"}) == ":100\r\n");
  CHECK(h({"RENAMENX", "{t}h", "{t}b"}) == ":1\r\n");
  CHECK(h({"GET", "{t}b"}) == bulk("1"));
  CHECK(h({"RENAME", "a", "b"}) == "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
}

TEST_CASE("an exploded hash moves with its fields and its expiry") {
  for (const bool cold : {false, true}) {
    SessionHarness h;
    fill_hash(h, "{t}h", 200);
    h({"EXPIRE", "{t}h", "100"});
    h.sink.rows.cold = cold;
    CHECK(h({"RENAME", "{t}h", "{t}i"}) == kOk);
    CHECK(rows_of(h) == 201);
    CHECK(h({"EXISTS", "{t}h"}) == ":0\r\n");
    CHECK(h({"HLEN", "{t}i"}) == ":200\r\n");
    CHECK(h({"HGET", "{t}i", "f77"}) == bulk("v77"));
    CHECK(h({"TTL", "{t}i"}) == ":100\r\n");
    CHECK(h({"COPY", "{t}i", "{t}j"}) == ":1\r\n");
    CHECK(rows_of(h) == 402);
    h({"HSET", "{t}j", "f77", "other"});
    CHECK(h({"HGET", "{t}i", "f77"}) == bulk("v77"));
    CHECK(h({"TTL", "{t}j"}) == ":100\r\n");
    CHECK(h({"COPY", "{t}i", "{t}j", "REPLACE"}) == ":1\r\n");
    CHECK(rows_of(h) == 402);
    CHECK(h({"HGET", "{t}j", "f77"}) == bulk("v77"));
    CHECK(h({"DEL", "{t}i", "{t}j"}) == ":2\r\n");
    CHECK(rows_of(h) == 0);
    h.sink.is_whole = true;
    fill_hash(h, "a", 200);
    CHECK(h({"RENAME", "a", "b"}) == kOk);
    CHECK(h({"HGETALL", "b"}).substr(0, 6) == "*400\r\n");
    CHECK(rows_of(h) == 201);
  }
}

TEST_CASE("a hash that is too large to move stays") {
  SessionHarness h;
  for (int i = 0; i < 9; ++i) h({"HSET", "{t}h", std::to_string(i), std::string(4 << 20, 'x')});
  CHECK(h({"RENAME", "{t}h", "{t}i"}) == "-ERR the hash is too large to be renamed or copied in one step\r\n");
  CHECK(h.sink.rows.effects() == 0);
}

TEST_CASE("COPY") {
  SessionHarness h;
  CHECK(h({"COPY", "{t}a", "{t}b"}) == ":0\r\n");
  h({"SET", "{t}a", "1", "EX", "100"});
  h({"SET", "{t}b", "2"});
  CHECK(h({"COPY", "{t}a", "{t}b"}) == ":0\r\n");
  CHECK(h({"COPY", "{t}a", "{t}b", "db", "0", "replace"}) == ":1\r\n");
  CHECK(h({"GET", "{t}b"}) == bulk("1"));
  CHECK(h({"TTL", "{t}b"}) == ":100\r\n");
  CHECK(h({"COPY", "{t}a", "{t}a", "REPLACE"}) == "-ERR source and destination objects are the same\r\n");
  CHECK(h({"COPY", "{t}a", "{t}b", "DB", "1"}) == "-ERR DB index is out of range\r\n");
  CHECK(h({"COPY", "{t}a", "{t}b", "DB", "x"}) == kNotInteger);
  CHECK(h({"COPY", "{t}a", "{t}b", "DB", "2147483648"}) ==
        "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n");
  CHECK(h({"COPY", "{t}a", "{t}b", "DB"}) == "-ERR syntax error\r\n");
}

TEST_CASE("fields, read and counted") {
  for (const int fields : {3, 200}) {
    INFO(fields);
    SessionHarness h;
    fill_hash(h, "h", fields);
    for (const bool cold : {false, true}) {
      h.sink.rows.cold = cold;
      CHECK(h({"HMGET", "h", "f1", "x", "f2", "f1"}) == "*4\r\n" + bulk("v1") + kNil + bulk("v2") + bulk("v1"));
      CHECK(h({"HEXISTS", "h", "f1"}) == ":1\r\n");
      CHECK(h({"HEXISTS", "h", "x"}) == ":0\r\n");
      CHECK(h({"HSTRLEN", "h", "f2"}) == ":2\r\n");
      CHECK(h({"HSTRLEN", "h", "x"}) == ":0\r\n");
      CHECK(texts(h({"HKEYS", "h"})).size() == static_cast<size_t>(fields));
      for (const std::string& value : texts(h({"HVALS", "h"}))) CHECK(value[0] == 'v');
      CHECK(h({"HSETNX", "h", "f1", "new"}) == ":0\r\n");
    }
  }
  SessionHarness h;
  CHECK(h({"HMGET", "h", "a", "b"}) == "*2\r\n" + std::string(kNil) + kNil);
  CHECK(h({"HKEYS", "h"}) == "*0\r\n");
  h({"HELLO", "3"});
  CHECK(h({"HVALS", "h"}) == "*0\r\n");
}

TEST_CASE("fields, set and counted up") {
  for (const int fields : {0, 200}) {
    SessionHarness h;
    fill_hash(h, "h", fields);
    h.sink.rows.cold = true;
    CHECK(h({"HMSET", "h", "a", "1", "b", "2"}) == kOk);
    CHECK(h({"HMSET", "h", "a", "1", "b"}) == "-ERR wrong number of arguments for 'hmset' command\r\n");
    CHECK(h({"HSETNX", "h", "c", "3"}) == ":1\r\n");
    CHECK(h({"HLEN", "h"}) == ":" + std::to_string(fields + 3) + "\r\n");
    CHECK(h({"HINCRBY", "h", "a", "9"}) == ":10\r\n");
    CHECK(h({"HINCRBY", "h", "n", "-9"}) == ":-9\r\n");
    CHECK(h({"HINCRBY", "h", "a", "9223372036854775807"}) == "-ERR increment or decrement would overflow\r\n");
    CHECK(h({"HINCRBY", "h", "a", "x"}) == kNotInteger);
    CHECK(h({"HINCRBYFLOAT", "h", "a", "0.25"}) == bulk("10.25"));
    CHECK(h({"HINCRBY", "h", "a", "1"}) == "-ERR hash value is not an integer\r\n");
    CHECK(h({"HINCRBYFLOAT", "h", "m", "1e3"}) == bulk("1000"));
    CHECK(h({"HINCRBYFLOAT", "h", "m", "x"}) == "-ERR value is not a valid float\r\n");
    CHECK(h({"HINCRBYFLOAT", "h", "m", "-inf"}) == "-ERR value is NaN or Infinity\r\n");
    h({"HSET", "h", "m", "x"});
    CHECK(h({"HINCRBYFLOAT", "h", "m", "1"}) == "-ERR hash value is not a float\r\n");
    CHECK(h({"HLEN", "h"}) == ":" + std::to_string(fields + 5) + "\r\n");
  }
}

TEST_CASE("HRANDFIELD") {
  for (const int fields : {5, 200}) {
    INFO(fields);
    SessionHarness h;
    fill_hash(h, "h", fields);
    h.sink.rows.cold = true;
    std::set<std::string> seen;
    for (int i = 0; i < 50; ++i) {
      const std::string one = h({"HRANDFIELD", "h"});
      seen.insert(one);
      CHECK(one.find("\r\nf") != std::string::npos);
    }
    CHECK(seen.size() >= 4);
    const auto distinct = texts(h({"HRANDFIELD", "h", "4"}));
    CHECK(distinct.size() == 4);
    CHECK(std::set(distinct.begin(), distinct.end()).size() == 4);
    CHECK(texts(h({"HRANDFIELD", "h", "1000"})).size() == static_cast<size_t>(fields));
    CHECK(texts(h({"HRANDFIELD", "h", "-1000"})).size() == 1000);
    const auto pairs = texts(h({"HRANDFIELD", "h", "-20", "withvalues"}));
    REQUIRE(pairs.size() == 40);
    for (size_t i = 0; i < pairs.size(); i += 2) CHECK(pairs[i].substr(1) == pairs[i + 1].substr(1));
    CHECK(h({"HRANDFIELD", "h", "0"}) == "*0\r\n");
    h({"HELLO", "3"});
    CHECK(h({"HRANDFIELD", "h", "1", "WITHVALUES"}).starts_with("*1\r\n*2\r\n$"));
    h({"HELLO", "2"});
    h.sink.rows.cold = false;
    CHECK(h({"HRANDFIELD", "h", "-9223372036854775807"}) == "-ERR value is out of range\r\n");
  }
  SessionHarness h;
  CHECK(h({"HRANDFIELD", "h"}) == kNil);
  CHECK(h({"HRANDFIELD", "h", "-3", "WITHVALUES"}) == "*0\r\n");
  CHECK(h({"HRANDFIELD", "h", "x", "foo"}) == kNotInteger);
  CHECK(h({"HRANDFIELD", "h", "1", "foo"}) == "-ERR syntax error\r\n");
  CHECK(h({"HRANDFIELD", "h", "9223372036854775807", "WITHVALUES"}) == "-ERR value is out of range\r\n");
  CHECK(h({"HRANDFIELD", "h", "-9223372036854775808"}) ==
        "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807\r\n");
  h({"HSET", "h", "f", std::string(1 << 20, 'x')});
  CHECK(h({"HRANDFIELD", "h", "-100", "WITHVALUES"}) == "-ERR value is out of range\r\n");
}
