// MULTI, EXEC, DISCARD, WATCH and UNWATCH through sessions over rows in memory.
#include <catch2/catch.hpp>

#include "server/commands/transaction.h"
#include "test/support/session_harness.h"

using namespace cairn;
using namespace cairn::server;
using cairn::test::bulk;
using cairn::test::request;
using cairn::test::SessionHarness;

namespace {
constexpr const char* kOk = "+OK\r\n";
constexpr const char* kQueued = "+QUEUED\r\n";
constexpr const char* kAborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
constexpr const char* kCross = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
constexpr const char* kNull = "*-1\r\n";

// Another connection of the same database.
struct Other {
  explicit Other(SessionHarness& h) : session(43, h.sink, SessionOptions{}) {}
  std::string operator()(const std::vector<std::string>& argv) {
    session.on_input(request(argv));
    return session.output().take();
  }
  Session session;
};
std::string field(const SessionHarness& h, const std::string& name) {
  const std::string line = h.session->client_line();
  const size_t at = line.find(" " + name + "=") + name.size() + 2;
  return line.substr(at, line.find(' ', at) - at);
}
}  // namespace

TEST_CASE("EXEC runs what was queued") {
  SessionHarness h;
  h.sink.rows.cold = GENERATE(false, true);
  CHECK(h({"MULTI"}) == kOk);
  CHECK(h({"SET", "a", "1"}) == kQueued);
  CHECK(h({"INCR", "a"}) == kQueued);
  CHECK(h({"HGET", "a", "f"}) == kQueued);
  CHECK(h({"GET", "a"}) == kQueued);
  CHECK(h({"DEL", "a"}) == kQueued);
  CHECK(h.sink.rows.rows().empty());
  CHECK(field(h, "multi") == "5");
  CHECK(field(h, "flags") == "x");
  // An error at run time undoes nothing.
  CHECK(h({"EXEC"}) == "*5\r\n+OK\r\n:2\r\n-WRONGTYPE Operation against a key holding the wrong kind of value\r\n" +
                           bulk("2") + ":1\r\n");
  CHECK(field(h, "multi") == "-1");
  CHECK(h({"EXEC"}) == "-ERR EXEC without MULTI\r\n");
  CHECK(h({"DISCARD"}) == "-ERR DISCARD without MULTI\r\n");
  CHECK(h({"MULTI"}) == kOk);
  CHECK(h({"EXEC"}) == "*0\r\n");
}

TEST_CASE("errors while queueing abort EXEC, nested MULTI and WATCH do not") {
  SessionHarness h;
  for (const std::vector<std::string>& bad : std::vector<std::vector<std::string>>{{"GET"},
                                                                                   {"nosuch", "x"},
                                                                                   {"CLIENT", "nosuch"},
                                                                                   {"MULTI", "x"},
                                                                                   {"DISCARD", "x"},
                                                                                   {"WATCH"},
                                                                                   {"HELLO", "3"},
                                                                                   {"SCAN", "0"},
                                                                                   {"DBSIZE"},
                                                                                   {"FLUSHALL"},
                                                                                   {"MGET", "a", "b"},
                                                                                   {"SET", "b", "other slot"}}) {
    CHECK(h({"MULTI"}) == kOk);
    CHECK(h({"SET", "a", "1"}) == kQueued);
    CHECK(h(bad).front() == '-');
    CHECK(h({"SET", "a", "1"}) == kQueued);
    CHECK(h({"EXEC"}) == kAborted);
    CHECK(h({"EXEC"}) == "-ERR EXEC without MULTI\r\n");
  }
  CHECK(h.sink.rows.rows().empty());
  CHECK(h({"MULTI"}) == kOk);
  CHECK(h({"MULTI"}) == "-ERR MULTI calls can not be nested\r\n");
  CHECK(h({"WATCH", "a"}) == "-ERR WATCH inside MULTI is not allowed\r\n");
  CHECK(h({"SET", "a", "1"}) == kQueued);
  CHECK(h({"EXEC"}) == "*1\r\n+OK\r\n");
  CHECK(h({"MULTI"}) == kOk);
  CHECK(h({"EXEC", "x"}) ==
        "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command\r\n");
  CHECK(h({"EXEC"}) == "-ERR EXEC without MULTI\r\n");
}

