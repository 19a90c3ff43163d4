// Evaluators through a session over rows in memory: wording, types and effects.
#include <catch2/catch.hpp>

#include "server/commands/row_format.h"
#include "sharding/key_encoding.h"
#include "sharding/slot.h"
#include "test/support/session_harness.h"

using namespace cairn;
using namespace cairn::server;
using cairn::test::bulk;
using cairn::test::SessionHarness;

namespace {
constexpr const char* kOk = "+OK\r\n";
constexpr const char* kNil = "$-1\r\n";
constexpr const char* kSyntax = "-ERR syntax error\r\n";
constexpr const char* kNotInteger = "-ERR value is not an integer or out of range\r\n";
constexpr const char* kWrong = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";

size_t rows_of(const SessionHarness& h) { return h.sink.rows.rows().size(); }

void fill_hash(SessionHarness& h, const std::string& key, int fields) {
  for (int i = 0; i < fields; ++i) h({"HSET", key, "f" + std::to_string(i), "v" + std::to_string(i)});
}
}  // namespace

TEST_CASE("SET with its options") {
  SessionHarness h;
  CHECK(h({"SET", "a", "1"}) == kOk);
  CHECK(h({"SET", "a", "2", "NX"}) == kNil);
  CHECK(h({"SET", "a", "2", "nx", "GET"}) == bulk("1"));
  CHECK(h({"SET", "b", "2", "XX"}) == kNil);
  CHECK(h({"SET", "b", "2", "NX", "GET"}) == kNil);
  CHECK(h({"GET", "b"}) == bulk("2"));
  CHECK(h({"SET", "a", "3", "XX", "GET"}) == bulk("1"));
  CHECK(h({"SET", "a", "4", "EX", "100"}) == kOk);
  CHECK(h({"TTL", "a"}) == ":100\r\n");
  CHECK(h({"SET", "a", "5", "KEEPTTL"}) == kOk);
  CHECK(h({"PTTL", "a"}) == ":100000\r\n");
  CHECK(h({"SET", "a", "5"}) == kOk);
  CHECK(h({"TTL", "a"}) == ":-1\r\n");
  CHECK(h({"SET", "a", "5", "PXAT", std::to_string(h.sink.rows.now + 7)}) == kOk);
  CHECK(h({"PTTL", "a"}) == ":7\r\n");
  CHECK(h({"SET", "a", "b", "PXAT", "1"}) == kOk);
  CHECK(rows_of(h) == 1);  // set and expired at once: only b is left
  for (const std::vector<std::string>& options : std::vector<std::vector<std::string>>{{"c"},
                                                                                       {"NX", "XX"},
                                                                                       {"EX"},
                                                                                       {"EX", "10", "PX", "10"},
                                                                                       {"EX", "10", "KEEPTTL"},
                                                                                       {"KEEPTTL", "EX", "10"},
                                                                                       {"PERSIST"}}) {
    std::vector<std::string> argv{"SET", "a", "b"};
    argv.insert(argv.end(), options.begin(), options.end());
    CHECK(h(argv) == kSyntax);
  }
  CHECK(h({"SET", "a", "b", "EX", "10", "EX", "20"}) == kOk);
  CHECK(h({"TTL", "a"}) == ":20\r\n");
  CHECK(h({"SET", "a", "b", "EX", "abc"}) == kNotInteger);
  for (const char* amount : {"0", "-1", "9223372036854775807"}) {
    CHECK(h({"SET", "a", "b", "EX", amount}) == "-ERR invalid expire time in 'set' command\r\n");
  }
  CHECK(h({"SET", "a", "b", "PX", "9223372036854775807"}) == "-ERR invalid expire time in 'set' command\r\n");
  CHECK(h({"SET", "a", "b", "PXAT", "9223372036854775807"}) == kOk);
}

TEST_CASE("a plain SET reads nothing where the key cannot be exploded") {
  SessionHarness h;
  h.sink.rows.knows_exploded = true;
  h({"SET", "a", "1"});
  h.sink.rows.cold = true;
  CHECK(h({"SET", "a", "2"}) == kOk);
  CHECK(h({"SET", "a", "2", "EX", "10"}) == kOk);
  CHECK(h({"SET", "a", "2", "PXAT", "5"}) == kOk);
  CHECK(rows_of(h) == 0);
  h.sink.rows.cold = false;
  fill_hash(h, "h", 200);
  CHECK(rows_of(h) == 201);
  CHECK(h({"SET", "h", "x"}) == kOk);
  CHECK(rows_of(h) == 1);
}

