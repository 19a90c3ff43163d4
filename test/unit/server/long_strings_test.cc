// Strings that are replicated in chunks, on whole nodes.
#include <algorithm>
#include <catch2/catch.hpp>
#include <utility>

#include "sharding/key_encoding.h"
#include "test/support/node_harness.h"

using namespace cairn;
using namespace cairn::server;
using cairn::test::bulk;
using cairn::test::HarnessNode;
using cairn::test::NodeHarness;
using cairn::test::request;

namespace {
NodeOptions small_chunks(const std::string& name) {
  NodeOptions options = NodeHarness::options(name);
  options.ranges = 1;
  options.bootstrap = name == "one";
  if (!options.bootstrap) options.join = {"one:7379"};
  options.redirect = RedirectMode::kNever;
  options.replica.whole_bytes_max = 64;
  options.replica.chunk_bytes = 16;
  return options;
}

struct Cluster {
  NodeHarness h;

  explicit Cluster(const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      NodeOptions options = small_chunks(name);
      options.initial_nodes = static_cast<uint32_t>(names.size());
      h.start(options);
    }
    REQUIRE(h.run_until([&] {
      return std::all_of(h.nodes.begin(), h.nodes.end(), [](auto& n) { return n.second.node->ready(nullptr); });
    }));
    h.run_for(3 * kSecond);
  }
  static Replica& replica(HarnessNode& n) { return *n.node->replicas().at(RangeId{1}); }
  HarnessNode* leader() {
    const auto found = std::find_if(h.nodes.begin(), h.nodes.end(), [](auto& n) { return replica(n.second).leads(); });
    return found == h.nodes.end() ? nullptr : &found->second;
  }
  std::string ask(HarnessNode& n, const std::vector<std::string>& argv) {
    n.session->on_input(request(argv));
    std::string got;
    h.run_until([&] { return !(got += n.take()).empty(); }, 8 * kSecond);
    return got;
  }
  static size_t chunk_rows(HarnessNode& n) {
    size_t rows = 0;
    CHECK(replica(n).tablet().scan("", "", [&](std::string_view key, std::string_view) {
      const auto decoded = sharding::decode_row_key(key);
      rows += decoded && decoded->kind == sharding::RowKind::kChunk ? 1 : 0;
      return true;
    }));
    return rows;
  }
};

std::string text(size_t bytes, char first = 'a') {
  std::string out;
  for (size_t i = 0; i < bytes; ++i) out.push_back(static_cast<char>(first + i % 23));
  return out;
}
const std::string kOk = "+OK\r\n";
}  // namespace