TEST_CASE("one slot, or any keys in a whole keyspace") {
  SessionHarness h;
  CHECK(h({"MULTI"}) == kOk);
  CHECK(h({"SET", "{t}1", "1"}) == kQueued);
  CHECK(h({"MSET", "{t}2", "2", "{t}3", "3"}) == kQueued);
  CHECK(h({"SET", "x", "1"}) == kCross);
  CHECK(h({"EXEC"}) == kAborted);
  CHECK(h({"WATCH", "a", "b"}) == kCross);
  CHECK(h({"WATCH", "a"}) == kOk);
  CHECK(h({"WATCH", "b"}) == kCross);
  CHECK(h({"MULTI"}) == kOk);
  CHECK(h({"SET", "b", "1"}) == kCross);
  CHECK(h({"EXEC"}) == kAborted);
  CHECK(h({"WATCH", "b"}) == kOk);  // nothing else is watched any more
  h.sink.is_whole = true;
  CHECK(h({"WATCH", "a", "b", "c"}) == kOk);
  CHECK(h({"MULTI"}) == kOk);
  CHECK(h({"SET", "a", "1"}) == kQueued);
  CHECK(h({"SET", "b", "2"}) == kQueued);
  CHECK(h({"MGET", "a", "b", "c"}) == kQueued);
  CHECK(h({"EXEC"}) == "*3\r\n+OK\r\n+OK\r\n*3\r\n" + bulk("1") + bulk("2") + "$-1\r\n");
}

TEST_CASE("MOVED inside a transaction aborts it") {
  SessionHarness h;
  h.sink.foreign_from = 1;
  h.sink.redirect = RedirectMode::kAlways;
  CHECK(h({"MULTI"}) == kOk);
  CHECK(h({"SET", "a", "1"}) == "-MOVED 15495 10.0.0.2:6380\r\n");
  CHECK(h({"EXEC"}) == kAborted);
  CHECK(h({"WATCH", "a"}) == "-MOVED 15495 10.0.0.2:6380\r\n");
}

TEST_CASE("the connection's own commands run when EXEC does") {
  SessionHarness h;
  CHECK(h({"MULTI"}) == kOk);
  CHECK(h({"PING"}) == kQueued);
  CHECK(h({"CLIENT", "SETNAME", "me"}) == kQueued);
  CHECK(h({"SELECT", "9"}) == kQueued);
  CHECK(h({"UNWATCH"}) == kQueued);
  CHECK(field(h, "name").empty());
  CHECK(h({"EXEC"}) == "*4\r\n+PONG\r\n+OK\r\n-ERR DB index is out of range\r\n+OK\r\n");
  CHECK(field(h, "name") == "me");
  const bool late = GENERATE(false, true);
  h.sink.late = late;
  CHECK(h({"MULTI"}) == kOk);
  h({"ECHO", "1"});
  h({"SET", "a", "x"});
  h({"PING"});
  h({"GET", "a"});
  std::string reply = h.bytes(request({"EXEC"}) + request({"PING", "later"}));
  if (late) {
    CHECK(reply.empty());
    h.hand_over_all();
    reply = h.take();
  }
  CHECK(reply == "*4\r\n" + bulk("1") + "+OK\r\n+PONG\r\n" + bulk("x") + bulk("later"));
  // QUIT and RESET do not wait.
  h.sink.late = false;
  CHECK(h({"MULTI"}) == kOk);
  CHECK(h({"SET", "a", "y"}) == kQueued);
  CHECK(h({"RESET"}) == "+RESET\r\n");
  CHECK(h({"EXEC"}) == "-ERR EXEC without MULTI\r\n");
  CHECK(h({"GET", "a"}) == bulk("x"));
  CHECK(h({"MULTI"}) == kOk);
  CHECK(h({"QUIT"}) == kOk);
  CHECK(h.session->wants_close());
}

TEST_CASE("EXEC does nothing if a watched key was written") {
  SessionHarness h;
  Other other(h);
  h.sink.rows.cold = GENERATE(false, true);
  const auto attempt = [&](const std::vector<std::string>& between) {
    h({"DEL", "a"});
    h({"SET", "a", "1"});
    CHECK(h({"WATCH", "a"}) == kOk);
    CHECK(field(h, "watch") == "1");
    other(between);
    h({"MULTI"});
    h({"SET", "a", "mine"});
    const std::string reply = h({"EXEC"});
    CHECK(field(h, "watch") == "0");
    const bool done = reply == "*1\r\n+OK\r\n";
    CHECK((done || reply == kNull));
    CHECK((h({"GET", "a"}) == bulk("mine")) == done);
    return done;
  };
  CHECK(attempt({"GET", "a"}));
  CHECK(attempt({"SET", "b", "1"}));
  CHECK(attempt({"SETNX", "a", "2"}));
  CHECK(attempt({"PERSIST", "a"}));
  CHECK(attempt({"HSET", "a", "f", "v"}));
  CHECK_FALSE(attempt({"SET", "a", "1"}));
  CHECK_FALSE(attempt({"DEL", "a"}));
  CHECK_FALSE(attempt({"EXPIRE", "a", "1000"}));
  CHECK_FALSE(attempt({"INCRBY", "a", "0"}));
  CHECK_FALSE(attempt({"APPEND", "a", "x"}));
  CHECK_FALSE(attempt({"RENAME", "a", "{a}2"}));
  // A transaction without commands is refused as well.
  h({"WATCH", "a"});
  other({"SET", "a", "2"});
  h({"MULTI"});
  CHECK(h({"EXEC"}) == kNull);
  // The own writes count too; DISCARD, UNWATCH and RESET forget.
  h({"WATCH", "a"});
  h({"SET", "a", "2"});
  h({"MULTI"});
  CHECK(h({"EXEC"}) == kNull);
  for (const char* forget : {"UNWATCH", "DISCARD", "RESET"}) {
    h({"WATCH", "a"});
    if (forget == std::string("DISCARD")) h({"MULTI"});
    h({forget});
    other({"SET", "a", "3"});
    h({"MULTI"});
    CHECK(h({"EXEC"}) == "*0\r\n");
  }
  // Watched twice: since the first time.
  h({"WATCH", "a"});
  other({"SET", "a", "2"});
  h({"WATCH", "a"});
  h({"MULTI"});
  h({"PING"});
  CHECK(h({"EXEC"}) == kNull);
}