TEST_CASE("counters") {
  SessionHarness h;
  CHECK(h({"INCR", "n"}) == ":1\r\n");
  CHECK(h({"DECRBY", "n", "11"}) == ":-10\r\n");
  CHECK(h({"EXPIRE", "n", "50"}) == ":1\r\n");
  CHECK(h({"INCRBY", "n", "-9223372036854775798"}) == ":-9223372036854775808\r\n");
  CHECK(h({"TTL", "n"}) == ":50\r\n");
  CHECK(h({"DECR", "n"}) == "-ERR increment or decrement would overflow\r\n");
  CHECK(h({"DECRBY", "n", "-9223372036854775808"}) == "-ERR decrement would overflow\r\n");
  for (const char* bad : {"abc", "", "+1", "01", "1.0", " 1", "9223372036854775808"})
    CHECK(h({"INCRBY", "n", bad}) == kNotInteger);
  h({"SET", "s", "12a"});
  CHECK(h({"INCR", "s"}) == kNotInteger);
  CHECK(h({"GET", "s"}) == bulk("12a"));
}

TEST_CASE("APPEND, STRLEN, MGET") {
  SessionHarness h;
  CHECK(h({"APPEND", "a", "foo"}) == ":3\r\n");
  CHECK(h({"APPEND", "a", std::string("\0bar", 4)}) == ":7\r\n");
  CHECK(h({"GET", "a"}) == bulk(std::string_view("foo\0bar", 7)));
  CHECK(h({"STRLEN", "a"}) == ":7\r\n");
  CHECK(h({"STRLEN", "x"}) == ":0\r\n");
  h({"HSET", "h", "f", "v"});
  CHECK(h({"MGET", "a", "h", "x", "a"}) ==
        "*4\r\n" + bulk(std::string_view("foo\0bar", 7)) + kNil + kNil + bulk(std::string_view("foo\0bar", 7)));
}

TEST_CASE("wrong types answer WRONGTYPE and change nothing") {
  SessionHarness h;
  h({"HSET", "h", "f", "v"});
  h({"SET", "s", "v"});
  for (const std::vector<std::string>& argv : std::vector<std::vector<std::string>>{{"GET", "h"},
                                                                                    {"SET", "h", "x", "GET"},
                                                                                    {"INCR", "h"},
                                                                                    {"APPEND", "h", "x"},
                                                                                    {"STRLEN", "h"},
                                                                                    {"HSET", "s", "f", "v"},
                                                                                    {"HGET", "s", "f"},
                                                                                    {"HDEL", "s", "f"},
                                                                                    {"HLEN", "s"},
                                                                                    {"HGETALL", "s"},
                                                                                    {"HMGET", "s", "f"},
                                                                                    {"HMSET", "s", "f", "v"},
                                                                                    {"HSETNX", "s", "f", "v"},
                                                                                    {"HEXISTS", "s", "f"},
                                                                                    {"HKEYS", "s"},
                                                                                    {"HVALS", "s"},
                                                                                    {"HSTRLEN", "s", "f"},
                                                                                    {"HINCRBY", "s", "f", "1"},
                                                                                    {"HINCRBYFLOAT", "s", "f", "1"},
                                                                                    {"HRANDFIELD", "s"},
                                                                                    {"HRANDFIELD", "s", "0"},
                                                                                    {"GETEX", "h"},
                                                                                    {"GETDEL", "h"},
                                                                                    {"GETSET", "h", "v"},
                                                                                    {"SETRANGE", "h", "0", ""},
                                                                                    {"GETRANGE", "h", "0", "1"},
                                                                                    {"INCRBYFLOAT", "h", "x"},
                                                                                    {"SETBIT", "h", "0", "1"},
                                                                                    {"GETBIT", "h", "0"},
                                                                                    {"BITCOUNT", "h", "x"},
                                                                                    {"BITPOS", "h", "1", "x"},
                                                                                    {"BITFIELD", "h"},
                                                                                    {"BITFIELD_RO", "h"}}) {
    INFO(argv[0]);
    CHECK(h(argv) == kWrong);
    CHECK(h.sink.rows.effects() == 0);
  }
  CHECK(h({"TYPE", "h"}) == "+hash\r\n");
  CHECK(h({"TYPE", "s"}) == "+string\r\n");
  CHECK(h({"TYPE", "x"}) == "+none\r\n");
}

