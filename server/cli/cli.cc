#include "server/cli/cli.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/version.h"
#include "config/node_config.h"
#include "server/cli/demo.h"
#include "server/cli/http_status.h"
#include "server/commands/command_info.h"
#include "server/runtime/daemon.h"
#include "storage/io/real_file_system.h"
#include "storage/log/shared_log.h"
#include "storage/tablet.h"

extern char** environ;

namespace cairn::server {
namespace {

using Settings = std::vector<std::pair<std::string, std::string>>;

// "--a.b_c=value" or "--a.b_c value" out of what CLI11 left over.
bool parse_settings(const std::vector<std::string>& extras, Settings& settings) {
  for (size_t i = 0; i < extras.size(); ++i) {
    const std::string& arg = extras[i];
    if (!arg.starts_with("--") || arg.size() < 3) {
      std::fprintf(stderr, "cairnd: unexpected argument '%s'\n", arg.c_str());
      return false;
    }
    const size_t equals = arg.find('=');
    if (equals != std::string::npos) {
      settings.emplace_back(arg.substr(2, equals - 2), arg.substr(equals + 1));
    } else if (i + 1 < extras.size()) {
      settings.emplace_back(arg.substr(2), extras[++i]);
    } else {
      settings.emplace_back(arg.substr(2), "");
    }
  }
  return true;
}

Settings environment() {
  Settings variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const size_t equals = text.find('=');
    if (equals != std::string::npos && text.starts_with("CAIRN_")) {
      variables.emplace_back(text.substr(0, equals), text.substr(equals + 1));
    }
  }
  return variables;
}

config::LoadRequest request(const std::string& file, const Settings& settings) {
  return {file.empty() ? file : std::filesystem::absolute(file).string(), settings, environment()};
}

// Exit code 0: ready (or alive). 1: not, and standard output says why.
int run_health(const std::string& file, const Settings& settings, bool alive) {
  const auto config = config::load(request(file, settings));
  if (!config) {
    std::fprintf(stderr, "cairnd: %s\n", config.error().message.c_str());
    return kExitConfiguration;
  }
  std::string address = config->admin_listen;
  for (const char* any : {"0.0.0.0:", "[::]:"}) {  // bound everywhere: also here
    if (address.starts_with(any)) address = (*any == '[' ? "[::1]:" : "127.0.0.1:") + address.substr(std::strlen(any));
  }
  std::string body;
  const int status = http_status(address, "GET", alive ? "/livez" : "/readyz", "", &body);
  if (status == 200) return kExitClean;
  std::printf("%s: %s\n", address.c_str(), status == 0 ? "no answer" : body.c_str());
  return kExitRunTime;
}

int print(const Result<std::string>& text) {
  if (!text) {
    std::fprintf(stderr, "cairnd: %s\n", to_string(text.error()).c_str());
    return kExitRunTime;
  }
  std::fwrite(text->data(), 1, text->size(), stdout);
  return kExitClean;
}

}  // namespace