TEST_CASE("the fields of a large hash are part of the watched key") {
  SessionHarness h;
  Other other(h);
  for (int i = 0; i < 200; ++i) h({"HSET", "h", "f" + std::to_string(i), "v"});
  for (const std::vector<std::string>& change :
       std::vector<std::vector<std::string>>{{"HSET", "h", "f7", "w"}, {"HDEL", "h", "f7"}, {"DEL", "h"}}) {
    h({"WATCH", "h"});
    other(change);
    h({"MULTI"});
    CHECK(h({"EXEC"}) == kNull);
  }
}

TEST_CASE("a watched key that expires was changed, one that had expired was not") {
  SessionHarness h;
  h({"SET", "a", "1", "PX", "10"});
  h({"WATCH", "a"});
  h({"MULTI"});
  h({"SET", "a", "2"});
  h.sink.rows.now += 10;
  CHECK(h({"EXEC"}) == kNull);
  CHECK(h.sink.rows.rows().empty());
  h({"SET", "a", "1", "PX", "10"});
  h.sink.rows.now += 10;
  h({"WATCH", "a"});
  h({"MULTI"});
  h({"SET", "a", "2"});
  CHECK(h({"EXEC"}) == "*1\r\n+OK\r\n");
}

TEST_CASE("another leader cannot tell, so it does nothing") {
  SessionHarness h;
  h({"WATCH", "a"});
  ++h.sink.rows.leadership;
  h({"MULTI"});
  h({"SET", "a", "2"});
  CHECK(h({"EXEC"}) == kNull);
  CHECK(h.sink.rows.rows().empty());
}

TEST_CASE("transactions have limits") {
  SessionLimits limits;
  limits.parser.command_bytes_max = 10'000;
  SessionHarness h(limits);
  h({"MULTI"});
  for (int i = 0; i < 4; ++i) CHECK(h({"SET", "a", std::string(2'000, 'x')}) == kQueued);
  CHECK(h({"SET", "a", std::string(2'000, 'x')}) ==
        "-ERR transaction too large: the limit is 10000 bytes for all its commands and watched keys\r\n");
  CHECK(h({"EXEC"}) == kAborted);
  for (int i = 0; i < 4; ++i) CHECK(h({"WATCH", "{a}" + std::string(2'000, 'x') + std::to_string(i)}) == kOk);
  CHECK(h({"WATCH", "{a}" + std::string(2'000, 'x')}).starts_with("-ERR transaction too large"));
  CHECK(h({"UNWATCH"}) == kOk);
  CHECK(h({"WATCH", "{a}" + std::string(2'000, 'x')}) == kOk);
  CHECK(h({"UNWATCH"}) == kOk);
  h({"SETRANGE", "big", "30000000", "x"});
  h({"MULTI"});
  h({"APPEND", "big", "x"});
  h({"APPEND", "big", "y"});
  CHECK(
      h({"EXEC"}) ==
      "-EXECABORT Transaction discarded because its effects take more than 41943040 bytes or 500000 rows; nothing was "
      "changed\r\n");
  CHECK(h({"STRLEN", "big"}) == ":30000001\r\n");
}

TEST_CASE("WATCH holds the connection back until its answer is there") {
  SessionHarness h;
  h({"SET", "a", "1"});
  h.sink.late = true;
  CHECK(h.bytes(request({"WATCH", "a"}) + request({"MULTI"}) + request({"INCR", "a"}) + request({"EXEC"})).empty());
  REQUIRE(h.sink.queue.size() == 1);
  h.hand_over(0);
  CHECK(h.take() == "+OK\r\n+OK\r\n+QUEUED\r\n");
  h.hand_over_all();
  CHECK(h.take() == "*1\r\n:2\r\n");
}