TEST_CASE("a small hash is one row, in order of insertion") {
  SessionHarness h;
  CHECK(h({"HSET", "h", "a", "1", "b", "2", "a", "3"}) == ":2\r\n");
  CHECK(h({"HSET", "h", "c", "", "b", "22"}) == ":1\r\n");
  CHECK(rows_of(h) == 1);
  CHECK(h({"HGETALL", "h"}) == "*6\r\n" + bulk("a") + bulk("3") + bulk("b") + bulk("22") + bulk("c") + bulk(""));
  CHECK(h({"HGET", "h", "b"}) == bulk("22"));
  CHECK(h({"HGET", "h", "x"}) == kNil);
  CHECK(h({"HLEN", "h"}) == ":3\r\n");
  CHECK(h({"HDEL", "h", "a", "x", "a"}) == ":1\r\n");
  CHECK(h({"HDEL", "h", "b", "c"}) == ":2\r\n");
  CHECK(rows_of(h) == 0);
  CHECK(h({"HGETALL", "h"}) == "*0\r\n");
  CHECK(h({"HSET", "h", "a", "1", "b"}) == "-ERR wrong number of arguments for 'hset' command\r\n");
  h({"HELLO", "3"});
  CHECK(h({"HGETALL", "h"}) == "%0\r\n");
  h({"HSET", "h", "a", "1"});
  CHECK(h({"HGETALL", "h"}) == "%1\r\n" + bulk("a") + bulk("1"));
  CHECK(h({"HGET", "h", "x"}) == "_\r\n");
}

TEST_CASE("a hash explodes by fields, by item and by bytes, and never shrinks back") {
  SessionHarness h;
  fill_hash(h, "fields", 128);
  CHECK(rows_of(h) == 1);
  h({"HSET", "fields", "more", "v"});
  CHECK(rows_of(h) == 130);
  CHECK(h({"HLEN", "fields"}) == ":129\r\n");
  CHECK(h({"HGET", "fields", "f77"}) == bulk("v77"));
  CHECK(h({"HSET", "fields", "f77", "new", "f500", "x", "f500", "y"}) == ":1\r\n");
  CHECK(h({"HGET", "fields", "f500"}) == bulk("y"));
  for (int i = 0; i < 127; ++i) h({"HDEL", "fields", "f" + std::to_string(i)});
  CHECK(h({"HLEN", "fields"}) == ":3\r\n");
  CHECK(rows_of(h) == 4);
  CHECK(h({"EXPIRE", "fields", "100"}) == ":1\r\n");
  CHECK(h({"HSET", "fields", "again", "v"}) == ":1\r\n");
  CHECK(h({"TTL", "fields"}) == ":100\r\n");
  CHECK(h({"HDEL", "fields", "f127", "more", "f500", "again", "again"}) == ":4\r\n");
  CHECK(rows_of(h) == 0);

  h({"HSET", "value", "a", std::string(64, 'x')});
  CHECK(rows_of(h) == 1);
  h({"HSET", "value", "b", std::string(65, 'x')});
  CHECK(rows_of(h) == 1 + 2);
  CHECK(h({"UNLINK", "value"}) == ":1\r\n");
  h({"HSET", "field", std::string(65, 'x'), ""});
  CHECK(rows_of(h) == 2);
  CHECK(h({"DEL", "field"}) == ":1\r\n");
  for (int i = 0; i < 16; ++i) h({"HSET", "bytes", "field" + std::to_string(100 + i), std::string(64, 'x')});
  CHECK(rows_of(h) == 1);
  for (int i = 16; i < 30; ++i) h({"HSET", "bytes", "field" + std::to_string(100 + i), std::string(64, 'x')});
  CHECK(rows_of(h) == 31);
  CHECK(h({"DEL", "bytes"}) == ":1\r\n");
  CHECK(rows_of(h) == 0);

  std::vector<std::string> many{"HSET", "many"};  // more at once than are looked up one by one; names repeat
  for (int i = 0; i < 1000; ++i) {
    many.push_back("f" + std::to_string(i % 600));
    many.push_back(std::to_string(i));
  }
  h({"HSET", "many", "f1", "old", "other", "o"});
  CHECK(h(many) == ":599\r\n");
  CHECK(h({"HGET", "many", "f1"}) == bulk("601"));
  CHECK(h({"HLEN", "many"}) == ":601\r\n");
}