TEST_CASE("a long string is a string like any other") {
  Cluster c({"one"});
  HarnessNode& n = *c.leader();
  const std::string a = text(1000), b = text(333, 'B');
  CHECK(c.ask(n, {"SET", "{t}k", a}) == kOk);
  CHECK(c.chunk_rows(n) == 63);
  CHECK(c.ask(n, {"GET", "{t}k"}) == bulk(a));
  CHECK(c.ask(n, {"STRLEN", "{t}k"}) == ":1000\r\n");
  CHECK(c.ask(n, {"TYPE", "{t}k"}) == "+string\r\n");
  CHECK(c.ask(n, {"HGET", "{t}k", "f"}).starts_with("-WRONGTYPE"));
  for (const auto& [from, to] : std::vector<std::pair<int, int>>{{0, 0}, {15, 16}, {16, 31}, {900, 999}, {0, 999}}) {
    CHECK(c.ask(n, {"GETRANGE", "{t}k", std::to_string(from), std::to_string(to)}) ==
          bulk(a.substr(static_cast<size_t>(from), static_cast<size_t>(to - from + 1))));
  }
  CHECK(c.ask(n, {"GETBIT", "{t}k", "8"}) == ":0\r\n");
  CHECK(c.ask(n, {"GETBIT", "{t}k", "9"}) == ":1\r\n");
  CHECK(c.ask(n, {"GETBIT", "{t}k", "8000"}) == ":0\r\n");
  CHECK(c.ask(n, {"APPEND", "{t}k", b}) == ":1333\r\n");
  CHECK(c.chunk_rows(n) == 84);
  CHECK(c.ask(n, {"GET", "{t}k"}) == bulk(a + b));
  CHECK(c.ask(n, {"EXPIRE", "{t}k", "1000"}) == ":1\r\n");
  CHECK(c.ask(n, {"SETRANGE", "{t}k", "5", "XY"}) == ":1333\r\n");
  CHECK(c.ask(n, {"TTL", "{t}k"}) != ":-1\r\n");
  CHECK(c.ask(n, {"RENAME", "{t}k", "{t}other"}) == kOk);
  CHECK(c.ask(n, {"COPY", "{t}other", "{t}k"}) == ":1\r\n");
  std::string changed = a + b;
  changed.replace(5, 2, "XY");
  CHECK(c.ask(n, {"GETDEL", "{t}other"}) == bulk(changed));
  CHECK(c.ask(n, {"GET", "{t}k"}) == bulk(changed));
  CHECK(c.ask(n, {"SET", "{t}k", "short", "GET"}) == bulk(changed));
  CHECK(c.chunk_rows(n) == 0);
  CHECK(c.ask(n, {"SET", "{t}k", a, "NX"}) == "$-1\r\n");
  CHECK(c.ask(n, {"MSET", "{t}k", a, "{t}l", b, "{t}m", "short"}) == kOk);
  CHECK(c.ask(n, {"MGET", "{t}k", "{t}l", "{t}m"}) == "*3\r\n" + bulk(a) + bulk(b) + bulk("short"));
  CHECK(c.ask(n, {"DEL", "{t}k", "{t}l"}) == ":2\r\n");
  CHECK(c.chunk_rows(n) == 0);
  CHECK(std::as_const(*n.node).metrics().replica.chunk_bytes.get() > 5000);
}

TEST_CASE("of a long string only the chunks that change are written") {
  Cluster c({"one"});
  HarnessNode& n = *c.leader();
  std::string a = text(1000);
  CHECK(c.ask(n, {"SET", "k", a}) == kOk);
  const Counter& chunked = std::as_const(*n.node).metrics().replica.chunk_bytes;
  const uint64_t before = chunked.get();
  const auto edit = [&](size_t at, const std::string& bytes) {
    if (a.size() < at + bytes.size()) a.resize(at + bytes.size());
    a.replace(at, bytes.size(), bytes);
    CHECK(c.ask(n, {"SETRANGE", "k", std::to_string(at), bytes}) == ":" + std::to_string(a.size()) + "\r\n");
    CHECK(c.ask(n, {"GET", "k"}) == bulk(a));
  };
  edit(0, "first");
  edit(15, "over two");
  edit(16, "0123456789abcdef");
  edit(40, text(60, 'D'));
  edit(990, text(30, 'E'));
  a += "tail";
  CHECK(c.ask(n, {"APPEND", "k", "tail"}) == ":1024\r\n");
  a += "next chunk";
  CHECK(c.ask(n, {"APPEND", "k", "next chunk"}) == ":1034\r\n");
  CHECK(c.ask(n, {"SETBIT", "k", "8003", "1"}) == ":0\r\n");
  a[1000] = static_cast<char>(a[1000] | 1 << 4);
  CHECK(c.ask(n, {"GET", "k"}) == bulk(a));
  CHECK(chunked.get() == before);
  CHECK(c.chunk_rows(n) == 65);
  Cluster::replica(n).tablet().flush();
  c.h.run_for(kSecond);
  c.h.stop("one:7379");
  c.h.start(small_chunks("one"));
  REQUIRE(c.h.run_until([&] { return c.leader() != nullptr; }));
  CHECK(c.ask(*c.leader(), {"GET", "k"}) == bulk(a));  // what was edited counts as named
}

