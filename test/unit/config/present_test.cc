// A configuration shown, described for editors, and written back into its file.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "config/node_config.h"

using namespace cairn;
using namespace cairn::config;

namespace {

struct File {
  std::string path;
  explicit File(const std::string& text) {
    path =
        (std::filesystem::temp_directory_path() / ("cairn-present-" + std::to_string(::getpid()) + ".yaml")).string();
    std::ofstream(path) << text;
  }
  ~File() { std::filesystem::remove(path); }
  NodeConfig load() const {
    auto loaded = config::load({path, {}, {}});
    REQUIRE(loaded);
    return *loaded;
  }
};

}  // namespace

TEST_CASE("every value, written as text, is read back the same") {
  NodeConfig config;
  config.data_dir = "/d";
  for (const KeySpec& key : key_specs()) {
    const std::string text = value_text(config, key);
    INFO(key.name << " = " << text);
    NodeConfig other;
    if (text.empty()) continue;
    REQUIRE(set_key(other, key.name, text, "test"));
    CHECK(value_text(other, key) == text);
  }
  const KeySpec& spin = *find_key("runtime.spin");
  config.runtime_spin = 1500 * kMicrosecond / 2;
  CHECK(value_text(config, spin) == "750us");
  config.storage_memtable_bytes = (3u << 20) + 1;
  CHECK(value_text(config, *find_key("storage.memtable_bytes")) == "3145729");
  CHECK(find_key("nosuch") == nullptr);
}

TEST_CASE("config show names every key, its value and its origin, and no secret") {
  const File file("data_dir: d\nclient:\n  max: 77\npeer:\n  secret: hush\n");
  auto config = config::load({file.path, {{"runtime.spin", "0"}}, {{"CAIRN_REQUIREPASS", "sesame"}}});
  REQUIRE(config);
  REQUIRE(set_key(*config, "slowlog.max_len", "9", std::string(kRuntime)));
  std::map<std::string, std::string> origins;
  std::stringstream lines(show(*config));
  for (std::string line; std::getline(lines, line);) {
    origins[line.substr(0, line.find(':'))] = line.substr(line.find("# ") + 2);
  }
  CHECK(origins.size() == key_specs().size());
  CHECK(origins["client.max"] == file.path + ":3");
  CHECK(origins["runtime.spin"] == "flag --runtime.spin");
  CHECK(origins["requirepass"] == "environment CAIRN_REQUIREPASS");
  CHECK(origins["slowlog.max_len"] == "runtime");
  CHECK(origins["log.level"] == "default");
  const std::string text = show(*config);
  CHECK(text.find("client.max: 77 ") != std::string::npos);
  CHECK(text.find("hush") == std::string::npos);
  CHECK(text.find("sesame") == std::string::npos);
}

TEST_CASE("docs/cairn.schema.json is what the keys say") {
  std::ifstream in(CAIRN_TEST_DATA "/../../docs/cairn.schema.json");
  std::stringstream text;
  text << in.rdbuf();
  INFO("cairnd config schema > docs/cairn.schema.json mends it");
  CHECK(text.str() == json_schema());
}

TEST_CASE("a file is rewritten in place, comments and order kept") {
  const File file(
      "# my node\n"
      "data_dir: d   # here\n"
      "\n"
      "client:\n"
      "    # how many\n"
      "    max: 77     # enough\n"
      "    listen: \"127.0.0.1:7001\"\n"
      "log:\n"
      "  level: info\n"
      "requirepass: 'it''s # secret'\n");
  NodeConfig config = file.load();
  const auto change = [&](const char* key, const char* value) {
    REQUIRE(set_key(config, key, value, std::string(kRuntime)));
  };
  change("client.max", "500");
  change("client.idle_timeout", "10s");
  change("slowlog.max_len", "9");
  change("slowlog.slower_than", "1ms");
  change("log.level", "warn");
  change("cluster.redirect", "auto");  // as by default, and not in the file: stays out
  std::ifstream in(file.path);
  std::stringstream text;
  text << in.rdbuf();
  const std::string changed = rewritten(text.str(), config);
  CHECK(changed ==
        "# my node\n"
        "data_dir: d   # here\n"
        "\n"
        "client:\n"
        "    idle_timeout: 10s\n"
        "    # how many\n"
        "    max: 500     # enough\n"
        "    listen: \"127.0.0.1:7001\"\n"
        "log:\n"
        "  level: warn\n"
        "requirepass: 'it''s # secret'\n"
        "slowlog:\n"
        "  max_len: 9\n"
        "  slower_than: 1ms\n");
  change("requirepass", "a: b # c");
  const File again(rewritten(changed, config));
  CHECK(again.load().requirepass == "a: b # c");
  CHECK(again.load().client_max == 500);
}
