// CLIENT KILL, PAUSE, REPLY and the rest about connections; accounting: SLOWLOG, LATENCY, INFO's statistics.
#include <catch2/catch.hpp>

#include <fstream>
#include <sstream>

#include "server/commands/command_info.h"
#include "test/support/session_harness.h"

using namespace cairn;
using namespace cairn::server;
using cairn::test::bulk;
using cairn::test::request;
using cairn::test::SessionHarness;

namespace {
constexpr const char* kOk = "+OK\r\n";
std::string err(const std::string& text) { return "-ERR " + text + "\r\n"; }

// A second connection of the same node.
struct Other {
  SessionHarness& h;
  Session session;
  Other(SessionHarness& harness, uint64_t id, std::string peer)
      : h(harness), session(id, h.sink, options(harness, std::move(peer))) {
    h.sink.shared.add(session);
  }
  ~Other() { h.sink.shared.remove(session.id()); }
  static SessionOptions options(SessionHarness& h, std::string peer) {
    SessionOptions o = h.options;
    o.peer_address = std::move(peer);
    return o;
  }
  std::string operator()(const std::vector<std::string>& argv) {
    session.on_input(request(argv));
    return take();
  }
  std::string take() {
    std::string out;
    out = session.output().take();
    session.on_output_sent();
    return out;
  }
};
}  // namespace

TEST_CASE("CLIENT KILL by address and by filters") {
  SessionHarness h;
  Other a(h, 50, "10.0.0.1:1"), b(h, 51, "10.0.0.1:2");
  CHECK(h({"CLIENT", "KILL", "1.2.3.4:5"}) == err("No such client"));
  CHECK(h({"CLIENT", "KILL", "ID", "0"}) == err("client-id should be greater than 0"));
  CHECK(h({"CLIENT", "KILL", "TYPE", "foo"}) == err("Unknown client type 'foo'"));
  CHECK(h({"CLIENT", "KILL", "USER", "nobody"}) == err("No such user 'nobody'"));
  CHECK(h({"CLIENT", "KILL", "ID", "50", "ADDR"}) == err("syntax error"));
  CHECK(h({"CLIENT", "KILL", "SKIPME", "maybe"}) == err("syntax error"));
  CHECK(h({"CLIENT", "KILL", "TYPE", "pubsub"}) == ":0\r\n");
  CHECK(h({"CLIENT", "KILL", "ID", "42"}) == ":0\r\n");  // skips itself
  CHECK(h({"CLIENT", "KILL", "10.0.0.1:1"}) == kOk);
  CHECK(a.session.killed());
  CHECK(a({"PING"}).empty());
  CHECK(h({"CLIENT", "KILL", "LADDR", "127.0.0.1:6379", "USER", "default", "ID", "51"}) == ":1\r\n");
  CHECK(b.session.wants_close());
  CHECK(h.sink.shared.limits.killed.get() == 2);
  // The own connection: behind the reply, and nothing that follows.
  CHECK(h.bytes(request({"CLIENT", "KILL", "ID", "42", "SKIPME", "no"}) + request({"PING"})) == ":1\r\n");
  CHECK(h.session->wants_close());
}