TEST_CASE("a long string survives flush and restart and expires like any other") {
  Cluster c({"one"});
  const std::string a = text(5000);
  CHECK(c.ask(*c.leader(), {"SET", "k", a}) == kOk);
  CHECK(c.ask(*c.leader(), {"SET", "due", a, "PX", "20000"}) == kOk);
  Cluster::replica(*c.leader()).tablet().flush();
  c.h.run_for(kSecond);
  c.h.stop("one:7379");
  c.h.start(small_chunks("one"));
  REQUIRE(c.h.run_until([&] { return c.leader() != nullptr; }));
  CHECK(c.ask(*c.leader(), {"GET", "k"}) == bulk(a));
  CHECK(c.ask(*c.leader(), {"GET", "due"}) == bulk(a));
  c.h.run_for(21 * kSecond);
  CHECK(c.ask(*c.leader(), {"GET", "due"}) == "$-1\r\n");
  CHECK(c.chunk_rows(*c.leader()) == 313);
}

TEST_CASE("a transaction writes long strings and reads them, and all of it or nothing happens") {
  Cluster c({"one"});
  HarnessNode& n = *c.leader();
  const std::string a = text(300), b = text(200, 'B');
  CHECK(c.ask(n, {"MULTI"}) == kOk);
  for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{
           {"SET", "{t}k", a}, {"APPEND", "{t}k", b}, {"GET", "{t}k"}, {"SET", "{t}l", b}, {"DEL", "{t}none"}}) {
    CHECK(c.ask(n, command) == "+QUEUED\r\n");
  }
  CHECK(c.ask(n, {"EXEC"}) == "*5\r\n+OK\r\n:500\r\n" + bulk(a + b) + "+OK\r\n:0\r\n");
  CHECK(c.chunk_rows(n) == 32 + 13);  // what it wrote on the way is gone
}

TEST_CASE("commands that follow on the same key wait for a long string, FLUSHALL makes it start afresh") {
  Cluster c({"one"});
  HarnessNode& n = *c.leader();
  const std::string a = text(2000);
  n.session->on_input(request({"SET", "k", a}) + request({"GET", "k"}) + request({"SET", "l", "1"}));
  const std::string all = kOk + bulk(a) + kOk;
  std::string got;
  c.h.run_until([&] { return (got += n.take()).size() >= all.size(); });
  CHECK(got == all);

  n.session->on_input(request({"SET", "k", text(2000, 'C')}) + request({"FLUSHALL"}) + request({"GET", "k"}));
  got.clear();
  c.h.run_until([&] { return std::count(got.begin(), got.end(), '\n') >= 3 || (got += n.take()).size() > 2000; });
  // Which of the two comes first is open, and the reader agrees with it.
  CHECK((got == kOk + kOk + "$-1\r\n" || got == kOk + kOk + bulk(text(2000, 'C'))));
  CHECK(c.ask(n, {"DEL", "k"}).starts_with(":"));
  CHECK(c.chunk_rows(n) == 0);
}

