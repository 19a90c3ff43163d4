// The configuration of a running node: CONFIG SET in Redis' words, all or nothing, reloading, rewriting.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "server/runtime/live_config.h"

using namespace cairn;
using namespace cairn::server;

namespace {

struct Fixture {
  std::string path =
      (std::filesystem::temp_directory_path() / ("cairn-live-" + std::to_string(::getpid()) + ".yaml")).string();
  config::LoadRequest request{path, {{"runtime.spin", "0"}}, {}};
  config::NodeConfig applied;
  int applications = 0;
  std::unique_ptr<LiveConfig> live;

  Fixture() {
    write("data_dir: /d\nclient:\n  max: 50  # few\n");
    auto loaded = config::load(request);
    REQUIRE(loaded);
    live = std::make_unique<LiveConfig>(*loaded, request, [this](const config::NodeConfig& c) {
      applied = c;
      ++applications;
    });
  }
  ~Fixture() { std::filesystem::remove(path); }
  void write(const std::string& text) { std::ofstream(path) << text; }
  std::string read() const {
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  std::string set(const Parameters::Changes& changes) {
    const auto done = live->set(changes);
    return done ? "OK" : done.error().message;
  }
  std::string get(const std::string& name) { return live->list()[name]; }
};

std::string related(const std::string& name, const std::string& why) {
  return "CONFIG SET failed (possibly related to argument '" + name + "') - " + why;
}

}  // namespace

TEST_CASE("CONFIG SET by Redis' names, with its words for what is wrong") {
  Fixture f;
  CHECK(f.set({{"foo", "1"}}) == "Unknown option or number of arguments for CONFIG SET - 'foo'");
  CHECK(f.set({{"maxclients", "abc"}}) == related("maxclients", "argument couldn't be parsed into an integer"));
  CHECK(f.set({{"maxclients", "0"}}) == related("maxclients", "argument must be between 1 and 1000000 inclusive"));
  CHECK(f.set({{"timeout", "-1"}}) == related("timeout", "argument must be between 0 and 3600000 inclusive"));
  CHECK(f.set({{"databases", "4"}}) == related("databases", "can't set immutable config"));
  CHECK(f.set({{"databases", "1"}}) == "OK");
  CHECK(f.set({{"save", ""}}) == "OK");
  CHECK(f.set({{"loglevel", "foo"}}) ==
        related("loglevel", "argument(s) must be one of the following: debug, verbose, notice, warning"));
  CHECK(f.set({{"latency-tracking", "foo"}}) == related("latency-tracking", "argument must be 'yes' or 'no'"));
  CHECK(f.set({{"client-query-buffer-limit", "1"}}) ==
        related("client-query-buffer-limit", "argument must be between 1048576 and 4294967296 inclusive"));
  CHECK(f.set({{"client-query-buffer-limit", "x"}}) ==
        related("client-query-buffer-limit", "argument must be a memory value"));
  CHECK(f.set({{"client-output-buffer-limit", "foo"}}) ==
        related("client-output-buffer-limit", "Wrong number of arguments in buffer limit configuration."));
  CHECK(f.set({{"client-output-buffer-limit", "normal 1mb 512kb 5"}}) == "OK");
  CHECK(f.get("client-output-buffer-limit") == "normal 1048576 524288 5");
  CHECK(f.applied.client_output_soft_time == 5 * kSecond);
  CHECK(f.set({{"slowlog-log-slower-than", "-1"}}) == "OK");
  CHECK(f.get("slowlog-log-slower-than") == "-1");
  CHECK(f.set({{"slowlog-log-slower-than", "1500"}, {"timeout", "30"}}) == "OK");
  CHECK(f.applied.slowlog_slower_than == 1500 * kMicrosecond);
  CHECK(f.get("timeout") == "30");
  CHECK(f.get("client.idle_timeout") == "30s");
  CHECK(f.set({{"client.idle_timeout", "1m"}}) == "OK");
  CHECK(f.get("timeout") == "60");
  CHECK(f.set({{"requirepass", "sesame"}}) == "OK");
  CHECK(f.applied.requirepass == "sesame");
  for (const auto& [name, value] : f.live->list()) CHECK(value.find("sesame") == std::string::npos);
  for (const char* level : {"debug", "notice", "warning"}) {
    CHECK(f.set({{"loglevel", level}}) == "OK");
    CHECK(f.get("loglevel") == level);
  }
}

TEST_CASE("changes are applied all or not at all") {
  Fixture f;
  CHECK(f.set({{"maxclients", "60"}, {"timeout", "x"}}) != "OK");
  CHECK(f.get("maxclients") == "50");
  CHECK(f.applications == 0);
  const auto restart = f.live->apply_config({{"client.max", "60"}, {"data_dir", "/e"}});
  REQUIRE(!restart);
  CHECK(restart.error().message.find("`data_dir` cannot change while the node runs") != std::string::npos);
  const auto unknown = f.live->apply_config({{"client.mac", "60"}});
  REQUIRE(!unknown);
  CHECK(unknown.error().message.find("`client.max`") != std::string::npos);
  CHECK(f.live->current().client_max == 50);
  const auto done = f.live->apply_config({{"client.max", "60"}, {"data_dir", "/d"}, {"requirepass", "x"}});
  REQUIRE(done);
  REQUIRE(done->size() == 2);
  CHECK((*done)[0].key == "client.max");
  CHECK((*done)[0].before == "50");
  CHECK((*done)[0].after == "60");
  CHECK((*done)[1].after == "(set)");
  CHECK(f.applications == 1);
  CHECK(f.live->current().origins.at("client.max") == "runtime");
  CHECK(f.live->current().origins.at("data_dir") == f.path + ":1");
}

TEST_CASE("reloading: the file holds, what needs a restart is named, a wrong file changes nothing") {
  Fixture f;
  REQUIRE(f.live->apply_config({{"client.max", "60"}, {"slowlog.max_len", "7"}}));
  f.write("data_dir: /other\nclient:\n  max: 70\nruntime:\n  spin: 10us\n");
  const auto done = f.live->reload();
  REQUIRE(done);
  CHECK(done->waiting == std::vector<std::string>{"data_dir"});
  REQUIRE(done->applied.size() == 2);
  CHECK(f.applied.client_max == 70);
  CHECK(f.applied.slowlog_max_len == 128);
  CHECK(f.applied.data_dir == "/d");
  CHECK(f.applied.runtime_spin == 0);  // the flag wins, as at the start
  CHECK(f.live->current().origins.at("client.max") == f.path + ":3");
  f.write("data_dir: /d\nclient:\n  max: lots\n");
  const auto wrong = f.live->reload();
  REQUIRE(!wrong);
  CHECK(wrong.error().message.find(f.path + ":3") != std::string::npos);
  CHECK(f.live->current().client_max == 70);
}

TEST_CASE("CONFIG REWRITE writes what was changed, and only what reads back") {
  Fixture f;
  CHECK(f.set({{"maxclients", "60"}, {"timeout", "5"}}) == "OK");
  REQUIRE(f.live->rewrite());
  CHECK(f.read() == "data_dir: /d\nclient:\n  idle_timeout: 5s\n  max: 60  # few\n");
  CHECK(f.live->current().origins.at("client.max") == f.path + ":4");
  CHECK(f.set({{"runtime.spin", "20us"}}) == "OK");
  const auto flag = f.live->rewrite();
  REQUIRE(!flag);
  CHECK(flag.error().message.find("flag --runtime.spin") != std::string::npos);
  CHECK(f.set({{"runtime.spin", "0"}}) == "OK");
  const std::string flow = "data_dir: /d\nclient: {max: 50}\n";
  f.write(flow);
  REQUIRE(f.live->reload());
  CHECK(f.set({{"maxclients", "80"}}) == "OK");
  CHECK(!f.live->rewrite());
  CHECK(f.read() == flow);
}