int run_cli(int argc, char** argv) {
  CLI::App app{"Cairn: the Redis API with a replicated, durable, larger-than-memory store"};
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string(kVersion));
  std::string file;

  CLI::App* start = app.add_subcommand("start", "run one node in the foreground");
  StartFlags flags;
  std::vector<std::string> joins;
  start->add_option("--config", file, "YAML file")->required();
  start->add_flag("--bootstrap", flags.bootstrap, "create a cluster; no effect on existing data");
  start->add_option("--initial-nodes", flags.initial_nodes, "with --bootstrap: nodes to wait for")
      ->check(CLI::Range(1, 100));
  start->add_option("--join", joins, "HOST:PORT[,...] of members' peer addresses")->delimiter(',');
  start->allow_extras();

  CLI::App* demo = app.add_subcommand("demo", "run a cluster of processes on loopback");
  DemoOptions demo_options;
  demo->add_option("--nodes", demo_options.nodes, "nodes (3)");
  demo->add_option("--port", demo_options.port, "first client port (6379)");
  demo->add_option("--sharding", demo_options.sharding, "hash or whole (hash)");
  demo->add_option("--dir", demo_options.dir, "where the nodes live (./cairn-demo)");
  demo->add_flag("--ephemeral", demo_options.ephemeral, "in a temporary directory, removed at the end");
  demo->allow_extras();

  CLI::App* configuration = app.add_subcommand("config", "look at a configuration");
  configuration->require_subcommand(1);
  CLI::App* check = configuration->add_subcommand("check", "validate a file; exit code 2 if it is wrong");
  CLI::App* show = configuration->add_subcommand("show", "print every value and where it comes from");
  for (CLI::App* sub : {check, show}) {
    sub->add_option("--config,config", file, "YAML file")->required();
    sub->allow_extras();
  }
  CLI::App* schema = configuration->add_subcommand("schema", "print the JSON Schema of the file, for editors");

  CLI::App* health = app.add_subcommand("health", "ask the running node of a configuration whether it is ready");
  bool alive = false;
  health->add_option("--config", file, "YAML file")->required();
  health->add_flag("--live", alive, "only whether its process answers");
  health->allow_extras();

  CLI::App* dump = app.add_subcommand("dump", "show a file of a data directory as text");
  dump->require_subcommand(1);
  std::string path;
  bool rows = false;
  CLI::App* dump_log = dump->add_subcommand("log", "a segment of the log");
  CLI::App* dump_sst = dump->add_subcommand("sst", "an SSTable");
  CLI::App* dump_manifest = dump->add_subcommand("manifest", "a manifest");
  CLI::App* dump_commands = dump->add_subcommand("commands", "the table of commands, as Markdown");
  for (CLI::App* sub : {dump_log, dump_sst, dump_manifest}) sub->add_option("file", path)->required();
  dump_sst->add_flag("--rows", rows, "every row, not only the properties");

  CLI::App* version = app.add_subcommand("version", "print the version");
  bool as_json = false;
  version->add_flag("--json", as_json);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitClean : kExitConfiguration;
  }

  Settings settings;
  if (start->parsed()) {
    if (!parse_settings(start->remaining(), settings)) return kExitConfiguration;
    flags.join = joins;
    for (const std::string& address : joins) {
      if (!config::is_address(address)) {
        std::fprintf(stderr, "cairnd: --join '%s' is not HOST:PORT\n", address.c_str());
        return kExitConfiguration;
      }
    }
    const config::LoadRequest loaded_from = request(file, settings);
    const auto config = config::load(loaded_from);
    if (!config) {
      std::fprintf(stderr, "cairnd: %s\n", config.error().message.c_str());
      return kExitConfiguration;
    }
    return run_daemon(*config, loaded_from, flags);
  }
  if (demo->parsed()) {
    if (!parse_settings(demo->remaining(), demo_options.settings)) return kExitConfiguration;
    return run_demo(demo_options);
  }
  if (schema->parsed()) return print(config::json_schema());
  if (check->parsed() || show->parsed()) {
    if (!parse_settings((check->parsed() ? check : show)->remaining(), settings)) return kExitConfiguration;
    const auto config = config::load(request(file, settings));
    if (!config) {
      std::fprintf(stderr, "%s\n", config.error().message.c_str());
      return kExitConfiguration;
    }
    if (show->parsed()) return print(config::show(*config));
    std::printf("%s is valid\n", file.c_str());
    return kExitClean;
  }
  if (health->parsed()) {
    if (!parse_settings(health->remaining(), settings)) return kExitConfiguration;
    return run_health(file, settings, alive);
  }
  if (dump->parsed()) {
    if (dump_commands->parsed()) return print(compatibility_page());
    const auto fs = storage::make_real_file_system();
    if (dump_log->parsed()) return print(storage::dump_log_segment(*fs, path));
    if (dump_sst->parsed()) return print(storage::dump_sstable(*fs, path, rows));
    return print(storage::dump_manifest(*fs, path));
  }
  if (as_json) {
    std::printf("%s\n", nlohmann::json{{"cairn_version", kVersion},
                                       {"redis_version", kRedisVersion},
                                       {"log_format", 1},
                                       {"sstable_format", 1},
                                       {"peer_protocol", 1}}
                            .dump()
                            .c_str());
  } else {
    std::printf("cairnd %s (Redis API %s)\n", kVersion, kRedisVersion);
  }
  return kExitClean;
}

}  // namespace cairn::server