TEST_CASE("a hash whose element rows have no header, as earlier versions wrote it, is read and written") {
  SessionHarness h;
  const std::string value(100, 'x'), longer(300, 'y');
  MetaRow bare;
  bare.type = RowType::kBareHash;
  bare.version = 7;
  bare.count = 2;
  std::string meta, row, element;
  sharding::append_meta_key(meta, {0}, sharding::key_slot("h"), "h");
  append_exploded_meta(row, bare);
  h.sink.rows.put(meta, row);
  for (const std::string name : {"f", "g"}) {
    element.clear();
    sharding::append_element_key(element, {0}, sharding::key_slot("h"), "h", 7, name);
    h.sink.rows.put(element, name == "f" ? value : "\x01");
  }
  h.sink.rows.whole_max = 200;
  for (int i = 0; i < 10; ++i) (void)h.sink.rows.next_version();
  CHECK(h({"HGET", "h", "f"}) == bulk(value));
  CHECK(h({"HGET", "h", "g"}) == bulk("\x01"));
  CHECK(h({"HSET", "h", "f", "new", "i", longer}) == ":1\r\n");
  CHECK(h({"HMGET", "h", "f", "i"}) == "*2\r\n" + bulk("new") + bulk(longer));
  CHECK(h({"EXPIRE", "h", "100"}) == ":1\r\n");
  CHECK(h({"HDEL", "h", "f"}) == ":1\r\n");
  CHECK(rows_of(h) == 3);  // it stays what it is
  CHECK(h({"COPY", "h", "{h}copy"}) == ":1\r\n");
  CHECK(rows_of(h) == 3 + 3 + 300 / 16 + 1);  // the copy is as hashes are now
  CHECK(h({"HGET", "{h}copy", "i"}) == bulk(longer));
  CHECK(h({"HLEN", "{h}copy"}) == ":2\r\n");
  CHECK(h({"DEL", "h"}) == ":1\r\n");
  CHECK(h({"DEL", "{h}copy"}) == ":1\r\n");
  CHECK(rows_of(h) == 0);
}

TEST_CASE("a new life of an exploded hash sees nothing of the old one") {
  SessionHarness h;
  fill_hash(h, "h", 200);
  h({"DEL", "h"});
  h({"HSET", "h", "big", std::string(100, 'x')});
  CHECK(h({"HGETALL", "h"}) == "*2\r\n" + bulk("big") + bulk(std::string(100, 'x')));
  CHECK(h({"HGET", "h", "f1"}) == kNil);
}

TEST_CASE("EXPIRE and relatives") {
  SessionHarness h;
  h({"SET", "a", "v"});
  CHECK(h({"EXPIRE", "x", "10"}) == ":0\r\n");
  CHECK(h({"EXPIRE", "a", "10", "GT"}) == ":0\r\n");
  CHECK(h({"EXPIRE", "a", "10", "XX"}) == ":0\r\n");
  CHECK(h({"EXPIRE", "a", "10", "nx"}) == ":1\r\n");
  CHECK(h({"EXPIRE", "a", "20", "NX"}) == ":0\r\n");
  CHECK(h({"PEXPIRE", "a", "20000", "GT", "xx"}) == ":1\r\n");
  CHECK(h({"EXPIRE", "a", "30", "LT"}) == ":0\r\n");
  CHECK(h({"EXPIREAT", "a", std::to_string(h.sink.rows.now / 1000 + 5), "LT"}) == ":1\r\n");
  CHECK(h({"TTL", "a"}) == ":5\r\n");
  CHECK(h({"PERSIST", "a"}) == ":1\r\n");
  CHECK(h({"PERSIST", "a"}) == ":0\r\n");
  CHECK(h({"TTL", "a"}) == ":-1\r\n");
  CHECK(h({"TTL", "x"}) == ":-2\r\n");
  CHECK(h({"EXPIRE", "a", "10", "foo"}) == "-ERR Unsupported option foo\r\n");
  CHECK(h({"EXPIRE", "a", "abc", "foo"}) == "-ERR Unsupported option foo\r\n");
  CHECK(h({"EXPIRE", "a", "10", "NX", "XX"}) ==
        "-ERR NX and XX, GT or LT options at the same time are not compatible\r\n");
  CHECK(h({"EXPIRE", "a", "10", "GT", "LT"}) == "-ERR GT and LT options at the same time are not compatible\r\n");
  CHECK(h({"EXPIRE", "x", "abc"}) == kNotInteger);
  for (const char* name : {"expire", "pexpire", "expireat"}) {
    CHECK(h({name, "x", "9223372036854775807"}) ==
          "-ERR invalid expire time in '" + std::string(name) + "' command\r\n");
  }
  CHECK(h({"PEXPIREAT", "a", "9223372036854775807"}) == ":1\r\n");
  CHECK(h({"EXPIRE", "a", "-1", "GT"}) == ":0\r\n");
  CHECK(h({"EXPIRE", "a", "-1", "LT"}) == ":1\r\n");
  CHECK(rows_of(h) == 0);
  fill_hash(h, "h", 200);
  CHECK(h({"PEXPIREAT", "h", "1"}) == ":1\r\n");
  CHECK(rows_of(h) == 0);
}

