#include "server/cli/demo.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "config/node_config.h"
#include "server/cli/http_status.h"
#include "server/runtime/daemon.h"

namespace cairn::server {
namespace {

namespace fs = std::filesystem;

volatile sig_atomic_t g_stop = 0;
void on_signal(int) { g_stop = 1; }

struct Child {
  unsigned number = 0;
  pid_t pid = 0;
  bool dead = false;
};

unsigned port_of(const std::string& address) {
  return static_cast<unsigned>(std::strtoul(address.c_str() + address.rfind(':') + 1, nullptr, 10));
}

void set_yaml(YAML::Node root, const std::string& key, const std::string& value) {
  const size_t dot = key.find('.');
  if (dot == std::string::npos) {
    root[key] = value;
    return;
  }
  const std::string group = key.substr(0, dot);
  if (!root[group] || !root[group].IsMap()) root[group] = YAML::Node(YAML::NodeType::Map);
  set_yaml(root[group], key.substr(dot + 1), value);
}

int refuse(const std::string& text) {
  std::fprintf(stderr, "cairnd demo: %s\n", text.c_str());
  return kExitConfiguration;
}

bool all_gone(std::vector<Child>& children, bool report) {
  bool gone = true;
  for (Child& child : children) {
    if (child.dead) continue;
    int status = 0;
    if (::waitpid(child.pid, &status, WNOHANG) == child.pid) {
      child.dead = true;
      if (report) {
        std::printf("node %u (pid %d) ended: %s %d\n", child.number, child.pid,
                    WIFSIGNALED(status) ? "signal" : "exit code",
                    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        std::fflush(stdout);
      }
    } else {
      gone = false;
    }
  }
  return gone;
}

}  // namespace

int run_demo(const DemoOptions& options) {
  fs::path dir = fs::absolute(options.dir);
  if (options.ephemeral) {
    std::string pattern = (fs::temp_directory_path() / "cairn-demo-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr)
      return refuse("no temporary directory: " + std::string(std::strerror(errno)));
    dir = pattern;
  }
  unsigned nodes = options.nodes.value_or(3);
  unsigned port = options.port.value_or(6379);
  std::string sharding = options.sharding.value_or("hash");
  const auto node_dir = [&](unsigned i) { return dir / fmt::format("node{}", i); };
  const auto node_file = [&](unsigned i) { return node_dir(i) / "cairn.yaml"; };

  const bool resumed = fs::exists(node_file(1));
  if (resumed) {
    const auto first = config::load({node_file(1).string(), {}, {}});
    if (!first) return refuse(first.error().message);
    unsigned found = 1;
    while (fs::exists(node_file(found + 1))) ++found;
    const auto differs = [&](const char* what, const std::string& asked, const std::string& is) {
      return refuse(fmt::format("{} holds a demo made with --{} {}, not {}", dir.string(), what, is, asked));
    };
    if (options.nodes && *options.nodes != found)
      return differs("nodes", std::to_string(*options.nodes), std::to_string(found));
    if (options.port && *options.port != port_of(first->client_listen)) {
      return differs("port", std::to_string(*options.port), std::to_string(port_of(first->client_listen)));
    }
    if (options.sharding && *options.sharding != first->cluster_sharding) {
      return differs("sharding", *options.sharding, first->cluster_sharding);
    }
    nodes = found;
    port = port_of(first->client_listen);
    sharding = first->cluster_sharding;
  }
  if (nodes < 1 || nodes > 100) return refuse("--nodes must be in [1, 100]");
  if (port < 1 || port + 2000 + nodes > 65535) return refuse("--port must leave room for the peer and admin ports");
  if (sharding != "hash" && sharding != "whole") return refuse("--sharding must be hash or whole");

  for (unsigned i = 1; i <= nodes; ++i) {
    std::error_code error;
    fs::create_directories(node_dir(i), error);
    if (error) return refuse(node_dir(i).string() + ": " + error.message());
    YAML::Node root(YAML::NodeType::Map);
    if (resumed) {
      if (options.settings.empty()) continue;
      try {
        root = YAML::LoadFile(node_file(i).string());
      } catch (const YAML::Exception& e) {
        return refuse(node_file(i).string() + ": " + e.what());
      }
    } else {
      set_yaml(root, "data_dir", "data");
      set_yaml(root, "client.listen", fmt::format("127.0.0.1:{}", port + i - 1));
      set_yaml(root, "peer.listen", fmt::format("127.0.0.1:{}", port + 1000 + i - 1));
      set_yaml(root, "admin.listen", fmt::format("127.0.0.1:{}", port + 2000 + i - 1));
      set_yaml(root, "cluster.sharding", sharding);
      set_yaml(root, "log.file", "log");
    }
    for (const auto& [key, value] : options.settings) set_yaml(root, key, value);
    std::ofstream out(node_file(i));
    out << root << "\n";
    out.close();
    if (!out) return refuse(node_file(i).string() + ": cannot be written");
    if (const auto checked = config::load({node_file(i).string(), {}, {}}); !checked) {
      if (!resumed) fs::remove(node_file(i), error);
      return refuse(checked.error().message);
    }
  }

  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);

  const auto loaded = config::load({node_file(1).string(), {}, {}});
  if (!loaded) return refuse(loaded.error().message);
  const std::string token = loaded->admin_token;

  const pid_t parent = ::getpid();
  std::vector<Child> children;
  const std::string self = fs::read_symlink("/proc/self/exe").string();
  for (unsigned i = 1; i <= nodes; ++i) {
    std::vector<std::string> args = {self, "start", "--config", node_file(i).string()};
    if (i == 1) {
      args.insert(args.end(), {"--bootstrap", "--initial-nodes", std::to_string(nodes)});
    } else {
      args.insert(args.end(), {"--join", fmt::format("127.0.0.1:{}", port + 1000)});
    }
    const pid_t pid = ::fork();
    if (pid < 0) return refuse("fork: " + std::string(std::strerror(errno)));
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // a killed parent takes its nodes along
      if (::getppid() != parent) ::_exit(1);
      ::setpgid(0, 0);  // a terminal's SIGINT goes to the parent, which ends all in order
      const int null = ::open("/dev/null", O_RDWR);
      ::dup2(null, 0);
      ::dup2(null, 1);
      std::vector<char*> argv;
      for (std::string& arg : args) argv.push_back(arg.data());
      argv.push_back(nullptr);
      ::execv(self.c_str(), argv.data());
      ::_exit(127);
    }
    children.push_back({i, pid, false});
  }
  for (const Child& child : children) {
    std::printf("node %u   redis://127.0.0.1:%u   admin http://127.0.0.1:%u   pid %d\n", child.number,
                port + child.number - 1, port + 2000 + child.number - 1, child.pid);
  }
  std::printf("data in %s%s\n", dir.string().c_str(),
              resumed             ? " (resumed)"
              : options.ephemeral ? " (removed at the end)"
                                  : "");
  std::printf("try: redis-cli -p %u set hello world; redis-cli -p %u get hello\n", port, port + nodes - 1);
  if (nodes > 2) std::printf("then: kill -9 %d and read it again; Ctrl-C ends all\n", children[0].pid);
  std::fflush(stdout);