TEST_CASE("CLIENT PAUSE holds writes or everything, until it is over") {
  SessionHarness h;
  std::vector<std::pair<Duration, Task>> timers;
  h.sink.shared.run_after = [&](Duration delay, Task task) { timers.emplace_back(delay, std::move(task)); };
  Other a(h, 50, "10.0.0.1:1");
  CHECK(h({"CLIENT", "PAUSE", "x"}) == err("timeout is not an integer or out of range"));
  CHECK(h({"CLIENT", "PAUSE", "-1"}) == err("timeout is negative"));
  CHECK(h({"CLIENT", "PAUSE", "1", "foo"}) == err("CLIENT PAUSE mode must be WRITE or ALL"));
  CHECK(h({"CLIENT", "PAUSE", "1", "ALL", "x"}) ==
        err("unknown subcommand or wrong number of arguments for 'PAUSE'. Try CLIENT HELP."));
  CHECK(h({"CLIENT", "PAUSE", "500", "WRITE"}) == kOk);
  REQUIRE(timers.size() == 1);
  CHECK(timers[0].first == 500 * kMillisecond);
  CHECK(a({"GET", "x"}) == "$-1\r\n");
  CHECK(a({"SET", "x", "1"}).empty());
  CHECK(a({"GET", "x"}).empty());  // behind the write
  CHECK(a.session.paused());
  CHECK(a.session.client_line().find(" flags=b ") != std::string::npos);
  CHECK(h.sink.shared.postponed() == 1);
  timers[0].second();
  CHECK(a.take() == kOk + bulk("1"));
  CHECK(h.sink.shared.postponed() == 0);
  // A new pause makes the timer of the old one void; UNPAUSE ends it.
  CHECK(a({"CLIENT", "PAUSE", "1000", "WRITE"}) == kOk);
  CHECK(a({"CLIENT", "PAUSE", "2000", "WRITE"}) == kOk);
  timers[1].second();
  CHECK(h({"SET", "x", "2"}).empty());
  CHECK(a({"CLIENT", "UNPAUSE"}) == kOk);
  CHECK(h.take() == kOk);
  CHECK(a({"CLIENT", "PAUSE", "1000"}) == kOk);
  CHECK(h({"PING"}).empty());
  timers[3].second();
  CHECK(h.take() == "+PONG\r\n");
}

TEST_CASE("CLIENT REPLY: off, skip and on, for replies that are there at once and late ones") {
  for (const bool late : {false, true}) {
    SessionHarness h;
    h.sink.late = late;
    const auto run = [&](const std::string& bytes) {
      h.session->on_input(bytes);
      h.hand_over_all();
      return h.take();
    };
    CHECK(run(request({"CLIENT", "REPLY", "foo"})) == err("syntax error"));
    CHECK(run(request({"SET", "a", "1"}) + request({"CLIENT", "REPLY", "SKIP"}) + request({"GET", "a"}) +
              request({"GET", "b"})) == std::string(kOk) + "$-1\r\n");
    CHECK(run(request({"CLIENT", "REPLY", "OFF"}) + request({"SET", "a", "2"}) + request({"MGET", "a", "b", "c"}) +
              request({"PING"}) + request({"NOSUCH"}))
              .empty());
    CHECK(run(request({"GET", "a"}) + request({"CLIENT", "REPLY", "ON"}) + request({"GET", "a"})) == kOk + bulk("2"));
  }
}

