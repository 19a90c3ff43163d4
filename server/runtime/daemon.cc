#include "server/runtime/daemon.h"

#include <fmt/format.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include <boost/asio/signal_set.hpp>
#include <cstdio>
#include <thread>

#include "base/version.h"
#include "server/cluster/node.h"
#include "server/http/admin_api.h"
#include "server/http/http_server.h"
#include "server/net/client_server.h"
#include "server/net/peer_transport.h"
#include "server/observe/logging.h"
#include "server/observe/process_facts.h"
#include "server/runtime/background_pool.h"
#include "server/runtime/event_loop.h"
#include "server/runtime/notify.h"
#include "server/runtime/thread_writer.h"
#include "server/runtime/uring_writer.h"
#include "storage/io/real_file_system.h"

namespace cairn::server {
namespace {

constexpr Duration kDrainLimit = 2 * kSecond;
constexpr Duration kLoopWait = kMillisecond;  // docs/decisions/log-writes.md
constexpr Duration kFlushLimit = 1500 * kMillisecond;

[[noreturn]] void die(const Error& error) {
  log_line(LogLevel::kError, "fatal: " + to_string(error));
  flush_log();
  std::fprintf(stderr, "cairnd: %s\n", to_string(error).c_str());
  std::fflush(stderr);
  ::_exit(kExitRunTime);
}

int exit_code(const Error& error) {
  if (error.code == ErrorCode::kInUse) return kExitInUse;
  if (error.code == ErrorCode::kInvalidArgument) return kExitConfiguration;
  return kExitRunTime;
}

uint64_t entropy() {
  uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != static_cast<ssize_t>(sizeof seed))
    die({ErrorCode::kIoError, "getrandom failed"});
  return seed;
}

NodeOptions node_options(const config::NodeConfig& c, const StartFlags& flags) {
  NodeOptions o;
  o.data_dir = c.data_dir;
  o.addresses = {c.peer_advertise, c.client_advertise, c.admin_advertise};
  o.bootstrap = flags.bootstrap;
  o.initial_nodes = flags.initial_nodes;
  o.join = flags.join;
  o.whole = c.cluster_sharding == "whole";
  o.ranges = static_cast<uint32_t>(c.cluster_ranges);
  o.replication_factor = static_cast<uint32_t>(c.cluster_replication_factor);
  o.wait_for_leader = c.cluster_wait_for_leader;
  o.redirect = c.cluster_redirect == "always"  ? RedirectMode::kAlways
               : c.cluster_redirect == "never" ? RedirectMode::kNever
                                               : RedirectMode::kAuto;
  o.requirepass = c.requirepass;
  o.log_budget_bytes = c.storage_log_budget_bytes;
  o.store.memtable_bytes = c.storage_memtable_bytes;
  o.store.memtable_budget_bytes = c.storage_memtable_budget_bytes;
  o.store.block_cache_bytes = c.storage_block_cache_bytes;
  o.parameters = {{"save", ""},
                  {"appendonly", "yes"},
                  {"appendfsync", "always"},
                  {"databases", "1"},
                  {"maxmemory", "0"},
                  {"maxmemory-policy", "noeviction"},
                  {"maxclients", std::to_string(c.client_max)},
                  {"timeout", "0"},
                  {"tcp-keepalive", "300"},
                  {"proto-max-bulk-len", "536870912"},
                  {"cluster-enabled", o.whole ? "no" : "yes"},
                  {"replica-read-only", "yes"},
                  {"slave-read-only", "yes"},
                  {"requirepass", c.requirepass.empty() ? "" : "(set)"},
                  {"dir", c.data_dir},
                  {"port", c.client_listen.substr(c.client_listen.rfind(':') + 1)},
                  {"bind", c.client_listen.substr(0, c.client_listen.rfind(':'))}};
  return o;
}

// Everything of the process, in the order in which it has to go away again.
class Daemon {
 public:
  Daemon(const config::NodeConfig& config, const StartFlags& flags)
      : config_(config),
        random_(entropy()),
        loop_(clock_),
        link_loop_(clock_),
        admin_loop_(clock_),
        pool_(config.runtime_background_threads),
        fs_(storage::make_real_file_system()),
        data_net_(loop_, config.peer_secret, log_line),
        link_net_(link_loop_, config.peer_secret, log_line),
        node_(environment(), node_options(config, flags)),
        clients_(loop_, node_, &stats_, client_options(config)),
        listener_(
            link_loop_, config.peer_secret,
            [this](boost::asio::ip::tcp::socket socket, const PeerHello& hello) {
              hand_over(std::move(socket), hello);
            },
            log_line),
        http_(admin_loop_,
              [this](AdminRequest request, AdminDone done) { api_.handle(std::move(request), std::move(done)); }),
        api_(sources(), guard_options(config)),
        signals_(loop_.context(), SIGTERM, SIGINT) {
    loop_.set_spin(config.runtime_spin);
    data_net_.set_events(&node_);
    node_.on_identity = [this](const Identity& identity) { named(identity); };
    node_.extend_info = [this](auto& sections) { extend_info(sections); };
  }

