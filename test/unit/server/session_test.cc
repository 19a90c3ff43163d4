// What a connection answers by itself, the order of replies, scattering, redirection and bounds.
#include <catch2/catch.hpp>

#include "base/random.h"
#include "server/resp/reply_parser.h"
#include "test/support/session_harness.h"

using namespace cairn;
using namespace cairn::server;
using cairn::test::bulk;
using cairn::test::request;
using cairn::test::SessionHarness;

namespace {
constexpr const char* kOk = "+OK\r\n";
constexpr const char* kNoAuthText = "-NOAUTH Authentication required.\r\n";
constexpr const char* kHelloNoAuth =
    "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> "
    "<pass> option can be "
    "used to authenticate the client and select the RESP protocol version at the same time\r\n";
std::string unknown(const std::string& rest) { return "-ERR unknown command " + rest + "\r\n"; }
std::string arity(const std::string& name) { return "-ERR wrong number of arguments for '" + name + "' command\r\n"; }

SessionLimits many_under_way() {
  SessionLimits limits;
  limits.expected_bytes_max = 100 << 20;
  return limits;
}
}  // namespace

TEST_CASE("unknown commands and wrong arity in Redis' words") {
  SessionHarness h;
  CHECK(h({"foo", "a", "b"}) == unknown("'foo', with args beginning with: 'a' 'b' "));
  CHECK(h({"FOO"}) == unknown("'FOO', with args beginning with: "));
  CHECK(h({"", "x"}) == unknown("'', with args beginning with: 'x' "));
  CHECK(h({"foo", "a\r\nb"}) == unknown("'foo', with args beginning with: 'a  b' "));
  CHECK(h({"foo", std::string(130, 'a'), "b"}) ==
        unknown("'foo', with args beginning with: '" + std::string(128, 'a') + "' "));
  CHECK(h({"foo", std::string("aa\0bb", 5), "b"}) == unknown("'foo', with args beginning with: 'aa' 'b' "));
  CHECK(h({std::string(130, 'a')}) == unknown("'" + std::string(128, 'a') + "', with args beginning with: "));
  CHECK(h({"get"}) == arity("get"));
  CHECK(h({"GET", "a", "b"}) == arity("get"));
  CHECK(h({"client"}) == arity("client"));
  CHECK(h({"CLIENT", "getname", "x"}) == arity("client|getname"));
  CHECK(h({"CLIENT", "Foo", "x"}) == "-ERR unknown subcommand 'Foo'. Try CLIENT HELP.\r\n");
  CHECK(h({"PING", "a", "b"}) == arity("ping"));
  CHECK(h({"cluster", "setslot", "1"}) == "-ERR slots are assigned by the cluster itself; see /v1/ranges\r\n");
}

TEST_CASE("PING, ECHO, SELECT, TIME, QUIT") {
  SessionHarness h;
  CHECK(h.bytes("PING\r\n\r\nping hi\r\n") == "+PONG\r\n" + bulk("hi"));
  CHECK(h({"ECHO", ""}) == bulk(""));
  CHECK(h({"SELECT", "0"}) == kOk);
  CHECK(h({"SELECT", "1"}) == "-ERR DB index is out of range\r\n");
  CHECK(h({"SELECT", "a"}) == "-ERR value is not an integer or out of range\r\n");
  CHECK(h({"TIME"}) == "*2\r\n" + bulk("1700000000") + bulk("123456"));
  CHECK(h.bytes("QUIT\r\nPING\r\n") == kOk);
  CHECK(h.session->wants_close());
  CHECK(h.bytes("PING\r\n").empty());
}

TEST_CASE("HELLO") {
  SessionHarness h;
  const std::string tail = bulk("id") + ":42\r\n" + bulk("mode") + bulk("cluster") + bulk("role") + bulk("master") +
                           bulk("modules") + "*0\r\n";
  const std::string head = bulk("server") + bulk("redis") + bulk("version") + bulk("7.0.15") + bulk("proto");
  CHECK(h({"HELLO"}) == "*14\r\n" + head + ":2\r\n" + tail);
  CHECK(h({"HELLO", "3"}) == "%7\r\n" + head + ":3\r\n" + tail);
  CHECK(h({"GET", "x"}) == "_\r\n");
  CHECK(h({"HELLO", "4"}) == "-NOPROTO unsupported protocol version\r\n");
  CHECK(h({"HELLO", "a"}) == "-ERR Protocol version is not an integer or out of range\r\n");
  CHECK(h({"HELLO", "2", "foo"}) == "-ERR Syntax error in HELLO option 'foo'\r\n");
  CHECK(h({"HELLO", "2", "AUTH", "a"}) == "-ERR Syntax error in HELLO option 'AUTH'\r\n");
  CHECK(h({"HELLO", "2", "SETNAME", "a b"}) ==
        "-ERR Client names cannot contain spaces, newlines or special characters.\r\n");
  CHECK(h.session->proto() == 3);
  CHECK(h({"HELLO", "2", "AUTH", "default", "x", "SETNAME", "bob"}).starts_with("*14"));
  CHECK(h.session->name() == "bob");
  h.sink.is_whole = true;
  CHECK(h({"HELLO", "2"}).find("standalone") != std::string::npos);
  CHECK(h({"RESET"}) == "+RESET\r\n");
  CHECK(h.session->name().empty());
}

