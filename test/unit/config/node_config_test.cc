// Configuration: precedence, units, and errors that say where and what to write instead.
#include "config/node_config.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <set>

using namespace cairn;
using namespace cairn::config;

namespace {
namespace fs = std::filesystem;

// A directory with one configuration file, removed at the end.
struct File {
  explicit File(const std::string& text) {
    char name[] = "/tmp/cairn-config-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    directory = name;
    path = directory + "/cairn.yaml";
    std::ofstream(path) << text;
  }
  ~File() { fs::remove_all(directory); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  std::string directory, path;
};

using Pairs = std::vector<std::pair<std::string, std::string>>;

// The error of a file without its folder: "cairn.yaml:3: ...".
std::string error_of(const std::string& text, const Pairs& flags = {}, const Pairs& environment = {}) {
  const File file(text);
  const auto config = load({file.path, flags, environment});
  if (config) return "no error";
  CHECK(config.error().code == ErrorCode::kInvalidArgument);
  const std::string& message = config.error().message;
  return message.starts_with(file.directory + "/") ? message.substr(file.directory.size() + 1) : message;
}
}  // namespace

TEST_CASE("flag over environment over file over default, and each value knows where it came from") {
  const File file(
      "data_dir: d\n"
      "client:\n"
      "  max: 7\n"
      "  listen: 127.0.0.1:1\n"
      "cluster.ranges: 5\n"  // the dotted form is the same key
      "log: {level: warn}\n");
  const auto config = load(
      {file.path,
       {{"client.listen", "127.0.0.1:3"}},
       {{"CAIRN_CLIENT__LISTEN", "127.0.0.1:2"}, {"CAIRN_CLUSTER__RANGES", "6"}, {"CAIRN_SEED", "1"}, {"HOME", "/"}}});
  REQUIRE(config);
  CHECK(config->client_listen == "127.0.0.1:3");
  CHECK(config->cluster_ranges == 6);
  CHECK(config->client_max == 7);
  CHECK(config->log_level == "warn");
  CHECK(config->cluster_redirect == "auto");
  CHECK(config->origins.at("client.listen") == "flag --client.listen");
  CHECK(config->origins.at("cluster.ranges") == "environment CAIRN_CLUSTER__RANGES");
  CHECK(config->origins.at("client.max") == file.path + ":3");
  CHECK(config->origins.at("log.level") == file.path + ":6");
  CHECK(config->origins.at("cluster.redirect") == "default");
  // Addresses to advertise follow those to listen on, whoever set them.
  CHECK(config->client_advertise == "127.0.0.1:3");
  CHECK(config->peer_advertise == "127.0.0.1:7379");
}

TEST_CASE("relative paths are resolved against the file's directory") {
  const File file("data_dir: data/../d\nlog.file: /var/log/cairn\n");
  const auto config = load({file.path, {}, {}});
  REQUIRE(config);
  CHECK(config->data_dir == file.directory + "/d");
  CHECK(config->log_file == "/var/log/cairn");
  const auto flag = load({file.path, {{"log.file", "x"}}, {}});
  REQUIRE(flag);
  CHECK(flag->log_file == file.directory + "/x");
  const auto without = load({"", {{"data_dir", "d"}}, {}});
  REQUIRE(without);
  CHECK(without->data_dir == (fs::current_path() / "d").string());
}

TEST_CASE("an unknown key is named with its place and the nearest known one") {
  CHECK(error_of("data_dir: d\nclient:\n  listn: 127.0.0.1:1\n") ==
        "cairn.yaml:3: unknown key `client.listn`; the nearest known key is `client.listen`");
  CHECK(error_of("data_dir: d\nclinet:\n  max: 1\n") ==
        "cairn.yaml:2: unknown key `clinet`; the nearest known key is `client.max`");
  CHECK(error_of("datadir: d\n") == "cairn.yaml:1: unknown key `datadir`; the nearest known key is `data_dir`");
  CHECK(error_of("data_dir: d\nrequirepas: x\n") ==
        "cairn.yaml:2: unknown key `requirepas`; the nearest known key is `requirepass`");
  CHECK(error_of("data_dir: d\n", {{"log.levl", "info"}}) ==
        "flag --log.levl: unknown key `log.levl`; the nearest known key is `log.level`");
}

TEST_CASE("a wrong value is named with its place, itself and what is allowed") {
  CHECK(error_of("data_dir: d\n\nclient.max: 0\n") ==
        "cairn.yaml:3: `client.max` is '0', out of range; allowed: [1, 1000000]");
  CHECK(error_of("data_dir: d\nclient.max: many\n") ==
        "cairn.yaml:2: `client.max` is 'many', which is not a whole number; allowed: [1, 1000000]");
  CHECK(error_of("data_dir: d\ncluster:\n  redirect: sometimes\n") ==
        "cairn.yaml:3: `cluster.redirect` is 'sometimes'; allowed: auto | always | never");
  CHECK(error_of("data_dir: d\ncluster.redirect: '|'\n") ==
        "cairn.yaml:2: `cluster.redirect` is '|'; allowed: auto | always | never");
  CHECK(error_of("data_dir: d\ninsecure: yes\n") == "cairn.yaml:2: `insecure` is 'yes'; allowed: true | false");
  CHECK(error_of("data_dir: d\npeer.listen: localhost\n") ==
        "cairn.yaml:2: `peer.listen` is 'localhost', which is not HOST:PORT; allowed: HOST:PORT");
  CHECK(error_of("data_dir: d\ncluster.wait_for_leader: 5\n") ==
        "cairn.yaml:2: `cluster.wait_for_leader` is '5': needs a unit: us, ms, s, m or h; allowed: [0, 1h]");
  CHECK(error_of("data_dir: d\nstorage.memtable_bytes: 1 parsec\n") ==
        "cairn.yaml:2: `storage.memtable_bytes` is '1 parsec': unknown unit 'parsec'; allowed: [64KiB, 4GiB]");
  CHECK(error_of("data_dir: d\nstorage:\n  io_read_target: 20s\n") ==
        "cairn.yaml:3: `storage.io_read_target` is '20s', out of range; allowed: [10us, 10s]");
  CHECK(error_of("data_dir: d\nstorage.io_bytes_per_second_min: 1k\n") ==
        "cairn.yaml:2: `storage.io_bytes_per_second_min` is '1k', out of range; allowed: [1MiB, 64GiB]");
  const std::string crossed = "`storage.io_bytes_per_second_min` is above `storage.io_bytes_per_second_max`";
  CHECK(error_of("data_dir: d\nstorage.io_bytes_per_second_min: 2GiB\n") == "cairn.yaml:2: " + crossed);
  CHECK(error_of("data_dir: d\nstorage:\n  io_bytes_per_second_max: 2MiB\n") == "cairn.yaml:3: " + crossed);
  CHECK(error_of("data_dir: d\nstorage.io_bytes_per_second_max: 2MiB\nstorage.io_bytes_per_second_min: 2MiB\n") ==
        "no error");
  CHECK(error_of("data_dir: d\nclient.max: [1, 2]\n") ==
        "cairn.yaml:2: `client.max` must be one value; allowed: [1, 1000000]");
  CHECK(error_of("data_dir: d\nrequirepass:\n") == "cairn.yaml:2: `requirepass` must be one value; allowed: text");
  CHECK(error_of("data_dir: d\n", {}, {{"CAIRN_CLIENT__MAX", "-1"}}) ==
        "environment CAIRN_CLIENT__MAX: `client.max` is '-1', which is not a whole number; allowed: [1, 1000000]");
  CHECK(error_of("data_dir: d\n", {{"runtime.spin", "2ms"}}) ==
        "flag --runtime.spin: `runtime.spin` is '2ms', out of range; allowed: [0, 1ms]");
}

TEST_CASE("a key that stands twice in the file is an error, in any form") {
  CHECK(error_of("data_dir: d\nclient.max: 1\nclient:\n  max: 2\n") ==
        "cairn.yaml:4: `client.max` stands here for the second time");
}

TEST_CASE("a file that is no configuration") {
  CHECK(error_of("data_dir: d\n  client: [\n").starts_with("cairn.yaml:2: "));
  CHECK(error_of("- a\n- b\n") == "cairn.yaml:1: the file must be a mapping of keys to values");
  CHECK(error_of("? [a]\n: b\n") == "cairn.yaml:1: a key must be plain text");
  CHECK(error_of("") == "`data_dir` is required");
  const auto missing = load({"/nowhere/cairn.yaml", {}, {}});
  REQUIRE_FALSE(missing);
  CHECK(missing.error().message == "/nowhere/cairn.yaml: cannot be read");
}

TEST_CASE("a binding beyond loopback needs both secrets, or to be called insecure") {
  const std::string open = "data_dir: d\npeer.listen: 0.0.0.0:7379\n";
  CHECK(error_of(open) ==
        "cairn.yaml:2: `peer.listen` is 0.0.0.0:7379, beyond loopback: set `requirepass` and `peer.secret`, or "
        "`insecure: true`");
  CHECK(error_of(open + "requirepass: x\n").starts_with("cairn.yaml:2: `peer.listen`"));
  CHECK(error_of(open + "peer.secret: x\n").starts_with("cairn.yaml:2: `peer.listen`"));
  CHECK(error_of(open + "requirepass: x\npeer.secret: y\n") == "no error");
  CHECK(error_of(open + "insecure: true\n") == "no error");
  CHECK(error_of("data_dir: d\nclient.advertise: 10.0.0.1:6379\n") == "no error");  // only said, not bound
}

TEST_CASE("sizes") {
  CHECK(parse_bytes("0") == Result<uint64_t>(0));
  CHECK(parse_bytes("512") == Result<uint64_t>(512));
  CHECK(parse_bytes("8MiB") == Result<uint64_t>(8u << 20));
  CHECK(parse_bytes("512 KiB") == Result<uint64_t>(512u << 10));
  CHECK(parse_bytes("1g") == Result<uint64_t>(1u << 30));
  CHECK(parse_bytes("3tib") == Result<uint64_t>(3ull << 40));
  CHECK(parse_bytes("7b") == Result<uint64_t>(7));
  for (const char* bad : {"", "MiB", "-1", "1.5g", "1x", "99999999999999999999", "16777216tib"}) {
    INFO(bad);
    CHECK_FALSE(parse_bytes(bad));
  }
}

TEST_CASE("durations") {
  CHECK(parse_duration("5s") == Result<Duration>(5 * kSecond));
  CHECK(parse_duration("200ms") == Result<Duration>(200 * kMillisecond));
  CHECK(parse_duration("50us") == Result<Duration>(50 * kMicrosecond));
  CHECK(parse_duration("2m") == Result<Duration>(120 * kSecond));
  CHECK(parse_duration("1h") == Result<Duration>(3600 * kSecond));
  CHECK(parse_duration("0") == Result<Duration>(0));
  for (const char* bad : {"", "5", "s", "-1s", "1 s", "1d", "99999999999999h"}) {
    INFO(bad);
    CHECK_FALSE(parse_duration(bad));
  }
}

TEST_CASE("addresses") {
  for (const char* good : {"127.0.0.1:1", "host:65535", "[::1]:6379"}) {
    INFO(good);
    CHECK(is_address(good));
  }
  for (const char* bad : {"", "host", ":1", "host:", "host:0", "host:65536", "host:1x", "::1:6379"}) {
    INFO(bad);
    CHECK_FALSE(is_address(bad));
  }
  for (const char* local : {"127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1"}) CHECK(is_loopback(local));
  for (const char* open : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.org:1"}) CHECK_FALSE(is_loopback(open));
}

TEST_CASE("every key is in order, can be set by its environment variable, and accepts its own default") {
  std::string last;
  std::set<std::string> names;
  for (const KeySpec& key : key_specs()) {
    INFO(key.name);
    CHECK(last < key.name);
    last = key.name;
    CHECK((key.text == nullptr) != (key.number == nullptr));
    CHECK_FALSE(key.help.empty());
    std::string name = "CAIRN_";
    for (char c : key.name) {
      if (c == '.') {
        name += "__";
      } else {
        name += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      }
    }
    CHECK(names.insert(name).second);
    const std::string value = key.kind == KeyKind::kAddress    ? "127.0.0.1:9"
                              : key.kind == KeyKind::kBool     ? "true"
                              : key.kind == KeyKind::kBytes    ? "32MiB"
                              : key.kind == KeyKind::kDuration ? (key.low > kMillisecond ? "1s" : "1ms")
                              : key.kind == KeyKind::kCount    ? "2"
                              : key.kind == KeyKind::kChoice   ? std::string(key.range.substr(0, key.range.find(' ')))
                                                               : std::string(16, 'x');
    const auto config = load({"", {{"data_dir", "d"}}, {{name, value}}});
    REQUIRE(config);
    CHECK(config->origins.at(std::string(key.name)) ==
          (key.name == "data_dir" ? "flag --data_dir" : "environment " + name));
  }
}

TEST_CASE("a secret may stand in a file of its own, named by the environment") {
  const File file("data_dir: d\n");
  const std::string secret = file.directory + "/secret";
  std::ofstream(secret) << "a b c\r\nmore\n";
  const auto config = load({file.path, {}, {{"CAIRN_REQUIREPASS_FILE", secret}}});
  REQUIRE(config);
  CHECK(config->requirepass == "a b c");
  CHECK(config->origins.at("requirepass") == "environment CAIRN_REQUIREPASS_FILE");
  const auto missing = load({file.path, {}, {{"CAIRN_PEER__SECRET_FILE", secret + "x"}}});
  REQUIRE_FALSE(missing);
  CHECK(missing.error().message.starts_with("environment CAIRN_PEER__SECRET_FILE: "));
  // Only secrets have such files.
  CHECK(load({file.path, {}, {{"CAIRN_LOG__LEVEL_FILE", "/nowhere"}}}));
}

TEST_CASE("the admin API beyond loopback needs a token") {
  const std::string open = "data_dir: d\nrequirepass: x\npeer.secret: y\nadmin.listen: 0.0.0.0:8379\n";
  CHECK(error_of(open).find("cairn.yaml:4: `admin.listen` is 0.0.0.0:8379, beyond loopback: set `admin.token`") == 0);
  CHECK(error_of(open + "insecure: true\n") == "no error");
  CHECK(error_of(open + "admin.token: 0123456789abcdef\n") == "no error");
  CHECK(error_of(open + "admin.token: 0123456789abcde\n").find("cairn.yaml:5: `admin.token` is too short") == 0);
}

TEST_CASE("every key shows its value, durations in their largest exact unit") {
  const File file("data_dir: d\ncluster.wait_for_leader: 1500ms\nadmin.token: 0123456789abcdef\n");
  const auto config = load({file.path, {}, {}});
  REQUIRE(config);
  for (const KeySpec& key : key_specs()) CHECK((key.text_of != nullptr) != (key.number_of != nullptr));
  CHECK(format_duration(config->cluster_wait_for_leader) == "1500ms");
  for (const char* text : {"0", "50us", "200ms", "5s", "90s", "2m", "1h"}) {
    CHECK(format_duration(*parse_duration(text)) == text);
  }
  CHECK(items_of(" a, b,c  ") == std::vector<std::string>{"a", "b", "c"});
}