  int run() {
    // Addresses first: a second process must not touch the data.
    const auto listen = [&]() -> Result<void> {
      CAIRN_TRY_VOID(listener_.listen(config_.peer_listen));
      CAIRN_TRY_VOID(http_.listen(config_.admin_listen));
      return clients_.listen(config_.client_listen);
    };
    for (const auto& step :
         {std::function<Result<void>()>(listen), std::function<Result<void>()>([&] { return node_.start(); })}) {
      if (const auto done = step(); !done) {
        log_line(LogLevel::kError, to_string(done.error()));
        std::fprintf(stderr, "cairnd: %s\n", to_string(done.error()).c_str());
        return exit_code(done.error());
      }
    }
    signals_.async_wait([this](const boost::system::error_code& error, int) {
      if (!error) shut_down();
    });
    loop_.post([this] { watch_ready(); });
    loop_.post([this] { feed_watchdog(); });
    std::thread link_thread([this] {
      pthread_setname_np(pthread_self(), "cairn-link");
      setpriority(PRIO_PROCESS, 0, -5);  // where allowed: liveness goes before throughput
      link_loop_.run([] {});
    });
    std::thread admin_thread([this] {
      pthread_setname_np(pthread_self(), "cairn-admin");
      admin_loop_.run([] {});
    });
    log_line(LogLevel::kInfo, fmt::format("clients on {}, peers on {}, admin on {}", config_.client_listen,
                                          config_.peer_listen, config_.admin_listen));
    loop_.run([this] {
      clients_.end_turn();
      loop_.lap(LoopProfile::Phase::kReplies);
      node_.end_turn();
      loop_.lap(LoopProfile::Phase::kCommit);
      clients_.end_turn();
      loop_.lap(LoopProfile::Phase::kReplies);
    });
    link_loop_.post([this] {
      if (node_.links() != nullptr) node_.links()->stop(true);
      listener_.close();
      link_net_.close_all();
    });
    link_loop_.stop();
    admin_loop_.stop();
    link_thread.join();
    admin_thread.join();
    http_.close();
    data_net_.close_all();
    pool_.stop();
    log_line(LogLevel::kInfo, "stopped");
    flush_log();
    return kExitClean;
  }

 private:
  NodeEnvironment environment() {
    if (config_.log_writer == "thread") {
      writer_ = std::make_unique<ThreadDurableWriter>(loop_);
    } else if (config_.log_writer == "uring") {
      writer_ = UringDurableWriter::create(loop_, kLoopWait);
      if (!writer_) log_line(LogLevel::kInfo, "no io_uring here: the log is written inline");
    }
    if (!writer_) writer_ = std::make_unique<storage::InlineDurableWriter>();
    NodeEnvironment env;
    env.clock = &clock_;
    env.random = &random_;
    env.loop = &loop_;
    env.link_loop = &link_loop_;
    env.background = &pool_;
    env.fs = fs_.get();
    env.writer = writer_.get();
    env.data = &data_net_;
    env.links = &link_net_;
    env.log = log_line;
    env.fatal = [](const Error& error) { die(error); };
    env.session_output = [this](uint64_t session) { clients_.output_ready(session); };
    return env;
  }

  static ClientServer::Options client_options(const config::NodeConfig& config) {
    ClientServer::Options options;
    options.clients_max = config.client_max;
    options.limits.parser.command_bytes_max = config.limits_command_bytes;
    return options;
  }

  AdminSources sources() {
    AdminSources s;
    s.node = &node_;
    s.clients = &clients_;
    s.data_net = &data_net_;
    s.link_net = &link_net_;
    s.loop = &loop_;
    s.loops = {{"range", &loop_}, {"link", &link_loop_}, {"admin", &admin_loop_}};
    s.range_executor = &loop_;
    s.admin_executor = &admin_loop_;
    s.stats = &stats_;
    s.config = &config_;
    s.http = &http_.metrics();
    s.started = clock_.now();
    return s;
  }

  static GuardOptions guard_options(const config::NodeConfig& config) {
    GuardOptions options{config.admin_token, config::items_of(config.admin_hosts)};
    for (const std::string& address : {config.admin_advertise, config.admin_listen}) {
      options.hosts.push_back(host_of(address));
    }
    return options;
  }

  void named(const Identity& identity) {
    const PeerIdentity self{identity.node, identity.incarnation};
    data_net_.set_identity(identity.cluster, self);
    link_loop_.post([this, cluster = identity.cluster, self, links = node_.links()] {
      link_net_.set_events(links);
      link_net_.set_identity(cluster, self);
      listener_.set_identity(cluster, self);
    });
  }