TEST_CASE("authentication") {
  SessionHarness h({}, "sekret");
  CHECK(h({"GET", "a"}) == kNoAuthText);
  CHECK(h({"PING"}) == kNoAuthText);
  CHECK(h({"foo"}) == unknown("'foo', with args beginning with: "));
  CHECK(h({"get"}) == arity("get"));
  CHECK(h({"HELLO", "3"}) == kHelloNoAuth);
  CHECK(h({"HELLO", "3", "AUTH", "default", "bad"}) ==
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
  CHECK(h({"AUTH", "sekret2"}) == "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
  CHECK(h({"AUTH", ""}) == "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
  CHECK(h({"AUTH", "other", "sekret"}) == "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
  CHECK(h({"AUTH", "a", "b", "c"}) == "-ERR syntax error\r\n");
  CHECK(h.sink.executed == 0);
  CHECK(h({"AUTH", "sekret"}) == kOk);
  CHECK(h({"GET", "a"}) == "$-1\r\n");
  CHECK(h({"RESET"}) == "+RESET\r\n");
  CHECK(h({"GET", "a"}) == kNoAuthText);
  CHECK(h({"HELLO", "3", "AUTH", "default", "sekret", "SETNAME", "x"}).starts_with("%7"));
  CHECK(h({"GET", "a"}) == "_\r\n");
  // A pipeline that logs in half-way is held to the small limits before, and to the large ones behind.
  SessionHarness p({}, "sekret");
  const std::string big = request({"SET", "a", std::string(20000, 'x')});
  CHECK(p.bytes(request({"AUTH", "sekret"}) + big) == std::string(kOk) + kOk);
  SessionHarness q({}, "sekret");
  CHECK(q.bytes(big) == "-ERR Protocol error: unauthenticated bulk length\r\n");
  CHECK(q.session->wants_close());
  SessionHarness open;
  CHECK(open({"AUTH", "x"})
            .starts_with("-ERR AUTH <password> called without any password configured for the default user."));
  CHECK(open({"AUTH", "default", "x"}) == kOk);
  CHECK(open({"AUTH", "a", "b"}) == "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
}

TEST_CASE("HTTP is cut off without a word") {
  for (const char* text : {"POST / HTTP/1.1\r\nHost: x\r\n\r\nPING\r\n", "GET / x\r\nHost: y\r\nPING\r\n"}) {
    SessionHarness h;
    const std::string out = h.bytes(text);
    CHECK(out.find("PONG") == std::string::npos);
    CHECK(h.session->wants_close());
  }
}

TEST_CASE("CLIENT") {
  SessionHarness h;
  CHECK(h({"CLIENT", "ID"}) == ":42\r\n");
  CHECK(h({"CLIENT", "GETNAME"}) == "$-1\r\n");
  CHECK(h({"CLIENT", "SETNAME", "me"}) == kOk);
  CHECK(h({"CLIENT", "GETNAME"}) == bulk("me"));
  CHECK(h({"CLIENT", "SETINFO", "lib-name", "x"}) == kOk);
  CHECK(h({"CLIENT", "SETINFO", "LIB-VER", "1.2"}) == kOk);
  CHECK(h({"CLIENT", "SETINFO", "foo", "x"}) == "-ERR Unrecognized option 'foo'\r\n");
  CHECK(h({"CLIENT", "SETINFO", "lib-name", "a b"}) ==
        "-ERR lib-name cannot contain spaces, newlines or special characters.\r\n");
  const std::string info = h({"CLIENT", "INFO"});
  CHECK(info.find("id=42 addr=127.0.0.1:50000 laddr=127.0.0.1:6379 ") != std::string::npos);
  CHECK(info.find(" name=me ") != std::string::npos);
  CHECK(info.find(" cmd=client|info ") != std::string::npos);
  CHECK(info.find(" lib-name=x lib-ver=1.2\n") != std::string::npos);
  Session other(7, h.sink, {});
  h.sink.shared.add(other);
  CHECK(h({"CLIENT", "LIST", "ID", "7"}) == bulk(other.client_line() + "\n"));
  CHECK(h({"CLIENT", "LIST", "ID", "8", "7"}) == bulk(other.client_line() + "\n"));
  CHECK(h({"CLIENT", "LIST", "TYPE", "pubsub"}) == bulk(""));
  CHECK(h({"CLIENT", "LIST", "TYPE", "foo"}) == "-ERR Unknown client type 'foo'\r\n");
  h({"HELLO", "3"});
  CHECK(h({"CLIENT", "LIST", "ID", "7"}).find("\r\ntxt:id=7 addr=") != std::string::npos);
}

TEST_CASE("INFO has Redis' order, our sections last, and no field twice") {
  SessionHarness h;
  h({"GET", "x"});
  const std::string info = h({"INFO"});
  size_t at = 0;
  for (const char* title : {"# Server\r\n", "# Clients\r\n", "# Memory\r\n", "# Persistence\r\n", "# Replication\r\n",
                            "# Modules\r\n", "# Cluster\r\n", "# Keyspace\r\n", "# Consensus\r\n"}) {
    const size_t found = info.find(title);
    INFO(title);
    REQUIRE(found != std::string::npos);
    CHECK(found > at);
    at = found;
  }
  for (const char* field : {"redis_version:7.0.15\r\n", "redis_mode:cluster\r\n", "arch_bits:64\r\n", "loading:0\r\n",
                            "cluster_enabled:1\r\n", "role:master\r\n"}) {
    const size_t found = info.find(field);
    CHECK(found != std::string::npos);
    CHECK(info.find(field, found + 1) == std::string::npos);
  }
  CHECK(info.find("cmdstat") == std::string::npos);
  CHECK(h({"INFO", "nosuch"}) == bulk(""));
  CHECK(h({"INFO", "CommandStats"}).find("cmdstat_get:calls=1,") != std::string::npos);
  CHECK(h({"INFO", "all"}).find("cmdstat_info:") != std::string::npos);
  CHECK(h({"INFO", "consensus"}) == bulk("# Consensus\r\ngroups:1\r\n"));
  CHECK(h({"INFO", "keyspace", "memory"}) == bulk("# Memory\r\nused_memory:1\r\n\r\n# Keyspace\r\n"));
}

TEST_CASE("CONFIG") {
  SessionHarness h;
  CHECK(h({"CONFIG", "GET", "save"}) == "*2\r\n" + bulk("save") + bulk(""));
  CHECK(h({"CONFIG", "GET", "DataBases"}) == "*2\r\n" + bulk("DataBases") + bulk("1"));
  CHECK(h({"CONFIG", "GET", "maxmemory*"}) ==
        "*4\r\n" + bulk("maxmemory") + bulk("0") + bulk("maxmemory-policy") + bulk("noeviction"));
  CHECK(h({"CONFIG", "GET", "nosuch"}) == "*0\r\n");
  h({"HELLO", "3"});
  CHECK(h({"CONFIG", "GET", "timeout", "timeout"}) == "%1\r\n" + bulk("timeout") + bulk("0"));
  CHECK(h({"CONFIG", "SET", "foo", "1"}) == "-ERR Unknown option or number of arguments for CONFIG SET - 'foo'\r\n");
}

TEST_CASE("COMMAND") {
  SessionHarness h;
  const std::string count = std::to_string(command_table().size());
  CHECK(h({"COMMAND", "COUNT"}) == ":" + count + "\r\n");
  CHECK(h({"COMMAND"}).starts_with("*" + count + "\r\n*10\r\n" + bulk("acl") + ":-2\r\n"));
  CHECK(h({"COMMAND", "INFO", "GET", "nosuch"}) ==
        "*2\r\n*10\r\n" + bulk("get") +
            ":2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*3\r\n+@read\r\n+@string\r\n+@fast\r\n*"
            "0\r\n*1\r\n*6\r\n" +
            bulk("flags") + "*2\r\n+RO\r\n+access\r\n" + bulk("begin_search") + "*4\r\n" + bulk("type") +
            bulk("index") + bulk("spec") + "*2\r\n" + bulk("index") + ":1\r\n" + bulk("find_keys") + "*4\r\n" +
            bulk("type") + bulk("range") + bulk("spec") + "*6\r\n" + bulk("lastkey") + ":0\r\n" + bulk("keystep") +
            ":1\r\n" + bulk("limit") + ":0\r\n*0\r\n*-1\r\n");
  CHECK(h({"COMMAND", "GETKEYS", "mget", "a", "b"}) == "*2\r\n" + bulk("a") + bulk("b"));
  CHECK(h({"COMMAND", "GETKEYS", "SET", "a"}) == "-ERR Invalid number of arguments specified for command\r\n");
  CHECK(h({"COMMAND", "GETKEYS", "nosuch", "a"}) == "-ERR Invalid command specified\r\n");
  CHECK(h({"COMMAND", "LIST", "FILTERBY", "PATTERN", "ex*"}) ==
        "*5\r\n" + bulk("exec") + bulk("exists") + bulk("expire") + bulk("expireat") + bulk("expiretime"));
  for (const int proto : {2, 3}) {
    h({"HELLO", std::to_string(proto)});
    for (const std::vector<std::string>& argv : std::vector<std::vector<std::string>>{
             {"COMMAND"}, {"COMMAND", "DOCS"}, {"COMMAND", "LIST"}, {"COMMAND", "DOCS", "get"}}) {
      const std::string out = h(argv);
      size_t length = 0;
      CHECK(reply_length(out, length) == ReplyState::kComplete);
      CHECK(length == out.size());
    }
  }
}

TEST_CASE("CLUSTER") {
  SessionHarness h;
  h.sink.foreign_from = 8000;
  const std::string one = std::string(39, '0') + "1", two = std::string(39, '0') + "2";
  CHECK(h({"CLUSTER", "SLOTS"}) == "*2\r\n*3\r\n:0\r\n:7999\r\n*4\r\n" + bulk("127.0.0.1") + ":6379\r\n" + bulk(one) +
                                       "*0\r\n*3\r\n:8000\r\n:16383\r\n*4\r\n" + bulk("10.0.0.2") + ":6380\r\n" +
                                       bulk(two) + "*0\r\n");
  CHECK(h({"CLUSTER", "NODES"}) == bulk(one + " 127.0.0.1:6379@7379 myself,master - 0 0 7 connected 0-7999\n" + two +
                                        " 10.0.0.2:6380@7380 master - 0 0 7 connected 8000-16383\n"));
  CHECK(h({"CLUSTER", "MYID"}) == bulk(one));
  CHECK(h({"CLUSTER", "MYSHARDID"}) == bulk(one));
  CHECK(h({"CLUSTER", "KEYSLOT", "foo"}) == ":12182\r\n");
  const std::string info = h({"CLUSTER", "INFO"});
  CHECK(info.find("cluster_state:ok\r\ncluster_slots_assigned:16384\r\n") != std::string::npos);
  CHECK(info.find("cluster_known_nodes:2\r\ncluster_size:2\r\ncluster_current_epoch:7\r\n") != std::string::npos);
  h({"HELLO", "3"});
  CHECK(h({"CLUSTER", "SHARDS"})
            .starts_with("*2\r\n%3\r\n" + bulk("slots") + "*2\r\n:0\r\n:7999\r\n" + bulk("nodes") + "*1\r\n%7\r\n" +
                         bulk("id") + bulk(one) + bulk("port") + ":6379\r\n" + bulk("ip") + bulk("127.0.0.1")));
  h.sink.is_whole = true;
  CHECK(h({"CLUSTER", "SLOTS"}) == "-ERR This instance has cluster support disabled\r\n");
}

TEST_CASE("MOVED is told only to whom it concerns") {
  const std::string get = request({"GET", "foo"});  // slot 12182
  for (const std::vector<std::string>& argv : std::vector<std::vector<std::string>>{
           {"CLUSTER", "SLOTS"}, {"CLUSTER", "SHARDS"}, {"CLUSTER", "NODES"}, {"READONLY"}, {"ASKING"}}) {
    SessionHarness h;
    h.sink.foreign_from = 8000;
    CHECK(h.bytes(get) == "$-1\r\n");
    h(argv);
    CHECK(h.bytes(get) == "-MOVED 12182 10.0.0.2:6380\r\n");
    CHECK(h({"MGET", "foo", "{foo}2"}) == "-MOVED 12182 10.0.0.2:6380\r\n");
    CHECK(h({"GET", "bar"}) == "$-1\r\n");  // slot 5061
    h({"RESET"});
    CHECK(h.bytes(get) == "$-1\r\n");
  }
  // Who sent READONLY reads here, if there is a replica.
  SessionHarness reader;
  reader.sink.foreign_from = 8000;
  reader.sink.replicas = true;
  reader({"CLUSTER", "SLOTS"});
  CHECK(reader.bytes(get) == "-MOVED 12182 10.0.0.2:6380\r\n");
  reader({"READONLY"});
  CHECK(reader.bytes(get) == "$-1\r\n");
  CHECK(reader({"MGET", "foo", "{foo}2"}) == "*2\r\n$-1\r\n$-1\r\n");
  CHECK(reader({"SET", "foo", "x"}) == "-MOVED 12182 10.0.0.2:6380\r\n");
  CHECK(reader({"WATCH", "foo"}) == "-MOVED 12182 10.0.0.2:6380\r\n");
  reader({"READWRITE"});
  CHECK(reader.bytes(get) == "-MOVED 12182 10.0.0.2:6380\r\n");

  SessionHarness h;
  h.sink.foreign_from = 8000;
  h({"CLUSTER", "INFO"});
  CHECK(h.bytes(get) == "$-1\r\n");
  h.sink.redirect = RedirectMode::kAlways;
  CHECK(h.bytes(get) == "-MOVED 12182 10.0.0.2:6380\r\n");
  h.sink.redirect = RedirectMode::kNever;
  h({"READONLY"});
  CHECK(h.session->read_only());
  CHECK(h.bytes(get) == "$-1\r\n");
}

TEST_CASE("commands over several slots are split and put together") {
  for (const bool late : {false, true}) {
    SessionHarness h(many_under_way());
    for (const char* key : {"a", "b", "c", "d"}) h({"SET", key, std::string("v") + key});
    h({"HELLO", "3"});
    const uint64_t before = h.sink.executed;
    h.sink.late = late;
    h.session->on_input(request({"MGET", "c", "x", "a", "a", "d"}) + request({"EXISTS", "a", "x", "b", "a"}) +
                        request({"DEL", "a", "y", "d"}) + request({"UNLINK", "b", "b"}));
    CHECK(h.sink.executed - before == (4 + 3 + 3 + 1));
    while (!h.sink.queue.empty()) h.hand_over(h.sink.queue.size() - 1);  // the last one first
    CHECK(h.take() == "*5\r\n" + bulk("vc") + "_\r\n" + bulk("va") + bulk("va") + bulk("vd") + ":3\r\n:2\r\n:1\r\n");
    CHECK(h.session->outstanding_commands() == 0);
    CHECK(h.session->pending_bytes() == 0);
  }
  SessionHarness h;
  h.sink.is_whole = true;
  h({"MGET", "c", "x", "a"});
  CHECK(h.sink.executed == 1);
}

TEST_CASE("of a scattered command the first error by key wins") {
  SessionHarness h;
  h.sink.late = true;
  h.session->on_input(request({"MGET", "a", "b", "c"}));  // slots 15495, 3300, 7365
  REQUIRE(h.sink.queue.size() == 3);
  const auto parts = std::move(h.sink.queue);
  h.sink.queue.clear();
  h.session->deliver(parts[2].where.sequence, "-ERR of a\r\n");
  h.session->deliver(parts[2].where.sequence, "-ERR twice\r\n");
  h.session->deliver(parts[0].where.sequence, "-ERR of b\r\n");
  CHECK(h.take().empty());
  h.session->deliver(parts[1].where.sequence, parts[1].bytes);
  CHECK(h.take() == "-ERR of a\r\n");
  h.session->on_input(request({"DEL", "a", "b"}));
  h.session->deliver(h.sink.queue[0].where.sequence, "garbage");
  h.session->deliver(h.sink.queue[1].where.sequence, ":1\r\n");
  CHECK(h.take() == "-ERR internal error: a part of the reply could not be read\r\n");
}

TEST_CASE("replies leave in the order of the commands, whenever they come") {
  SeededRandom random(5);
  for (int round = 0; round < 300; ++round) {
    SessionHarness reference, h;
    std::string input;
    for (int i = 0; i < 40; ++i) {
      const std::string key = "k" + std::to_string(random.below(5));
      switch (random.below(9)) {
        case 0: input += request({"SET", key, std::to_string(i)}); break;
        case 1: input += request({"GET", key}); break;
        case 2: input += request({"MGET", "k0", "k1", "k2", key}); break;
        case 3: input += request({"PING", std::to_string(i)}); break;
        case 4: input += "nosuch\r\n"; break;
        case 5: input += request({"DBSIZE"}); break;
        case 6: input += request({"HELLO", random.below(2) ? "2" : "3"}); break;
        case 7: input += request({"DEL", key, "k0"}); break;
        case 8: input += "\r\n"; break;
      }
    }
    if (random.below(2)) input += "QUIT\r\nPING\r\n";
    const std::string expected = reference.bytes(input);
    std::string got;
    size_t at = 0;
    while (at < input.size() || !h.sink.queue.empty()) {
      if (at < input.size() && random.below(2)) {
        const size_t n = std::min<size_t>(input.size() - at, 1 + random.below(60));
        h.sink.late = random.below(4) != 0;
        h.session->on_input(std::string_view(input).substr(at, n));
        at += n;
      } else if (!h.sink.queue.empty()) {
        h.hand_over(random.below(h.sink.queue.size()));
      }
      if (random.below(2)) got += h.take();
    }
    got += h.take();
    REQUIRE(got == expected);
    CHECK(h.session->wants_close() == reference.session->wants_close());
    CHECK(h.session->outstanding_commands() == 0);
    CHECK(h.session->pending_bytes() == 0);
  }
}

TEST_CASE("a pipeline stops at its bounds and goes on when replies have left") {
  SessionLimits limits = many_under_way();
  limits.outstanding_commands_max = 10;
  SessionHarness h(limits);
  h.sink.late = true;
  std::string input;
  for (int i = 0; i < 25; ++i) input += request({"INCR", "n"});
  h.session->on_input(input);
  CHECK(h.session->paused());
  CHECK(h.sink.queue.size() == 10);
  CHECK(h.session->input_bytes() == input.size() * 15 / 25);
  h.hand_over(0);
  CHECK(h.sink.queue.size() == 10);
  h.hand_over_all();
  CHECK(h.sink.executed == 25);
  std::string expected;
  for (int i = 1; i <= 25; ++i) expected += ":" + std::to_string(i) + "\r\n";
  CHECK(h.take() == expected);

  // A client that does not read its replies is not served on.
  limits.pending_bytes_max = 1000;
  SessionHarness slow(limits);
  slow({"SET", "big", std::string(400, 'x')});
  std::string gets;
  for (int i = 0; i < 10; ++i) gets += request({"GET", "big"});
  slow.session->on_input(gets);
  CHECK(slow.session->paused());
  CHECK(slow.session->output().size() == 3 * 408);
  std::string all;
  while (!slow.session->output().empty()) all += slow.take();
  CHECK(all.size() == 10 * 408);
  CHECK(!slow.session->paused());
}

TEST_CASE("few commands are under way until their replies are known to be small") {
  SessionHarness h;
  h({"SET", "large", std::string(1 << 20, 'x')});
  h({"SET", "small", "x"});
  h.sink.late = true;
  const auto pipeline = [&](const std::string& key, int times) {
    std::string gets;
    for (int i = 0; i < times; ++i) gets += request({"GET", key});
    h.session->on_input(gets);
  };
  const auto under_way = [&] { return h.sink.queue.size(); };

  pipeline("large", 100);
  CHECK(under_way() == 8);
  CHECK(h.session->paused());
  h.hand_over_all();
  // The client reads nothing: what was under way is the most that it can hold, and nothing more is asked for.
  CHECK(h.session->output().size() < (9 << 20));
  CHECK(h.session->outstanding_commands() == 0);
  CHECK(h.session->input_bytes() > 0);
  size_t received = h.take().size();
  while (under_way() > 0) {
    CHECK(under_way() <= 4);
    h.hand_over_all();
    received += h.take().size();
  }
  CHECK(received == 100 * bulk(std::string(1 << 20, 'x')).size());

  // A quarter is forgotten with each.
  pipeline("small", 1000);
  CHECK(under_way() == 4);
  for (int i = 0; i < 20; ++i) h.hand_over(0);
  CHECK(under_way() > 500);
  h.hand_over_all();
  CHECK(h.take().size() == 1000 * bulk("x").size());

  // MGET counts by its parts; one that has more than are allowed is executed alone.
  pipeline("large", 1);
  h.hand_over_all();
  (void)h.take();
  h.session->on_input(request({"MGET", "a", "b", "c", "d", "e"}) + request({"MGET", "a", "b", "c", "d", "e"}));
  CHECK(under_way() == 5);
  h.hand_over_all();
  CHECK(h.take() == "*5\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n*5\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n");
}

TEST_CASE("too large commands are refused and the connection lives on") {
  SessionLimits limits;
  limits.parser.command_bytes_max = 1000;
  SessionHarness h(limits);
  CHECK(h.bytes("PING\r\n" + request({"SET", "a", std::string(2000, 'x')}) + "PING\r\n") ==
        "+PONG\r\n-ERR command too large: the limit is 1000 bytes for a command with all its "
        "arguments\r\n+PONG\r\n");
  h.session->on_input("*2\r\n$3\r\nGET\r\n$100000000\r\n");
  for (int i = 0; i < 1000; ++i) h.session->on_input(std::string(1000, 'x'));
  CHECK(h.session->input_bytes() == 0);
}

TEST_CASE("too large values are refused and the connection lives on") {
  SessionLimits limits;
  limits.parser.value_bytes_max = 1000;
  SessionHarness h(limits);
  CHECK(h.bytes("PING\r\n" + request({"SET", "a", std::string(1001, 'x'), "NX"}) + "PING\r\n") ==
        "+PONG\r\n-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n+PONG\r\n");
  CHECK(h({"SET", "a", std::string(1000, 'x')}) == "+OK\r\n");
}

TEST_CASE("a large command is read when there is memory for it, and gives it back with its reply") {
  const std::string large(2 << 20, 'x');
  const std::string set = request({"SET", "a", large});
  const auto header = set.size() - large.size() - 2;
  SessionHarness h;
  h.sink.late = true;
  h.sink.room = false;
  h.session->on_input("PING\r\n" + set.substr(0, header));
  CHECK(h.take() == "+PONG\r\n");
  CHECK(h.session->paused());
  CHECK(h.sink.room_asked == set.size());
  h.sink.room = true;
  h.session->room_granted(h.sink.room_asked);
  CHECK(!h.session->paused());
  h.session->on_input(set.substr(header) + "PING\r\n");
  CHECK(!h.session->paused());  // small ones go on

  // The next large one waits for the first one's reply.
  h.session->on_input(set.substr(0, header));
  CHECK(h.session->paused());
  CHECK(h.sink.room_left == 0);
  h.hand_over_all();
  CHECK(h.take() == "+OK\r\n+PONG\r\n");
  CHECK(h.sink.room_left == 1);
  CHECK(!h.session->paused());
  h.session->on_input(set.substr(header));
  h.hand_over_all();
  CHECK(h.take() == "+OK\r\n");
  CHECK(h.sink.room_left == 2);
}

TEST_CASE("memory for large commands is given in order of arrival, and to the next one after a while at any rate") {
  std::vector<uint64_t> granted;
  LargeCommands commands(100, [&](uint64_t session, size_t) { granted.push_back(session); });
  CHECK(commands.reserve(1, 1000, 0));  // alone it always fits
  CHECK(!commands.reserve(2, 60, 0));
  CHECK(!commands.reserve(3, 30, 0));
  CHECK(!commands.reserve(4, 30, 0));
  commands.release(1);
  CHECK(granted == std::vector<uint64_t>{2, 3});
  CHECK(commands.bytes() == 90);
  commands.tick(LargeCommands::kWaitMax - 1);
  CHECK(commands.waiting() == 1);
  commands.tick(LargeCommands::kWaitMax);
  CHECK(granted == std::vector<uint64_t>{2, 3, 4});
  CHECK(!commands.reserve(5, 10, 0));
  commands.release(5);  // it went away
  for (const uint64_t session : {2, 3, 4}) commands.release(session);
  CHECK((commands.bytes() == 0 && commands.waiting() == 0));
}

TEST_CASE("a protocol error is the last reply, behind all earlier ones") {
  SessionHarness h;
  h.sink.late = true;
  h.session->on_input(request({"GET", "a"}) + "*x\r\nPING\r\n");
  CHECK(h.take().empty());
  CHECK(!h.session->wants_close());
  h.hand_over_all();
  CHECK(h.take() == "$-1\r\n-ERR Protocol error: invalid multibulk length\r\n");
  CHECK(h.session->wants_close());
}

TEST_CASE("input read in place equals input given") {
  SessionHarness h;
  const std::string input = request({"SET", "a", std::string(100000, 'x')}) + request({"STRLEN", "a"});
  size_t at = 0;
  while (at < input.size()) {
    const auto space = h.session->input_space(5000);
    const size_t n = std::min({space.size(), input.size() - at, size_t{7000}});
    std::memcpy(space.data(), input.data() + at, n);
    h.session->input_filled(n);
    at += n;
  }
  CHECK(h.take() == "+OK\r\n:100000\r\n");
}

TEST_CASE("FLUSHALL and DBSIZE") {
  SessionHarness h;
  h({"SET", "a", "1"});
  h({"HSET", "h", "f", std::string(100, 'x')});
  CHECK(h({"DBSIZE"}) == ":2\r\n");
  CHECK(h({"FLUSHALL", "x"}) == "-ERR syntax error\r\n");
  CHECK(h({"FLUSHDB", "async"}) == kOk);
  CHECK(h({"DBSIZE"}) == ":0\r\n");
  CHECK(h.sink.rows.rows().empty());
}

TEST_CASE("FLUSHALL and DBSIZE wait for all earlier replies of their connection, and later commands for theirs") {
  SessionHarness h;
  h.sink.late = true;
  h.session->on_input(request({"SET", "a", "1"}) + request({"GET", "b"}) + request({"DBSIZE"}) + "PING\r\n" +
                      request({"FLUSHALL"}) + request({"SET", "c", "3"}) + request({"DBSIZE"}));
  REQUIRE(h.sink.queue.size() == 2);  // SET and GET are out; DBSIZE has not begun
  CHECK(h.session->paused());         // what comes now stays in the socket
  h.hand_over(1);
  CHECK(h.sink.queue.size() == 1);
  h.hand_over(0);
  REQUIRE(h.sink.queue.size() == 1);  // DBSIZE is out, nothing behind it
  CHECK(h.take() == "+OK\r\n$-1\r\n");
  CHECK(h.sink.queue.front().bytes == ":1\r\n");
  h.hand_over(0);
  CHECK(h.take() == ":1\r\n+PONG\r\n");
  REQUIRE(h.sink.queue.size() == 1);  // FLUSHALL; SET c must not come before it
  CHECK(h.sink.rows.rows().empty());
  h.hand_over(0);
  REQUIRE(h.sink.queue.size() == 1);  // SET c
  h.hand_over(0);
  REQUIRE(h.sink.queue.size() == 1);
  h.hand_over(0);
  CHECK(h.take() == "+OK\r\n+OK\r\n:1\r\n");
  CHECK(!h.session->paused());
  CHECK(h.session->outstanding_commands() == 0);

  // A connection that goes while such a command waits takes it along.
  h.session->on_input(request({"GET", "b"}) + request({"FLUSHALL"}));
  h.session->on_close();
  h.hand_over(0);
  CHECK(h.sink.queue.empty());
  CHECK(h.sink.rows.rows().size() == 1);
}

TEST_CASE("SCANs of one pipeline run side by side; what follows waits for them") {
  SessionHarness h(many_under_way());
  h.sink.late = true;
  std::string scans;
  for (int i = 0; i < 20; ++i) scans += request({"SCAN", "0"});
  h.session->on_input(request({"GET", "a"}) + scans + request({"SET", "a", "1"}) + request({"SCAN", "0"}));
  REQUIRE(h.sink.queue.size() == 1);  // GET
  h.hand_over(0);
  REQUIRE(h.sink.queue.size() == 16);  // not more at once
  CHECK(h.session->paused());
  h.hand_over(3);
  CHECK(h.sink.queue.size() == 15);  // the first has not left
  h.hand_over(0);
  CHECK(h.sink.queue.size() == 15);
  while (h.session->outstanding_commands() > 1) h.hand_over(0);
  REQUIRE(h.sink.queue.size() == 1);
  h.hand_over(0);
  REQUIRE(h.sink.queue.size() == 1);  // SET
  CHECK(h.sink.rows.rows().size() == 1);
  h.hand_over(0);
  h.hand_over(0);
  std::string expected = "$-1\r\n";
  for (int i = 0; i < 20; ++i) expected += "*2\r\n$1\r\n0\r\n*0\r\n";
  CHECK(h.take() == expected + "+OK\r\n*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n");
  CHECK(h.session->idle());

  // In a transaction SCAN is refused, and errors keep their place.
  h.session->on_input(request({"SCAN", "0"}) + request({"SCAN", "x"}) + request({"MULTI"}) + request({"SCAN", "0"}));
  h.hand_over(0);
  const std::string replies = h.take();
  CHECK(replies.starts_with("*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n-ERR invalid cursor\r\n+OK\r\n-ERR SCAN "));
}

TEST_CASE("a client that does not read waits with its commands, unless it goes on sending") {
  SessionLimits limits;
  limits.output_rest = 1000;
  limits.input_rest = 300;
  SessionHarness h(limits);
  h({"SET", "big", std::string(400, 'x')});
  const std::string get = request({"GET", "big"});
  std::string gets;
  for (int i = 0; i < 10; ++i) gets += get;
  h.session->on_input(gets);
  CHECK(h.session->output().size() == 3 * 408);
  CHECK(h.session->resting());
  CHECK(!h.session->paused());  // more is read
  h.session->on_input(get);
  CHECK(h.session->output().size() == 3 * 408);
  for (int i = 0; i < 10; ++i) h.session->on_input(get);
  CHECK(h.session->output().size() > 3 * 408);
  CHECK(h.session->input_bytes() < 300);
  std::string all;
  while (!h.session->output().empty()) all += h.take();
  CHECK(all.size() == 21 * 408);
  CHECK(h.session->idle());
  CHECK(!h.session->resting());
}
