// Strings, parts of them, and their bits.
#include <catch2/catch.hpp>

#include "server/commands/arguments.h"
#include "test/support/session_harness.h"

using namespace cairn::server;
using cairn::test::bulk;
using cairn::test::SessionHarness;

namespace {
constexpr const char* kOk = "+OK\r\n";
constexpr const char* kNil = "$-1\r\n";
constexpr const char* kSyntax = "-ERR syntax error\r\n";
constexpr const char* kNotInteger = "-ERR value is not an integer or out of range\r\n";
constexpr const char* kBadOffset = "-ERR bit offset is not an integer or out of range\r\n";
constexpr const char* kCrossSlot = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";

std::string integers(const std::vector<std::string>& values) {
  std::string out = "*" + std::to_string(values.size()) + "\r\n";
  for (const std::string& value : values) out += value == "nil" ? kNil : ":" + value + "\r\n";
  return out;
}
}  // namespace

TEST_CASE("GETEX, GETDEL, GETSET") {
  SessionHarness h;
  CHECK(h({"GETEX", "a", "EX", "abc"}) == kNil);
  CHECK(h({"GETDEL", "a"}) == kNil);
  CHECK(h({"GETSET", "a", "1"}) == kNil);
  CHECK(h({"GETEX", "a", "EX", "100"}) == bulk("1"));
  CHECK(h({"TTL", "a"}) == ":100\r\n");
  CHECK(h({"GETEX", "a"}) == bulk("1"));
  CHECK(h({"PEXPIRETIME", "a"}) == ":" + std::to_string(h.sink.rows.now + 100'000) + "\r\n");
  CHECK(h({"EXPIRETIME", "a"}) == ":" + std::to_string(h.sink.rows.now / 1000 + 100) + "\r\n");
  CHECK(h({"GETEX", "a", "persist", "PERSIST"}) == bulk("1"));
  CHECK(h({"EXPIRETIME", "a"}) == ":-1\r\n");
  for (const std::vector<std::string>& options : std::vector<std::vector<std::string>>{
           {"PERSIST", "EX", "1"}, {"EX", "1", "PERSIST"}, {"EX"}, {"EX", "1", "PX", "1"}, {"NX"}, {"KEEPTTL"}}) {
    std::vector<std::string> argv{"GETEX", "a"};
    argv.insert(argv.end(), options.begin(), options.end());
    CHECK(h(argv) == kSyntax);
  }
  CHECK(h({"GETEX", "a", "PX", "0"}) == "-ERR invalid expire time in 'getex' command\r\n");
  CHECK(h({"GETSET", "a", "2"}) == bulk("1"));
  CHECK(h({"GETEX", "a", "PXAT", "1"}) == bulk("2"));
  CHECK(h({"EXISTS", "a"}) == ":0\r\n");
  CHECK(h({"PEXPIRETIME", "a"}) == ":-2\r\n");
  h({"SET", "a", "3", "EX", "5"});
  CHECK(h({"GETSET", "a", "4"}) == bulk("3"));
  CHECK(h({"TTL", "a"}) == ":-1\r\n");
  CHECK(h({"GETDEL", "a"}) == bulk("4"));
  CHECK(h.sink.rows.rows().empty());
}

TEST_CASE("SETEX, PSETEX, SETNX, MSET, MSETNX") {
  SessionHarness h;
  CHECK(h({"SETEX", "a", "10", "v"}) == kOk);
  CHECK(h({"PTTL", "a"}) == ":10000\r\n");
  CHECK(h({"PSETEX", "a", "10", "w"}) == kOk);
  CHECK(h({"PTTL", "a"}) == ":10\r\n");
  CHECK(h({"SETEX", "a", "x", "v"}) == kNotInteger);
  CHECK(h({"SETEX", "a", "-1", "v"}) == "-ERR invalid expire time in 'setex' command\r\n");
  CHECK(h({"PSETEX", "a", "0", "v"}) == "-ERR invalid expire time in 'psetex' command\r\n");
  CHECK(h({"SETNX", "a", "v"}) == ":0\r\n");
  CHECK(h({"SETNX", "b", "v"}) == ":1\r\n");
  CHECK(h({"MSET", "a", "1", "b", "2"}) == kCrossSlot);
  CHECK(h({"MSETNX", "a", "1", "b", "2"}) == kCrossSlot);
  CHECK(h({"MSET", "{t}a", "1", "{t}b", "2", "{t}a", "3"}) == kOk);
  CHECK(h({"MGET", "{t}a", "{t}b"}) == "*2\r\n" + bulk("3") + bulk("2"));
  CHECK(h({"MSET", "{t}a", "1", "{t}b"}) == "-ERR wrong number of arguments for 'mset' command\r\n");
  CHECK(h({"MSETNX", "{t}c", "1", "{t}b", "1"}) == ":0\r\n");
  CHECK(h({"EXISTS", "{t}c"}) == ":0\r\n");
  CHECK(h({"MSETNX", "{t}c", "1", "{t}d", "1"}) == ":1\r\n");
  h.sink.is_whole = true;
  CHECK(h({"MSET", "a", "1", "b", "2"}) == kOk);
  CHECK(h({"MGET", "a", "b"}) == "*2\r\n" + bulk("1") + bulk("2"));
  CHECK(h({"TTL", "a"}) == ":-1\r\n");
}

TEST_CASE("MSET changes all keys or none") {
  SessionHarness h;
  h({"MSET", "{t}a", "1", "{t}b", "2"});
  const std::string key = h.sink.rows.rows().begin()->first;
  h.sink.rows.put(key, "\x09\x00zz");
  const auto before = h.sink.rows.rows();
  CHECK(h({"MSET", "{t}a", "x", "{t}b", "y"}) == "-ERR the stored row of this key is of an unknown format\r\n");
  CHECK(h({"MSETNX", "{t}a", "x", "{t}c", "y"}) == ":0\r\n");
  CHECK(h.sink.rows.rows() == before);
}

TEST_CASE("SETRANGE and GETRANGE") {
  SessionHarness h;
  CHECK(h({"SETRANGE", "a", "5", ""}) == ":0\r\n");
  CHECK(h({"EXISTS", "a"}) == ":0\r\n");
  CHECK(h({"SETRANGE", "a", "2", "xy"}) == ":4\r\n");
  CHECK(h({"GET", "a"}) == bulk(std::string_view("\0\0xy", 4)));
  h({"SET", "a", "hello", "EX", "9"});
  CHECK(h({"SETRANGE", "a", "1", "ipp"}) == ":5\r\n");
  CHECK(h({"TTL", "a"}) == ":9\r\n");
  CHECK(h({"SETRANGE", "a", "-1", "x"}) == "-ERR offset is out of range\r\n");
  CHECK(h({"SETRANGE", "a", "x", "x"}) == kNotInteger);
  for (const char* offset : {"33554432", "9223372036854775807"}) {
    CHECK(h({"SETRANGE", "a", offset, "x"}) == "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n");
  }
  const std::vector<std::array<std::string, 3>> parts{
      {"0", "-1", "hippo"}, {"1", "2", "ip"},   {"-3", "-2", "pp"},
      {"-100", "0", "h"},   {"3", "100", "po"}, {"4", "3", ""},
      {"-1", "-2", ""},     {"5", "9", ""},     {"-9223372036854775808", "9223372036854775807", "hippo"}};
  for (const auto& [start, end, part] : parts) {
    CHECK(h({"GETRANGE", "a", start, end}) == bulk(part));
    CHECK(h({"SUBSTR", "a", start, end}) == bulk(part));
  }
  CHECK(h({"GETRANGE", "x", "0", "-1"}) == bulk(""));
  CHECK(h({"GETRANGE", "x", "0", "z"}) == kNotInteger);
}

TEST_CASE("floating point numbers are read and written as Redis does") {
  long double value = 0;
  for (const char* good : {"1", "-1.5", "+.5", "5.", "1e10", "0x1p4", "inf", "1e-30"}) CHECK(parse_float(good, value));
  for (const std::string& bad :
       {std::string(), std::string(" 1"), std::string("1 "), std::string("nan"), std::string("1e5000"),
        std::string("1e-5000"), std::string("1\0", 2), std::string(6000, '1'), std::string("x")}) {
    CHECK(!parse_float(bad, value));
  }
  CHECK(format_float(3.0L) == "3");
  CHECK(format_float(-0.0L) == "0");
  CHECK(format_float(1e-30L) == "0");
  CHECK(format_float(100) == "100");
  CHECK(format_float(0.1L + 0.2L) == "0.3");

  SessionHarness h;
  CHECK(h({"INCRBYFLOAT", "a", "10.5"}) == bulk("10.5"));
  h({"EXPIRE", "a", "9"});
  CHECK(h({"INCRBYFLOAT", "a", "-5e-1"}) == bulk("10"));
  CHECK(h({"TTL", "a"}) == ":9\r\n");
  CHECK(h({"INCR", "a"}) == ":11\r\n");
  CHECK(h({"INCRBYFLOAT", "a", "x"}) == "-ERR value is not a valid float\r\n");
  CHECK(h({"INCRBYFLOAT", "a", "inf"}) == "-ERR increment would produce NaN or Infinity\r\n");
  h({"SET", "a", "x"});
  CHECK(h({"INCRBYFLOAT", "a", "1"}) == "-ERR value is not a valid float\r\n");
}

TEST_CASE("LCS") {
  SessionHarness h;
  h({"MSET", "{k}1", "ohmytext", "{k}2", "mynewtext"});
  CHECK(h({"LCS", "{k}1", "{k}2"}) == bulk("mytext"));
  CHECK(h({"LCS", "{k}1", "{k}2", "len"}) == ":6\r\n");
  const std::string text = "*2\r\n" + integers({"4", "7"}) + integers({"5", "8"});
  const std::string my = "*2\r\n" + integers({"2", "3"}) + integers({"0", "1"});
  CHECK(h({"LCS", "{k}1", "{k}2", "IDX"}) ==
        "*4\r\n" + bulk("matches") + "*2\r\n" + text + my + bulk("len") + ":6\r\n");
  CHECK(h({"LCS", "{k}1", "{k}2", "IDX", "MINMATCHLEN", "4", "WITHMATCHLEN"}) ==
        "*4\r\n" + bulk("matches") + "*1\r\n*3\r\n" + text.substr(4) + ":4\r\n" + bulk("len") + ":6\r\n");
  CHECK(h({"LCS", "{k}1", "{k}x", "IDX"}) == "*4\r\n" + bulk("matches") + "*0\r\n" + bulk("len") + ":0\r\n");
  CHECK(h({"LCS", "{k}1", "{k}2", "IDX", "LEN"}) ==
        "-ERR If you want both the length and indexes, please just use IDX.\r\n");
  CHECK(h({"LCS", "{k}1", "{k}2", "MINMATCHLEN"}) == kSyntax);
  CHECK(h({"LCS", "{k}1", "{k}2", "MINMATCHLEN", "x"}) == kNotInteger);
  h({"HSET", "{k}h", "f", "v"});
  CHECK(h({"LCS", "{k}1", "{k}h", "foo"}) == "-ERR The specified keys must contain string values\r\n");
  h({"MSET", "{k}1", std::string(4000, 'x'), "{k}2", std::string(4000, 'y')});
  CHECK(h({"LCS", "{k}1", "{k}2"}) ==
        "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len\r\n");
  CHECK(h({"LCS", "a", "b"}) == kCrossSlot);
}

TEST_CASE("single bits") {
  SessionHarness h;
  CHECK(h({"SETBIT", "a", "7", "1"}) == ":0\r\n");
  CHECK(h({"SETBIT", "a", "7", "1"}) == ":1\r\n");
  CHECK(h({"GET", "a"}) == bulk("\x01"));
  CHECK(h({"SETBIT", "a", "16", "0"}) == ":0\r\n");
  CHECK(h({"STRLEN", "a"}) == ":3\r\n");
  CHECK(h({"GETBIT", "a", "7"}) == ":1\r\n");
  CHECK(h({"GETBIT", "a", "7000"}) == ":0\r\n");
  for (const char* bad : {"-1", "268435456", "x", "#1", "9223372036854775808"}) {
    CHECK(h({"SETBIT", "a", bad, "x"}) == kBadOffset);
    CHECK(h({"GETBIT", "a", bad}) == kBadOffset);
  }
  for (const char* bad : {"2", "-1", "x"}) {
    CHECK(h({"SETBIT", "a", "1", bad}) == "-ERR bit is not an integer or out of range\r\n");
  }
}

TEST_CASE("BITCOUNT and BITPOS") {
  SessionHarness h;
  h({"SET", "a", "foobar"});
  const auto is = [&](std::vector<std::string> argv, const std::string& number) {
    argv.insert(argv.begin() + 1, "a");
    INFO(argv[0] << " " << argv.back());
    CHECK(h(argv) == ":" + number + "\r\n");
  };
  is({"BITCOUNT"}, "26");
  is({"BITCOUNT", "0", "0"}, "4");
  is({"BITCOUNT", "1", "1", "BYTE"}, "6");
  is({"BITCOUNT", "5", "30", "bit"}, "17");
  is({"BITCOUNT", "-1", "-2", "nonsense"}, "0");
  is({"BITCOUNT", "9223372036854775807", "-3"}, "0");
  CHECK(h({"BITCOUNT", "a", "1"}) == kSyntax);
  CHECK(h({"BITCOUNT", "x", "1"}) == ":0\r\n");
  CHECK(h({"BITCOUNT", "a", "0", "1", "bits"}) == kSyntax);
  h({"SET", "a", std::string("\x00\xff\xf0", 3)});
  is({"BITPOS", "1"}, "8");
  is({"BITPOS", "0", "1"}, "20");
  is({"BITPOS", "1", "2"}, "16");
  is({"BITPOS", "1", "20", "-1", "BIT"}, "-1");
  is({"BITPOS", "0", "9", "12", "bit"}, "-1");
  is({"BITPOS", "1", "9223372036854775807", "-11"}, "-1");
  h({"SET", "a", std::string(100, '\xff')});
  is({"BITPOS", "0"}, "800");
  is({"BITPOS", "0", "3"}, "800");
  is({"BITPOS", "0", "0", "-1"}, "-1");
  is({"BITPOS", "0", "100"}, "-1");
  CHECK(h({"BITPOS", "x", "0"}) == ":0\r\n");
  CHECK(h({"BITPOS", "x", "1"}) == ":-1\r\n");
  CHECK(h({"BITPOS", "a", "2"}) == "-ERR The bit argument must be 1 or 0.\r\n");
  CHECK(h({"BITPOS", "a", "1", "0", "1", "BIT", "x"}) == kSyntax);
}

TEST_CASE("bits are counted and found like one by one") {
  SessionHarness h;
  cairn::SeededRandom random(7);
  for (int round = 0; round < 200; ++round) {
    std::string text;
    for (uint64_t n = random.between(1, 40); n > 0; --n) {
      text.push_back(static_cast<char>(random.chance(0.6) ? (random.chance(0.5) ? 0 : 255) : random.below(256)));
    }
    h({"SET", "a", text});
    const size_t bits = text.size() * 8;
    const size_t first = random.below(bits), last = random.between(first, bits - 1);
    const bool wanted = random.chance(0.5);
    int64_t count = 0, found = -1;
    for (size_t i = first; i <= last; ++i) {
      const bool on = (static_cast<uint8_t>(text[i / 8]) >> (7 - i % 8) & 1) != 0;
      count += on;
      if (found < 0 && on == wanted) found = static_cast<int64_t>(i);
    }
    const std::string from = std::to_string(first), to = std::to_string(last);
    CHECK(h({"BITCOUNT", "a", from, to, "BIT"}) == ":" + std::to_string(count) + "\r\n");
    CHECK(h({"BITPOS", "a", wanted ? "1" : "0", from, to, "BIT"}) == ":" + std::to_string(found) + "\r\n");
  }
}

TEST_CASE("BITOP") {
  SessionHarness h;
  h({"MSET", "{k}1", "abc", "{k}2", "ab"});
  h({"SET", "{k}d", "old", "EX", "100"});
  CHECK(h({"BITOP", "AND", "{k}d", "{k}1", "{k}2"}) == ":3\r\n");
  CHECK(h({"GET", "{k}d"}) == bulk(std::string_view("ab\0", 3)));
  CHECK(h({"TTL", "{k}d"}) == ":-1\r\n");
  CHECK(h({"BITOP", "xor", "{k}d", "{k}1", "{k}2", "{k}x"}) == ":3\r\n");
  CHECK(h({"GET", "{k}d"}) == bulk(std::string_view("\0\0c", 3)));
  CHECK(h({"BITOP", "OR", "{k}1", "{k}1", "{k}d"}) == ":3\r\n");
  CHECK(h({"GET", "{k}1"}) == bulk("abc"));
  CHECK(h({"BITOP", "NOT", "{k}2", "{k}2"}) == ":2\r\n");
  CHECK(h({"GET", "{k}2"}) == bulk("\x9e\x9d"));
  for (int i = 0; i < 200; ++i) h({"HSET", "{k}h", std::to_string(i), "v"});
  CHECK(h({"BITOP", "AND", "{k}d", "{k}1", "{k}h"}) ==
        "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
  CHECK(h({"BITOP", "AND", "{k}h", "{k}x", "{k}y"}) == ":0\r\n");
  CHECK(h.sink.rows.rows().size() == 3);
  CHECK(h({"BITOP", "NAND", "{k}d", "{k}1"}) == kSyntax);
  CHECK(h({"BITOP", "NOT", "{k}d", "{k}1", "{k}2"}) == "-ERR BITOP NOT must be called with a single source key.\r\n");
  CHECK(h({"BITOP", "OR", "a", "b"}) == kCrossSlot);
  h.sink.is_whole = true;
  h({"MSET", "a", "\x01", "b", "\x02"});
  CHECK(h({"BITOP", "OR", "c", "a", "b"}) == ":1\r\n");
  CHECK(h({"GET", "c"}) == bulk("\x03"));
}

TEST_CASE("BITFIELD") {
  SessionHarness h;
  CHECK(h({"BITFIELD", "a"}) == "*0\r\n");
  CHECK(h({"BITFIELD", "a", "GET", "u8", "0"}) == integers({"0"}));
  CHECK(h.sink.rows.rows().empty());
  CHECK(h({"BITFIELD", "a", "INCRBY", "i5", "100", "1", "GET", "u4", "0"}) == integers({"1", "0"}));
  CHECK(h({"STRLEN", "a"}) == ":14\r\n");
  h({"DEL", "a"});
  CHECK(h({"BITFIELD", "a", "SET", "u8", "#1", "255", "GET", "i8", "8", "SET", "i64", "#0", "-2", "GET", "u63", "1"}) ==
        integers({"0", "-1", "71776119061217280", "9223372036854775806"}));
  h({"DEL", "a"});
  CHECK(h({"BITFIELD", "a",    "SET",    "u2", "0", "3",  "INCRBY", "u2", "0", "2",
           "OVERFLOW", "SAT",  "INCRBY", "u2", "0", "5",  "INCRBY", "u2", "0", "-7",
           "overflow", "fail", "INCRBY", "u2", "0", "-1", "SET",    "u2", "0", "4"}) ==
        integers({"0", "1", "3", "0", "nil", "nil"}));
  h({"DEL", "a"});
  CHECK(h({"BITFIELD", "a",
           "OVERFLOW", "SAT",
           "SET",      "i8",
           "0",        "200",
           "INCRBY",   "i8",
           "0",        "-500",
           "OVERFLOW", "WRAP",
           "INCRBY",   "i8",
           "0",        "-1",
           "INCRBY",   "i64",
           "0",        "9223372036854775807"}) == integers({"0", "-128", "127", "-72057594037927937"}));
  // Redis' own: far below the field counts as above it.
  CHECK(h({"BITFIELD", "a", "OVERFLOW", "SAT", "SET", "i8", "0", "-9223372036854775808", "GET", "i8", "0"}) ==
        integers({"-2", "127"}));
  for (const char* type : {"u64", "i65", "u0", "x8", "8", "", "U8"}) {
    CHECK(h({"BITFIELD", "a", "GET", type, "0"}) ==
          "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.\r\n");
  }
  for (const char* offset : {"-1", "268435456", "#x", "#", "#268435456"}) {
    CHECK(h({"BITFIELD", "a", "GET", "u8", offset}) == kBadOffset);
  }
  CHECK(h({"BITFIELD", "a", "SET", "u8", "268435455", "1"}) == kBadOffset);               // would end beyond 32 MiB
  CHECK(h({"BITFIELD", "a", "GET", "u8", "#2305843009213693952"}) == integers({"127"}));  // wraps around to 0
  CHECK(h({"BITFIELD", "a", "OVERFLOW", "x"}) == "-ERR Invalid OVERFLOW type specified\r\n");
  CHECK(h({"BITFIELD", "a", "SET", "u8", "0"}) == kSyntax);
  CHECK(h({"BITFIELD", "a", "SET", "u8", "0", "x"}) == kNotInteger);
  CHECK(h({"BITFIELD_RO", "a", "GET", "i8", "0"}) == integers({"127"}));
  CHECK(h({"BITFIELD_RO", "a", "SET", "i8", "0", "1"}) == "-ERR BITFIELD_RO only supports the GET subcommand\r\n");
}