TEST_CASE("whoever meets a key that is due deletes it") {
  const std::vector<std::vector<std::string>> commands{{"GET", "k"},
                                                       {"MGET", "k"},
                                                       {"EXISTS", "k"},
                                                       {"TTL", "k"},
                                                       {"PTTL", "k"},
                                                       {"TYPE", "k"},
                                                       {"STRLEN", "k"},
                                                       {"HGET", "k", "f"},
                                                       {"HLEN", "k"},
                                                       {"HGETALL", "k"},
                                                       {"DEL", "k"},
                                                       {"PERSIST", "k"},
                                                       {"EXPIRE", "k", "10"},
                                                       {"HDEL", "k", "f"},
                                                       {"SET", "k", "v", "XX"},
                                                       {"GETEX", "k"},
                                                       {"GETDEL", "k"},
                                                       {"GETRANGE", "k", "0", "1"},
                                                       {"GETBIT", "k", "1"},
                                                       {"BITCOUNT", "k"},
                                                       {"BITPOS", "k", "0"},
                                                       {"BITFIELD_RO", "k", "GET", "u8", "0"},
                                                       {"BITOP", "NOT", "k", "k"},
                                                       {"LCS", "k", "k"},
                                                       {"EXPIRETIME", "k"},
                                                       {"PEXPIRETIME", "k"},
                                                       {"TOUCH", "k", "k"},
                                                       {"RENAME", "k", "k"},
                                                       {"RENAMENX", "k", "{k}2"},
                                                       {"COPY", "k", "{k}2"},
                                                       {"SETRANGE", "k", "7", ""},
                                                       {"HMGET", "k", "f"},
                                                       {"HEXISTS", "k", "f"},
                                                       {"HKEYS", "k"},
                                                       {"HVALS", "k"},
                                                       {"HSTRLEN", "k", "f"},
                                                       {"HRANDFIELD", "k"},
                                                       {"HRANDFIELD", "k", "-5"}};
  for (const int fields : {0, 1, 200}) {
    for (const auto& argv : commands) {
      INFO(argv[0] << " " << fields);
      SessionHarness h;
      if (fields == 0) {
        h({"SET", "k", "v"});
      } else {
        fill_hash(h, "k", fields);
      }
      h({"PEXPIRE", "k", "10"});
      h.sink.rows.now += 9;
      CHECK(h({"EXISTS", "k"}) == ":1\r\n");
      ++h.sink.rows.now;
      SessionHarness fresh;
      CHECK(h(argv) == fresh(argv));
      CHECK(rows_of(h) == 0);
    }
    SessionHarness h;
    h({"SET", "k", "5", "PX", "10"});
    h.sink.rows.now += 10;
    CHECK(h({"INCR", "k"}) == ":1\r\n");
    CHECK(h({"TTL", "k"}) == ":-1\r\n");
  }
}