  bool ready = false, all_dead = false;
  std::vector<bool> probed(nodes, false);
  while (g_stop == 0) {
    if (all_gone(children, true)) {
      all_dead = true;
      break;
    }
    if (!ready) {
      bool all = true;
      for (unsigned i = 0; i < nodes && g_stop == 0; ++i) {
        if (!probed[i])
          probed[i] = http_status(fmt::format("127.0.0.1:{}", port + 2000 + i), "POST", "/v1/probe", token) == 200;
        all = all && probed[i];
      }
      if (all) {
        ready = true;
        std::printf("READY\n");
        std::fflush(stdout);
      }
    }
    ::poll(nullptr, 0, ready ? 200 : 20);
  }

  for (Child& child : children) {
    if (!child.dead) ::kill(child.pid, SIGTERM);
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(6);
  while (!all_gone(children, false) && std::chrono::steady_clock::now() < deadline) ::poll(nullptr, 0, 10);
  for (Child& child : children) {
    if (child.dead) continue;
    ::kill(child.pid, SIGKILL);
    ::waitpid(child.pid, nullptr, 0);
  }
  if (options.ephemeral) {
    std::error_code ignored;
    fs::remove_all(dir, ignored);
  }
  return all_dead && !ready ? kExitRunTime : kExitClean;
}

}  // namespace cairn::server