TEST_CASE("chunks of a leader that went away in the middle are removed by the next one") {
  Cluster c({"one", "two", "three"});
  HarnessNode* first = c.leader();
  REQUIRE(first != nullptr);
  const std::string address = first->options.addresses.peer;
  first->session->on_input(request({"SET", "k", text(20'000)}));
  const auto& pending = std::as_const(*first->node).metrics().replica.chunk_bytes;
  REQUIRE(c.h.run_until([&] { return pending.get() > 2000 && c.chunk_rows(*first) > 100; }));
  CHECK(pending.get() < 20'000);
  c.h.stop(address);
  REQUIRE(c.h.run_until([&] { return c.leader() != nullptr; }));
  HarnessNode& next = *c.leader();
  CHECK(c.chunk_rows(next) > 50);
  CHECK(c.ask(next, {"SET", "other", "1"}) == kOk);
  CHECK(c.chunk_rows(next) == 0);
  CHECK(c.ask(next, {"GET", "k"}) == "$-1\r\n");
}

TEST_CASE("the long value of a field is in chunks, and a field like any other") {
  Cluster c({"one"});
  HarnessNode& n = *c.leader();
  const std::string a = text(1000), b = text(333, 'B');
  CHECK(c.ask(n, {"HSET", "{t}h", "f", a, "g", "short", "i", b}) == ":3\r\n");  // as a new hash
  CHECK(c.chunk_rows(n) == 63 + 21);
  CHECK(c.ask(n, {"HGET", "{t}h", "f"}) == bulk(a));
  CHECK(c.ask(n, {"HGET", "{t}h", "g"}) == bulk("short"));
  CHECK(c.ask(n, {"HSTRLEN", "{t}h", "f"}) == ":1000\r\n");
  CHECK(c.ask(n, {"HEXISTS", "{t}h", "f"}) == ":1\r\n");
  CHECK(c.ask(n, {"HSETNX", "{t}h", "f", b}) == ":0\r\n");
  CHECK(c.ask(n, {"HMGET", "{t}h", "f", "none", "i"}) == "*3\r\n" + bulk(a) + "$-1\r\n" + bulk(b));
  CHECK(c.ask(n, {"HINCRBY", "{t}h", "f", "1"}).starts_with("-ERR hash value is not an integer"));
  for (const std::vector<std::string>& all : std::vector<std::vector<std::string>>{
           {"HGETALL", "{t}h"}, {"HSCAN", "{t}h", "0"}, {"HRANDFIELD", "{t}h", "5", "WITHVALUES"}}) {
    const std::string got = c.ask(n, all);
    CHECK(got.find(bulk("f") + bulk(a)) != std::string::npos);
    CHECK(got.find(bulk("g") + bulk("short")) != std::string::npos);
    CHECK(got.find(bulk("i") + bulk(b)) != std::string::npos);
  }
  CHECK(c.ask(n, {"HVALS", "{t}h"}).size() == ("*3\r\n" + bulk(a) + bulk(b) + bulk("short")).size());
  CHECK(c.ask(n, {"HKEYS", "{t}h"}).size() == ("*3\r\n" + bulk("f") + bulk("g") + bulk("i")).size());

  CHECK(c.ask(n, {"HSET", "{t}h", "f", b, "j", a, "j", b}) == ":1\r\n");  // in a hash that is there
  CHECK(c.chunk_rows(n) == 3 * 21);
  CHECK(c.ask(n, {"HGET", "{t}h", "f"}) == bulk(b));
  CHECK(c.ask(n, {"HGET", "{t}h", "j"}) == bulk(b));
  CHECK(c.ask(n, {"HSET", "{t}h", "j", "short"}) == ":0\r\n");
  CHECK(c.ask(n, {"HDEL", "{t}h", "i", "none"}) == ":1\r\n");
  CHECK(c.chunk_rows(n) == 21);
  CHECK(c.ask(n, {"EXPIRE", "{t}h", "1000"}) == ":1\r\n");

  CHECK(c.ask(n, {"RENAME", "{t}h", "{t}other"}) == kOk);
  CHECK(c.chunk_rows(n) == 21);
  CHECK(c.ask(n, {"COPY", "{t}other", "{t}h"}) == ":1\r\n");
  CHECK(c.chunk_rows(n) == 2 * 21);
  CHECK(c.ask(n, {"DEL", "{t}other"}) == ":1\r\n");
  CHECK(c.ask(n, {"HGET", "{t}h", "f"}) == bulk(b));
  CHECK(c.ask(n, {"TTL", "{t}h"}) != ":-1\r\n");
  CHECK(c.ask(n, {"SET", "{t}h", a}) == kOk);
  CHECK(c.chunk_rows(n) == 63);
  CHECK(c.ask(n, {"GET", "{t}h"}) == bulk(a));
  CHECK(c.ask(n, {"DEL", "{t}h"}) == ":1\r\n");
  CHECK(c.chunk_rows(n) == 0);
}

TEST_CASE("long values of a hash that is made, deleted and made again in one transaction") {
  Cluster c({"one"});
  HarnessNode& n = *c.leader();
  const std::string a = text(300), b = text(200, 'B');
  for (int round = 0; round < 2; ++round) {  // the second time there is one already
    CHECK(c.ask(n, {"MULTI"}) == kOk);
    for (const std::vector<std::string>& command :
         std::vector<std::vector<std::string>>{{"HSET", "h", "f", a, "g", b},
                                               {"HGET", "h", "g"},
                                               {"DEL", "h"},
                                               {"HSET", "h", "f", b},
                                               {"HSET", "h", "g", a, "k", "short"},
                                               {"HGET", "h", "g"}}) {
      CHECK(c.ask(n, command) == "+QUEUED\r\n");
    }
    CHECK(c.ask(n, {"EXEC"}) ==
          "*6\r\n:" + std::string(round == 0 ? "2" : "0") + "\r\n" + bulk(b) + ":1\r\n:1\r\n:2\r\n" + bulk(a));
    CHECK(c.chunk_rows(n) == 19 + 13);
    CHECK(c.ask(n, {"HMGET", "h", "f", "g", "k"}) == "*3\r\n" + bulk(b) + bulk(a) + bulk("short"));
  }
}

TEST_CASE("long values of fields survive flush and restart and expire with their hash") {
  Cluster c({"one"});
  const std::string a = text(5000);
  CHECK(c.ask(*c.leader(), {"HSET", "h", "f", a, "g", text(400)}) == ":2\r\n");
  CHECK(c.ask(*c.leader(), {"HSET", "due", "f", a}) == ":1\r\n");
  CHECK(c.ask(*c.leader(), {"PEXPIRE", "due", "20000"}) == ":1\r\n");
  Cluster::replica(*c.leader()).tablet().flush();
  c.h.run_for(kSecond);
  c.h.stop("one:7379");
  c.h.start(small_chunks("one"));
  REQUIRE(c.h.run_until([&] { return c.leader() != nullptr; }));
  CHECK(c.ask(*c.leader(), {"HGET", "h", "f"}) == bulk(a));
  CHECK(c.ask(*c.leader(), {"HGET", "due", "f"}) == bulk(a));
  c.h.run_for(21 * kSecond);
  CHECK(c.ask(*c.leader(), {"HGET", "due", "f"}) == "$-1\r\n");
  CHECK(c.chunk_rows(*c.leader()) == 313 + 25);
}

TEST_CASE("chunks of a field that a leader left behind are removed by the next one") {
  Cluster c({"one", "two", "three"});
  HarnessNode* first = c.leader();
  REQUIRE(first != nullptr);
  CHECK(c.ask(*first, {"HSET", "h", "named", text(400)}) == ":1\r\n");
  const std::string address = first->options.addresses.peer;
  first->session->on_input(request({"HSET", "h", "f", text(20'000)}));
  REQUIRE(c.h.run_until([&] { return c.chunk_rows(*first) > 125; }));
  c.h.stop(address);
  REQUIRE(c.h.run_until([&] { return c.leader() != nullptr; }));
  HarnessNode& next = *c.leader();
  CHECK(c.chunk_rows(next) > 50);
  CHECK(c.ask(next, {"SET", "other", "1"}) == kOk);
  CHECK(c.chunk_rows(next) == 25);
  CHECK(c.ask(next, {"HGET", "h", "f"}) == "$-1\r\n");
  CHECK(c.ask(next, {"HGET", "h", "named"}) == bulk(text(400)));
}
