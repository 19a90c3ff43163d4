// SCAN, KEYS, RANDOMKEY and HSCAN through a session over rows in memory.
#include <catch2/catch.hpp>
#include <set>

#include "base/codec.h"
#include "server/commands/row_format.h"
#include "server/resp/reply_parser.h"
#include "sharding/key_encoding.h"
#include "sharding/slot.h"
#include "test/support/session_harness.h"

using namespace cairn;
using namespace cairn::server;
using cairn::test::bulk;
using cairn::test::SessionHarness;

namespace {
constexpr const char* kSyntax = "-ERR syntax error\r\n";
constexpr const char* kEmpty = "*2\r\n$1\r\n0\r\n*0\r\n";

struct Page {
  uint64_t cursor = 0;
  std::vector<std::string> items;
};
std::vector<std::string> bulks(std::string_view& reply) {
  ReplyHead head;
  REQUIRE(read_reply_head(reply, head) == ReplyState::kComplete);
  REQUIRE(head.type == '*');
  reply.remove_prefix(head.bytes);
  std::vector<std::string> items;
  for (uint64_t i = 0; i < head.children; ++i) {
    ReplyHead item;
    REQUIRE(read_reply_head(reply, item) == ReplyState::kComplete);
    items.emplace_back(item.text);
    reply.remove_prefix(item.bytes);
  }
  return items;
}
Page page(SessionHarness& h, const std::vector<std::string>& argv) {
  const std::string bytes = h(argv);
  std::string_view reply = bytes;
  INFO(bytes.substr(0, 200));
  REQUIRE(reply.starts_with("*2\r\n"));
  reply.remove_prefix(4);
  ReplyHead cursor;
  REQUIRE(read_reply_head(reply, cursor) == ReplyState::kComplete);
  reply.remove_prefix(cursor.bytes);
  return {std::stoull(std::string(cursor.text)), bulks(reply)};
}
// A whole iteration; `before`: the words before the cursor.
std::vector<std::string> iterate(SessionHarness& h, std::vector<std::string> before,
                                 const std::vector<std::string>& options, size_t* calls = nullptr) {
  std::vector<std::string> all;
  uint64_t cursor = 0;
  for (size_t i = 1;; ++i) {
    REQUIRE(i < 100'000);
    std::vector<std::string> argv = before;
    argv.push_back(std::to_string(cursor));
    argv.insert(argv.end(), options.begin(), options.end());
    const Page part = page(h, argv);
    all.insert(all.end(), part.items.begin(), part.items.end());
    if (calls != nullptr) *calls = i;
    cursor = part.cursor;
    CHECK(cursor < uint64_t{1} << 53);
    if (cursor == 0) return all;
  }
}
std::set<std::string> as_set(const std::vector<std::string>& items) { return {items.begin(), items.end()}; }
}  // namespace

TEST_CASE("SCAN brings every key once while nothing changes") {
  SessionHarness h;
  std::set<std::string> keys;
  for (int i = 0; i < 700; ++i) {
    // Half of them in one slot.
    keys.insert(i % 2 == 0 ? "key" + std::to_string(i) : "{tag}" + std::to_string(i));
    h({"SET", i % 2 == 0 ? "key" + std::to_string(i) : "{tag}" + std::to_string(i), "v"});
  }
  h.sink.rows.cold = GENERATE(false, true);
  h.sink.at_once = GENERATE(false, true);
  for (const char* count : {"1", "7", "10", "699", "5000"}) {
    size_t calls = 0;
    const auto found = iterate(h, {"SCAN"}, {"COUNT", count}, &calls);
    CHECK(found.size() == keys.size());
    CHECK(as_set(found) == keys);
    const auto each = static_cast<size_t>(std::stoi(count));
    CHECK(calls <= keys.size() / each + 1);
  }
  CHECK(iterate(h, {"SCAN"}, {"MATCH", "{tag}*"}).size() == 350);
  CHECK(iterate(h, {"SCAN"}, {"MATCH", "key1?", "COUNT", "100"}).size() == 5);
  CHECK(iterate(h, {"SCAN"}, {"MATCH", "nothing"}).empty());
  const std::string all = h({"KEYS", "*"});
  std::string_view reply = all;
  CHECK(as_set(bulks(reply)) == keys);
  CHECK(h({"KEYS", "key100"}) == "*1\r\n" + bulk("key100"));
  CHECK(h({"KEYS", "x*"}) == "*0\r\n");
}

TEST_CASE("a SCAN of few keys in memory is answered at once, and others are walks") {
  SessionHarness h;
  for (int i = 0; i < 300; ++i) h({"SET", "key" + std::to_string(i), "v"});
  const auto at_once = [&](const std::vector<std::string>& argv) {
    h.sink.at_once = false;
    const std::string walked = h(argv);
    h.sink.at_once = true;
    const uint64_t before = h.sink.answered_at_once;
    CHECK(h(argv) == walked);
    return h.sink.answered_at_once > before;
  };
  CHECK(at_once({"SCAN", "0"}));
  CHECK(at_once({"SCAN", "70000000000", "COUNT", "100", "MATCH", "*9", "TYPE", "string"}));
  CHECK(at_once({"SCAN", "0", "TYPE", ""}));
  CHECK(at_once({"SCAN", "70368744177663", "COUNT", "5"}));
  CHECK(at_once({"SCAN", "18446744073709551615"}));
  CHECK_FALSE(at_once({"SCAN", "0", "COUNT", "101"}));
  CHECK_FALSE(at_once({"SCAN", "0", "MATCH", std::string(65, '*')}));
  h.sink.rows.cold = true;
  CHECK_FALSE(at_once({"SCAN", "0"}));
}

TEST_CASE("SCAN passes over the fields of large hashes and knows types") {
  SessionHarness h;
  h.sink.at_once = GENERATE(false, true);
  for (int i = 0; i < 300; ++i) {
    h({"HSET", "large", "f" + std::to_string(i), "v"});
    h({"HSET", "{large}2", "f" + std::to_string(i), "v"});
  }
  h({"HSET", "small", "f", "v"});
  h({"SET", "string", "v"});
  CHECK(as_set(iterate(h, {"SCAN"}, {"COUNT", "1"})) == std::set<std::string>{"large", "{large}2", "small", "string"});
  CHECK(as_set(iterate(h, {"SCAN"}, {"TYPE", "HASH"})) == std::set<std::string>{"large", "{large}2", "small"});
  CHECK(as_set(iterate(h, {"SCAN"}, {"TYPE", "string"})) == std::set<std::string>{"string"});
  CHECK(iterate(h, {"SCAN"}, {"TYPE", "list"}).empty());
  CHECK(iterate(h, {"SCAN"}, {"TYPE", ""}).empty());
}

TEST_CASE("SCAN does not show keys that are due") {
  SessionHarness h;
  h.sink.at_once = GENERATE(false, true);
  h({"SET", "a", "v", "PX", "10"});
  h({"SET", "b", "v"});
  CHECK(iterate(h, {"SCAN"}, {}).size() == 2);
  h.sink.rows.now += 10;
  CHECK(iterate(h, {"SCAN"}, {}) == std::vector<std::string>{"b"});
  CHECK(h({"KEYS", "*"}) == "*1\r\n" + bulk("b"));
  for (int i = 0; i < 10; ++i) CHECK(h({"RANDOMKEY"}) == bulk("b"));
  h.sink.rows.now = 0;
}

TEST_CASE("keys that share slot and hash come together, however many") {
  SessionHarness h;
  h.sink.at_once = GENERATE(false, true);
  std::string prefix;
  sharding::append_keyspace_prefix(prefix, {0});
  put_big_u16(prefix, 5);
  std::string value;
  append_meta_header(value, RowType::kString, 0);
  for (const uint32_t hash : {7u, 8u, 0xFFFFFFFFu}) {
    for (int i = 0; i < (hash == 8 ? 2500 : 1); ++i) {
      std::string row = prefix;
      put_big_u32(row, hash);
      row += std::to_string(hash) + "." + std::to_string(i);
      row += std::string("\0\x01M", 3);
      h.sink.rows.put(row, value);
    }
  }
  for (const char* count : {"1", "10", "1000"}) {
    size_t calls = 0;
    const auto found = iterate(h, {"SCAN"}, {"COUNT", count}, &calls);
    CHECK(found.size() == 2502);
    CHECK(as_set(found).size() == 2502);
    CHECK(calls <= 4);
  }
}

TEST_CASE("cursors and options of SCAN are read as Redis reads them") {
  SessionHarness h;
  h.sink.at_once = GENERATE(false, true);
  CHECK(h({"SCAN", "0"}) == kEmpty);
  CHECK(h({"RANDOMKEY"}) == "$-1\r\n");
  h({"SET", "a", "v"});
  for (const char* cursor : {"abc", "1x", " 1", "18446744073709551616", "-", "1.0"}) {
    CHECK(h({"SCAN", cursor}) == "-ERR invalid cursor\r\n");
    CHECK(h({"HSCAN", "nothing", cursor}) == "-ERR invalid cursor\r\n");
  }
  for (const char* cursor : {"70368744177664", "9007199254740993", "18446744073709551615", "-1"}) {
    CHECK(h({"SCAN", cursor}) == kEmpty);
  }
  CHECK(page(h, {"SCAN", "+0"}).items.size() == 1);
  CHECK(page(h, {"SCAN", ""}).items.size() == 1);
  CHECK(h({"SCAN", "0", "COUNT", "0"}) == kSyntax);
  CHECK(h({"SCAN", "0", "COUNT", "-5"}) == kSyntax);
  CHECK(h({"SCAN", "0", "COUNT", "x"}) == "-ERR value is not an integer or out of range\r\n");
  CHECK(h({"SCAN", "0", "MATCH"}) == kSyntax);
  CHECK(h({"SCAN", "0", "FOO", "1"}) == kSyntax);
  CHECK(h({"SCAN", "0", "match", "a", "count", "3", "type", "string"}) == "*2\r\n$1\r\n0\r\n*1\r\n" + bulk("a"));
  CHECK(h({"HSCAN", "nothing", "0", "COUNT", "x"}) == kEmpty);
  CHECK(h({"HSCAN", "a", "0"}).starts_with("-WRONGTYPE"));
}

TEST_CASE("HSCAN brings small hashes whole and large ones in parts") {
  SessionHarness h;
  CHECK(h({"HSCAN", "h", "0"}) == kEmpty);
  h({"HSET", "h", "a", "1", "b", "2"});
  CHECK(h({"HSCAN", "h", "99", "COUNT", "1"}) ==
        "*2\r\n$1\r\n0\r\n*4\r\n" + bulk("a") + bulk("1") + bulk("b") + bulk("2"));
  CHECK(h({"HSCAN", "h", "0", "MATCH", "b"}) == "*2\r\n$1\r\n0\r\n*2\r\n" + bulk("b") + bulk("2"));
  CHECK(h({"HSCAN", "h", "0", "TYPE", "hash"}) == kSyntax);
  CHECK(h({"HSCAN", "h", "0", "COUNT", "x"}) == "-ERR value is not an integer or out of range\r\n");
  h({"HSET", "large", "", "empty"});
  std::set<std::string> items{"", "empty"};
  for (int i = 1; i < 1500; ++i) {
    h({"HSET", "large", "f" + std::to_string(i), "v" + std::to_string(i)});
    items.insert("f" + std::to_string(i));
    items.insert("v" + std::to_string(i));
  }
  h.sink.rows.cold = GENERATE(false, true);
  for (const char* count : {"1", "10", "400", "100000"}) {
    size_t calls = 0;
    const auto found = iterate(h, {"HSCAN", "large"}, {"COUNT", count}, &calls);
    CHECK(found.size() == 3000);
    CHECK(as_set(found) == items);
    CHECK(calls > 1);
  }
  CHECK(iterate(h, {"HSCAN", "large"}, {"MATCH", "f7"}) == std::vector<std::string>{"f7", "v7"});
  CHECK(h({"HSCAN", "large", "4294967296"}) == kEmpty);
}

TEST_CASE("RANDOMKEY finds keys wherever they are") {
  SessionHarness h;
  std::set<std::string> seen;
  for (int i = 0; i < 40; ++i) h({"SET", "k" + std::to_string(i), "v"});
  for (int i = 0; i < 2000; ++i) seen.insert(h({"RANDOMKEY"}));
  CHECK(seen.size() == 40);
}

TEST_CASE("SWAPDB has nothing to swap") {
  SessionHarness h;
  CHECK(h({"SWAPDB", "0", "1"}) == "-ERR SWAPDB is not allowed in cluster mode\r\n");
  h.sink.is_whole = true;
  CHECK(h({"SWAPDB", "0", "0"}) == "+OK\r\n");
  CHECK(h({"SWAPDB", "0", "1"}) == "-ERR DB index is out of range\r\n");
  CHECK(h({"SWAPDB", "x", "1"}) == "-ERR invalid first DB index\r\n");
  CHECK(h({"SWAPDB", "0", "x"}) == "-ERR invalid second DB index\r\n");
}

TEST_CASE("HSCAN of long values brings about a MiB with each call, and every field") {
  SessionHarness h;
  h.sink.rows.whole_max = 1000;
  h.sink.rows.chunk_bytes = 65536;
  std::set<std::string> names;
  for (int i = 0; i < 20; ++i) {
    names.insert("field" + std::to_string(i));
    h({"HSET", "h", "field" + std::to_string(i), std::string(400'000, static_cast<char>('a' + i))});
  }
  uint64_t cursor = 0;
  size_t calls = 0;
  do {
    const Page got = page(h, {"HSCAN", "h", std::to_string(cursor), "COUNT", "100"});
    CHECK(got.items.size() <= 2 * 3);
    for (size_t i = 0; i + 1 < got.items.size(); i += 2) {
      CHECK(names.erase(got.items[i]) == 1);
      CHECK(got.items[i + 1].size() == 400'000);
    }
    cursor = got.cursor;
    ++calls;
  } while (cursor != 0);
  CHECK(names.empty());
  CHECK(calls == 7);
}