TEST_CASE("evaluations begin afresh after missing rows, which are asked for together") {
  SessionHarness h;
  fill_hash(h, "h", 200);
  h({"SET", "a", "1"});
  h({"SET", "b", "2"});
  h.sink.is_whole = true;
  h.sink.rows.cold = true;
  CHECK(h({"MGET", "a", "x", "b", "h"}) == "*4\r\n" + bulk("1") + kNil + bulk("2") + kNil);
  CHECK(h({"HSET", "h", "f1", "n", "new", "n"}) == ":1\r\n");
  CHECK(h({"HDEL", "h", "f1", "f2", "no"}) == ":2\r\n");
  CHECK(h({"HLEN", "h"}) == ":199\r\n");
  CHECK(h({"HGET", "h", "f3"}) == bulk("v3"));
  CHECK(h({"HGETALL", "h"}).substr(0, 6) == "*398\r\n");
  CHECK(h({"EXISTS", "a", "a", "x", "h"}) == ":3\r\n");
  CHECK(h({"DEL", "a", "a", "h", "x"}) == ":2\r\n");
  CHECK(rows_of(h) == 1);

  // One round trip is enough for any number of keys.
  for (const std::vector<std::string_view>& argv :
       std::vector<std::vector<std::string_view>>{{"MGET", "a", "b", "c"},
                                                  {"MSET", "a", "1", "b", "2", "c", "3"},
                                                  {"MSETNX", "a", "1", "b", "2", "c", "3"},
                                                  {"BITOP", "OR", "a", "b", "c"}}) {
    INFO(argv[0]);
    test::MemoryRows cold;
    cold.cold = true;
    std::string out;
    RespWriter reply(out, 2);
    EvalContext ctx{cold, reply, {0}, 0};
    CHECK(find_command(argv[0])->evaluate(ctx, argv) == EvalStatus::kNeedsRows);
    CHECK(cold.missing() == 3);
  }
}

TEST_CASE("rows of an unknown format are reported and left alone") {
  SessionHarness h;
  h({"SET", "a", "1"});
  const std::string key = h.sink.rows.rows().begin()->first;
  h.sink.rows.put(key, "\x09\x00zz");
  for (const std::vector<std::string>& argv : std::vector<std::vector<std::string>>{
           {"GET", "a"}, {"SET", "a", "2"}, {"INCR", "a"}, {"HLEN", "a"}, {"TTL", "a"}}) {
    CHECK(h(argv) == "-ERR the stored row of this key is of an unknown format\r\n");
  }
  CHECK(h({"EXISTS", "a"}) == ":1\r\n");
  CHECK(h({"DEL", "a"}) == ":0\r\n");
  CHECK(rows_of(h) == 1);
}

TEST_CASE("only strings and inline hashes may go by themselves") {
  std::string meta, element, string_row, exploded;
  sharding::append_meta_key(meta, {0}, 7, "key");
  sharding::append_element_key(element, {0}, 7, "key", 5, "fieldM");
  append_meta_header(string_row, RowType::kString, 1234);
  MetaRow hash;
  hash.type = RowType::kExplodedHash;
  hash.expire_ms = 1234;
  hash.version = 5;
  hash.count = 1;
  append_exploded_meta(exploded, hash);
  CHECK(row_expiry(meta, string_row) == 1234);
  CHECK(row_expiry(meta, string_row + "payload") == 1234);
  CHECK(row_expiry(meta, exploded) == 0);
  CHECK(row_expiry(element, string_row + "payload") == 0);  // a field's value that looks like a meta row
  CHECK(row_expiry("anything", string_row) == 0);
  CHECK(row_expiry(meta, "") == 0);
}

TEST_CASE("meta rows have the documented bytes") {
  const auto hex = [](std::string_view bytes) {
    std::string out;
    for (const char c : bytes) {
      out += "0123456789abcdef"[(c >> 4) & 15];
      out += "0123456789abcdef"[c & 15];
    }
    return out;
  };
  SessionHarness h;
  h({"SET", "a", "xyz"});
  CHECK(hex(h.sink.rows.rows().begin()->second) == "010078797a");
  h({"SET", "a", "xyz", "PXAT", "1800000000000"});
  CHECK(hex(h.sink.rows.rows().begin()->second) ==
        "0101"
        "00505c18a3010000"
        "78797a");
  h({"DEL", "a"});
  h({"HSET", "a", "f", "v", "gg", ""});
  CHECK(hex(h.sink.rows.rows().begin()->second) ==
        "0200"
        "0166"
        "0176"
        "026767"
        "00");
  h({"HSET", "a", "big", std::string(65, 'x')});
  const auto& rows = h.sink.rows.rows();
  const auto meta =
      std::find_if(rows.begin(), rows.end(), [](const auto& row) { return sharding::is_meta_row(row.first); });
  CHECK(hex(meta->second) ==
        "0500"
        "0100000000000000"
        "0300000000000000");
  MetaRow row;
  for (const std::string& bad :
       {std::string(), std::string("\x01", 1), std::string("\x04\x00", 2), std::string("\x01\x02", 2),
        std::string("\x01\x01zzzz"), std::string("\x03\x00zzzz", 6)}) {
    CHECK(!decode_meta_row(bad, row));
  }
}