TEST_CASE("CLIENT: what is only noted, and what is refused") {
  SessionHarness h;
  CHECK(h({"CLIENT", "NO-EVICT", "on"}) == kOk);
  CHECK(h({"CLIENT", "NO-TOUCH", "ON"}) == kOk);
  CHECK(h.session->client_line().find(" flags=eT ") != std::string::npos);
  CHECK(h({"CLIENT", "NO-EVICT", "foo"}) == err("syntax error"));
  CHECK(h({"CLIENT", "GETREDIR"}) == ":-1\r\n");
  CHECK(h({"CLIENT", "TRACKING", "off"}) == kOk);
  CHECK(h({"CLIENT", "TRACKING", "foo"}) == err("syntax error"));
  CHECK(h({"CLIENT", "TRACKING", "ON"}).starts_with("-ERR client side caching is not supported"));
  CHECK(h({"CLIENT", "CACHING", "YES"}).starts_with("-ERR CLIENT CACHING can be called only when"));
  CHECK(h({"CLIENT", "UNBLOCK", "x"}) == err("value is not an integer or out of range"));
  CHECK(h({"CLIENT", "UNBLOCK", "1", "foo"}) == err("CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
  CHECK(h({"CLIENT", "UNBLOCK", "42", "ERROR"}) == ":0\r\n");
  CHECK(h({"RESET"}) == "+RESET\r\n");
  CHECK(h.session->client_line().find(" flags=N ") != std::string::npos);
}

TEST_CASE("a connection whose unread commands exceed the query buffer is closed") {
  SessionHarness h;
  h.sink.shared.settings.query_buffer_max = 1 << 20;
  CHECK(h.bytes("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2000000\r\n" + std::string(1 << 20, 'x')).empty());
  CHECK(h.session->killed());
  CHECK(h.sink.shared.limits.query_buffer.get() == 1);
}

TEST_CASE("SLOWLOG keeps what was slow, shortened, without secrets") {
  SessionHarness h;
  h.sink.late = true;
  h.sink.shared.settings.slowlog_slower_than = 2 * kMillisecond;
  const auto slow = [&](const std::vector<std::string>& argv, Duration time) {
    h.session->on_input(request(argv));
    h.sink.clock += time;
    h.hand_over_all();
    h.take();
  };
  slow({"SET", "fast", "1"}, kMillisecond);
  CHECK(h({"SLOWLOG", "LEN"}) == ":0\r\n");
  slow({"SET", "k", std::string(200, 'v')}, 3 * kMillisecond);
  slow({"MGET", "a", "b"}, 4 * kMillisecond);
  CHECK(h({"SLOWLOG", "LEN"}) == ":2\r\n");
  const std::string entry = h({"SLOWLOG", "GET", "1"});
  CHECK(entry == "*1\r\n*6\r\n:1\r\n:1700000000\r\n:4000\r\n*3\r\n" + bulk("MGET") + bulk("a") + bulk("b") +
                     bulk("127.0.0.1:50000") + bulk(""));
  const std::string both = h({"SLOWLOG", "GET", "-1"});
  CHECK(both.find(bulk(std::string(128, 'v') + "... (72 more bytes)")) != std::string::npos);
  CHECK(h({"SLOWLOG", "GET", "-2"}) == err("count should be greater than or equal to -1"));
  std::vector<std::string> many = {"MGET"};
  for (int i = 0; i < 40; ++i) many.push_back("{t}" + std::to_string(i));
  slow(many, 5 * kMillisecond);
  CHECK(h({"SLOWLOG", "GET", "1"}).find(bulk("... (10 more arguments)")) != std::string::npos);
  CHECK(h.sink.shared.slow_log.entries().size() == 3);
  SharedSettings shorter = h.sink.shared.settings;
  shorter.slowlog_max_len = 1;
  h.sink.shared.set_settings(shorter);
  CHECK(h({"SLOWLOG", "LEN"}) == ":1\r\n");
  CHECK(h({"SLOWLOG", "RESET"}) == kOk);
  CHECK(h({"SLOWLOG", "LEN"}) == ":0\r\n");
  h.sink.shared.settings.slowlog_slower_than = 0;  // everything
  h.sink.shared.settings.slowlog_max_len = 128;
  h({"AUTH", "default", "sekret"});
  h({"CONFIG", "SET", "requirepass", "sekret"});
  CHECK(h({"SLOWLOG", "GET", "-1"}).find("sekret") == std::string::npos);
  CHECK(h({"SLOWLOG", "GET", "-1"}).find("(redacted)") != std::string::npos);
}

TEST_CASE("times, errors and late failures are in INFO and LATENCY") {
  SessionHarness h;
  h.sink.late = true;
  h.sink.shared.settings.latency_threshold_ms = 3;
  const auto slow = [&](const std::vector<std::string>& argv, Duration time) {
    h.session->on_input(request(argv));
    h.sink.clock += time;
    h.hand_over_all();
    h.take();
  };
  slow({"SET", "s", "x"}, 5 * kMillisecond);
  slow({"INCR", "s"}, 100 * kMicrosecond);  // fails, late
  slow({"GET", "s"}, 4 * kMillisecond);
  h({"NOSUCH"});
  h({"CLIENT", "ID"});
  const std::string info = h({"INFO", "everything"});
  CHECK(info.find("cmdstat_set:calls=1,usec=5000,usec_per_call=5000.00,rejected_calls=0,failed_calls=0\r\n") !=
        std::string::npos);
  CHECK(info.find("cmdstat_incr:calls=1,usec=100,usec_per_call=100.00,rejected_calls=0,failed_calls=1\r\n") !=
        std::string::npos);
  CHECK(info.find("cmdstat_client|id:calls=1") != std::string::npos);
  CHECK(info.find("errorstat_ERR:count=2\r\n") != std::string::npos);
  CHECK(info.find("latency_percentiles_usec_incr:p50=103,p99=103,p99.9=103\r\n") != std::string::npos);
  CHECK(info.find("total_error_replies:2\r\n") != std::string::npos);
  CHECK(h({"LATENCY", "HISTOGRAM", "incr", "nosuch"}) == "*2\r\n" + bulk("incr") + "*4\r\n" + bulk("calls") + ":1\r\n" +
                                                             bulk("histogram_usec") + "*2\r\n:128\r\n:1\r\n");
  CHECK(h({"LATENCY", "LATEST"}) == "*2\r\n*4\r\n" + bulk("command") + ":1700000000\r\n:5\r\n:5\r\n*4\r\n" +
                                        bulk("fast-command") + ":1700000000\r\n:4\r\n:4\r\n");
  CHECK(h({"LATENCY", "HISTORY", "command"}) == "*1\r\n*2\r\n:1700000000\r\n:5\r\n");
  CHECK(h({"LATENCY", "GRAPH", "command"}).find("command - high 5 ms, low 5 ms") != std::string::npos);
  CHECK(h({"LATENCY", "GRAPH", "foo"}) == err("No samples available for event 'foo'"));
  CHECK(h({"LATENCY", "DOCTOR"}).find("fast-command: 1 seconds with spikes") != std::string::npos);
  CHECK(h({"LATENCY", "RESET", "foo", "command"}) == ":1\r\n");
  CHECK(h({"LATENCY", "RESET"}) == ":1\r\n");
  CHECK(h({"CONFIG", "RESETSTAT"}) == kOk);
  CHECK(h({"INFO", "errorstats"}) == bulk("# Errorstats\r\n"));
}

TEST_CASE("the histogram's buckets hold what they say") {
  LatencyHistogram times;
  for (uint64_t us = 1; us <= 1000; ++us) times.record(us * kMicrosecond);
  CHECK(times.count() == 1000);
  for (const double q : {0.1, 0.5, 0.9, 0.99}) {
    const double found = static_cast<double>(times.quantile_us(q));
    CHECK(found >= q * 1000 - 1);
    CHECK(found <= q * 1000 * 1.13);
  }
  const auto powers = times.by_powers_of_two();
  CHECK(powers.front() == std::pair<uint64_t, uint64_t>(2, 1));
  CHECK(powers[8] == std::pair<uint64_t, uint64_t>(512, 511));
  CHECK(powers.back() == std::pair<uint64_t, uint64_t>(1024, 1000));
}

TEST_CASE("MEMORY, MODULE, ACL, LOLWUT and the slots' keys") {
  SessionHarness h;
  h({"SET", "{a}1", "x"});
  h({"SET", "{a}2", std::string(1000, 'x')});
  h({"HSET", "{a}3", "f", "v"});
  CHECK(h({"MEMORY", "USAGE", "nokey"}) == "$-1\r\n");
  CHECK(h({"MEMORY", "USAGE", "{a}1", "SAMPLES"}) == err("syntax error"));
  CHECK(h({"MEMORY", "USAGE", "{a}1", "SAMPLES", "-1"}) == err("syntax error"));
  const std::string usage = h({"MEMORY", "USAGE", "{a}2", "SAMPLES", "0"});
  CHECK(std::stoi(usage.substr(1)) > 1000);
  CHECK(std::stoi(usage.substr(1)) < 1200);
  for (int i = 0; i < 300; ++i) h({"HSET", "{a}3", "field" + std::to_string(i), std::string(100, 'v')});
  CHECK(std::stoi(h({"MEMORY", "USAGE", "{a}3"}).substr(1)) > 300 * 100);
  CHECK(h({"CLUSTER", "COUNTKEYSINSLOT", "15495"}) == ":3\r\n");
  CHECK(h({"CLUSTER", "GETKEYSINSLOT", "15495", "2"}).starts_with("*2\r\n$4\r\n{a}"));
  CHECK(h({"CLUSTER", "GETKEYSINSLOT", "15495", "0"}) == "*0\r\n");
  CHECK(h({"CLUSTER", "COUNTKEYSINSLOT", "16384"}) == err("Invalid slot"));
  CHECK(h({"CLUSTER", "GETKEYSINSLOT", "1", "-1"}) == err("Invalid slot or number of keys"));
  CHECK(h({"CLUSTER", "REPLICAS", "foo"}) == err("Unknown node foo"));
  CHECK(h({"CLUSTER", "REPLICAS", std::string(39, '0') + "1"}) == "*0\r\n");
  CHECK(h({"CLUSTER", "COUNT-FAILURE-REPORTS", std::string(39, '0') + "1"}) == ":0\r\n");
  CHECK(h({"CLUSTER", "LINKS"}) == "*0\r\n");
  CHECK(h({"CLUSTER", "MEET", "1.2.3.4", "1"}).find("--join") != std::string::npos);
  CHECK(h({"MEMORY", "STATS"}).find("peak.allocated") != std::string::npos);
  CHECK(h({"MEMORY", "DOCTOR"}).starts_with("$"));
  CHECK(h({"MODULE", "LIST"}) == "*0\r\n");
  CHECK(h({"ACL", "WHOAMI"}) == bulk("default"));
  CHECK(h({"ACL", "LIST"}) == "*1\r\n" + bulk("user default on nopass ~* &* +@all"));
  CHECK(h({"ACL", "CAT", "foo"}) == err("Unknown category 'foo'"));
  CHECK(h({"ACL", "CAT", "connection"}).find("client|id") != std::string::npos);
  CHECK(h({"LOLWUT"}).find("Cairn ver. ") != std::string::npos);
  h.sink.is_whole = true;
  CHECK(h({"CLUSTER", "COUNTKEYSINSLOT", "1"}) == err("This instance has cluster support disabled"));
}

TEST_CASE("COMMAND GETKEYSANDFLAGS") {
  SessionHarness h;
  const auto one = [](const std::string& key, const std::vector<std::string>& flags) {
    std::string out = "*2\r\n" + bulk(key) + "*" + std::to_string(flags.size()) + "\r\n";
    for (const std::string& flag : flags) out += "+" + flag + "\r\n";
    return out;
  };
  const auto ask = [&](std::vector<std::string> argv) {
    argv.insert(argv.begin(), {"COMMAND", "GETKEYSANDFLAGS"});
    return h(argv);
  };
  CHECK(ask({"GET", "a"}) == "*1\r\n" + one("a", {"RO", "access"}));
  CHECK(ask({"set", "a", "b"}) == "*1\r\n" + one("a", {"OW", "update"}));
  CHECK(ask({"set", "a", "b", "get"}) == "*1\r\n" + one("a", {"RW", "access", "update"}));
  CHECK(ask({"RENAME", "a", "b"}) == "*2\r\n" + one("a", {"RW", "access", "delete"}) + one("b", {"OW", "update"}));
  CHECK(ask({"MSET", "a", "1", "b", "2"}) == "*2\r\n" + one("a", {"OW", "update"}) + one("b", {"OW", "update"}));
  CHECK(ask({"PING", "x"}) == err("The command has no key arguments"));
}

TEST_CASE("docs/compatibility.md is what the command table says") {
  std::stringstream text;
  text << std::ifstream(CAIRN_TEST_DATA "/../../docs/compatibility.md").rdbuf();
  INFO("cairnd dump commands > docs/compatibility.md mends it");
  CHECK(text.str() == compatibility_page());
}

TEST_CASE("transactions: what cannot be part of one, and pauses that hold EXEC back") {
  SessionHarness h;
  for (const std::vector<std::string>& argv : std::vector<std::vector<std::string>>{
           {"MEMORY", "USAGE", "a"}, {"CLUSTER", "COUNTKEYSINSLOT", "1"}, {"CLIENT", "REPLY", "OFF"}}) {
    CHECK(h({"MULTI"}) == kOk);
    CHECK(h(argv) == err(argv[0] + " " + argv[1] + " cannot be part of a transaction"));
    CHECK(h({"EXEC"}).starts_with("-EXECABORT"));
  }
  CHECK(h({"MULTI"}) == kOk);
  CHECK(h({"SET", "a", "1"}) == "+QUEUED\r\n");
  CHECK(h({"CLIENT", "ID"}) == "+QUEUED\r\n");
  Other a(h, 50, "10.0.0.1:1");
  CHECK(a({"CLIENT", "PAUSE", "1000", "WRITE"}) == kOk);
  CHECK(h({"EXEC"}).empty());
  CHECK(h.session->postponed());
  CHECK(a({"CLIENT", "UNPAUSE"}) == kOk);
  h.hand_over_all();
  CHECK(h.take().find(":42\r\n") != std::string::npos);
  CHECK(a({"GET", "a"}) == bulk("1"));
}