  // On the link loop: a checked connection goes to the loop of its channel.
  void hand_over(boost::asio::ip::tcp::socket socket, const PeerHello& hello) {
    if (hello.channel == static_cast<uint8_t>(Channel::kLink)) {
      link_net_.adopt(std::move(socket), hello);
      return;
    }
    boost::system::error_code error;
    const auto protocol = socket.local_endpoint(error).protocol();
    const int fd = socket.release(error);
    if (error) return;
    loop_.post([this, fd, protocol, hello] {
      boost::asio::ip::tcp::socket moved(loop_.context());
      boost::system::error_code error;
      moved.assign(protocol, fd, error);
      if (error) {
        ::close(fd);
        return;
      }
      data_net_.adopt(std::move(moved), hello);
    });
  }

  void watch_ready() {
    if (node_.ready(nullptr)) {
      std::printf("READY\n");
      std::fflush(stdout);
      log_line(LogLevel::kInfo, "ready");
      notify_manager("READY=1");
      return;
    }
    loop_.run_after(20 * kMillisecond, [this] { watch_ready(); });
  }

  // From the range loop: if that hangs, the manager ends this process, and the peers carry on.
  void feed_watchdog() {
    const Duration period = watchdog_period();
    if (period == 0) return;
    notify_manager("WATCHDOG=1");
    loop_.run_after(period, [this] { feed_watchdog(); });
  }

  void shut_down() {
    notify_manager("STOPPING=1");
    log_line(LogLevel::kInfo, "stopping: handing over leadership");
    clients_.stop_accepting();
    node_.drain(kDrainLimit, [this] {
      node_.flush_all(kFlushLimit, [this] {
        node_.stop();
        clients_.close_all();
        loop_.stop();
      });
    });
    signals_.async_wait([](const boost::system::error_code& error, int) {
      if (!error) ::_exit(kExitRunTime);  // asked twice: at once
    });
  }

  void extend_info(std::map<std::string, std::vector<std::pair<std::string, std::string>>>& sections) {
    const ProcessFacts process = process_facts();
    const Instant up = clock_.now() - started_;
    auto& server = sections["server"];
    server.emplace_back("cairn_version", kVersion);
    server.emplace_back("process_id", std::to_string(getpid()));
    server.emplace_back("uptime_in_seconds", std::to_string(up / kSecond));
    server.emplace_back("uptime_in_days", std::to_string(up / kSecond / 86400));
    if (config_.insecure) server.emplace_back("insecure", "1");
    sections["clients"].emplace_back("maxclients", std::to_string(config_.client_max));
    auto& memory = sections["memory"];
    memory.emplace_back("used_memory", std::to_string(process.rss_bytes));
    memory.emplace_back("used_memory_human", fmt::format("{:.2f}M", static_cast<double>(process.rss_bytes) / 1048576));
    memory.emplace_back("used_memory_rss", std::to_string(process.rss_bytes));
    memory.emplace_back("maxmemory", "0");
    memory.emplace_back("maxmemory_policy", "noeviction");
    auto& stats = sections["stats"];
    stats.emplace_back("total_connections_received", std::to_string(clients_.metrics().accepted.get()));
    stats.emplace_back("rejected_connections", std::to_string(clients_.metrics().rejected.get()));
    stats.emplace_back("total_net_input_bytes", std::to_string(clients_.metrics().bytes_in.get()));
    stats.emplace_back("total_net_output_bytes", std::to_string(clients_.metrics().bytes_out.get()));
    auto& cpu = sections["cpu"];
    cpu.emplace_back("used_cpu_sys", fmt::format("{:.6f}", process.cpu_system_s));
    cpu.emplace_back("used_cpu_user", fmt::format("{:.6f}", process.cpu_user_s));
  }

  const config::NodeConfig& config_;
  RealClock clock_;
  const Instant started_ = clock_.now();
  SeededRandom random_;
  EventLoop loop_, link_loop_, admin_loop_;
  BackgroundPool pool_;
  std::unique_ptr<storage::FileSystem> fs_;
  std::unique_ptr<storage::DurableWriter> writer_;
  PeerTransport data_net_, link_net_;
  CommandStats stats_;
  Node node_;
  ClientServer clients_;
  PeerListener listener_;
  HttpServer http_;
  AdminApi api_;
  boost::asio::signal_set signals_;
};

}  // namespace

int run_daemon(const config::NodeConfig& config, const StartFlags& flags) {
  if (const auto logging = start_logging(config.log_file, config.log_level); !logging) {
    std::fprintf(stderr, "cairnd: %s\n", to_string(logging.error()).c_str());
    return kExitConfiguration;
  }
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
  }
  return Daemon(config, flags).run();
}

}  // namespace cairn::server
