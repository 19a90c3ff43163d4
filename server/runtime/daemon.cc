#include "server/runtime/daemon.h"

#include <fmt/format.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/signal_set.hpp>
#include <cstdio>
#include <thread>

#include "server/cluster/node.h"
#include "server/http/admin_api.h"
#include "server/http/http_server.h"
#include "server/net/client_server.h"
#include "server/net/peer_listener.h"
#include "server/net/peer_transport.h"
#include "server/observe/logging.h"
#include "server/observe/process_facts.h"
#include "server/runtime/background_pool.h"
#include "server/runtime/event_loop.h"
#include "server/runtime/live_config.h"
#include "server/runtime/notify.h"
#include "server/runtime/polled_reads.h"
#include "server/runtime/process_fields.h"
#include "server/runtime/thread_writer.h"
#include "server/runtime/uring_reader.h"
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

RedirectMode redirect_mode(const config::NodeConfig& c) {
  if (c.cluster_redirect == "always") return RedirectMode::kAlways;
  return c.cluster_redirect == "never" ? RedirectMode::kNever : RedirectMode::kAuto;
}

SharedSettings shared_settings(const config::NodeConfig& c) {
  SharedSettings s;
  s.latency_tracking = c.latency_tracking;
  const bool never = c.slowlog_slower_than == config::find_key("slowlog.slower_than")->high;
  s.slowlog_slower_than = never ? kNever : c.slowlog_slower_than;
  s.slowlog_max_len = c.slowlog_max_len;
  s.latency_threshold_ms = c.latency_threshold / kMillisecond;
  s.query_buffer_max = c.client_query_buffer_bytes;
  return s;
}

storage::StrategyKind compaction_strategy(const config::NodeConfig& c) {
  return storage::parse_strategy_kind(c.storage_compaction_strategy).value_or(storage::kDefaultStrategy);
}

storage::Compression compression(const config::NodeConfig& c) {
  return storage::parse_compression(c.storage_compression).value_or(storage::kDefaultCompression);
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
  o.redirect = redirect_mode(c);
  o.follower_staleness = c.cluster_follower_reads == "bounded" ? c.cluster_follower_staleness : 0;
  o.requirepass = c.requirepass;
  o.reserve_bytes = c.storage_reserve_bytes;
  o.log_budget_bytes = c.storage_log_budget_bytes;
  o.store.memtable_bytes = c.storage_memtable_bytes;
  o.store.memtable_budget_bytes = c.storage_memtable_budget_bytes;
  o.store.block_cache_bytes = c.storage_block_cache_bytes;
  o.store.hot_row_bytes = c.storage_hot_row_bytes;
  o.store.strategy = compaction_strategy(c);
  o.store.compression = compression(c);
  o.store.scrub_bytes_per_second = c.storage_scrub_bytes_per_second;
  o.store.delete_bytes_per_second = c.storage_delete_bytes_per_second;
  o.store.io.target = c.storage_io_read_target;
  o.store.io.rate_min = c.storage_io_bytes_per_second_min;
  o.store.io.rate_max = c.storage_io_bytes_per_second_max;
  o.scrub_interval = c.storage_scrub_interval;
  return o;
}

// Everything of the process, in the order in which it has to go away again.
class Daemon {
 public:
  Daemon(const config::NodeConfig& config, const config::LoadRequest& loaded_from, const StartFlags& flags)
      : live_(config, loaded_from, [this](const config::NodeConfig& changed) { apply(changed); }),
        config_(live_.current()),
        random_(entropy()),
        fs_(storage::make_real_file_system()),
        loop_(clock_),
        link_loop_(clock_),
        admin_loop_(clock_),
        pool_(config.runtime_background_threads, static_cast<double>(config.runtime_background_headroom) / 100),
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
        facts_({&node_, &clients_, &stats_, &live_, &clock_}),
        signals_(loop_.context(), SIGTERM, SIGINT),
        hang_up_(loop_.context(), SIGHUP) {
    node_.hub().set_parameters(live_);
    apply(config_);
    data_net_.set_events(&node_);
    node_.on_identity = [this](const Identity& identity) { named(identity); };
    node_.extend_info = [this](auto& sections) { facts_.extend(sections); };
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
    wait_hang_up();
    loop_.post([this] { watch_ready(); });
    loop_.post([this] { feed_watchdog(); });
    loop_.post([this] { sample(); });
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
    reader_ = UringReader::create(loop_, thread_reader_);
    env.reader = reader_.get();
    if (config_.runtime_polled_reads && usable_processors() >= 2) env.cached_reader = &polled_reads_;
    env.data = &data_net_;
    env.links = &link_net_;
    env.log = log_line;
    env.fatal = [](const Error& error) { die(error); };
    env.session_output = [this](uint64_t session) { clients_.output_ready(session); };
    return env;
  }

  static ClientServer::Options client_options(const config::NodeConfig& config) {
    ClientServer::Options options;
    options.clients_max = std::min(config.client_max, descriptors_for_clients());
    options.limits.parser.command_bytes_max = config.limits_command_bytes;
    options.idle_timeout = config.client_idle_timeout;
    options.login_timeout = config.client_login_timeout;
    options.keepalive = config.client_tcp_keepalive;
    options.output_hard = config.client_output_hard_bytes;
    options.output_soft = config.client_output_soft_bytes;
    options.output_soft_time = config.client_output_soft_time;
    options.limits.parser.value_bytes_max = config.limits_value_max;
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
    s.live.apply_config = [this](const LiveConfig::Changes& changes) { return live_.apply_config(changes); };
    s.live.slow_log = &node_.hub().slow_log;
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

  // Makes a configuration effective; what needs a restart is the same in it.
  void apply(const config::NodeConfig& c) {
    node_.set_requirepass(c.requirepass);
    node_.set_redirect(redirect_mode(c));
    node_.set_wait_for_leader(c.cluster_wait_for_leader);
    node_.set_compaction_strategy(compaction_strategy(c));
    node_.set_compression(compression(c));
    node_.set_scrub_rate(c.storage_scrub_bytes_per_second);
    node_.set_delete_rate(c.storage_delete_bytes_per_second);
    node_.set_scrub_interval(c.storage_scrub_interval);
    node_.hub().set_settings(shared_settings(c));
    clients_.set_options(client_options(c));
    loop_.set_spin(c.runtime_spin);
    set_log_level(log_level_named(c.log_level).value_or(LogLevel::kInfo));
  }

  void wait_hang_up() {
    hang_up_.async_wait([this](const boost::system::error_code& error, int) {
      if (error) return;
      reload();
      wait_hang_up();
    });
  }

  void reload() {
    const auto done = live_.reload();
    if (!done) return log_line(LogLevel::kError, "configuration not reloaded: " + done.error().message);
    for (const ConfigChange& change : done->applied) {
      log_line(LogLevel::kInfo,
               fmt::format("configuration: {} was '{}', is '{}'", change.key, change.before, change.after));
    }
    for (const std::string& key : done->waiting) {
      log_line(LogLevel::kWarn, fmt::format("configuration: {} is another one in the file; it needs a restart", key));
    }
    log_line(LogLevel::kInfo, fmt::format("configuration reloaded, {} changes", done->applied.size()));
  }

  void sample() {
    facts_.sample();
    loop_.run_after(500 * kMillisecond, [this] { sample(); });
  }

  LiveConfig live_;
  const config::NodeConfig& config_;  // of live_: as it is now
  RealClock clock_;
  SeededRandom random_;
  std::unique_ptr<storage::FileSystem> fs_;  // tasks that loops and pool forget at their end may still close files
  EventLoop loop_, link_loop_, admin_loop_;
  BackgroundPool pool_;
  std::unique_ptr<storage::DurableWriter> writer_;
  storage::BackgroundReader thread_reader_{pool_, loop_};
  std::unique_ptr<UringReader> reader_;
  PolledReads polled_reads_{clock_, [this] { return pool_.idle(); }};
  PeerTransport data_net_, link_net_;
  CommandStats stats_;
  Node node_;
  ClientServer clients_;
  PeerListener listener_;
  HttpServer http_;
  AdminApi api_;
  ProcessFields facts_;
  boost::asio::signal_set signals_, hang_up_;
};

}  // namespace

int run_daemon(const config::NodeConfig& config, const config::LoadRequest& loaded_from, const StartFlags& flags) {
  if (const auto logging = start_logging(config.log_file, config.log_level); !logging) {
    std::fprintf(stderr, "cairnd: %s\n", to_string(logging.error()).c_str());
    return kExitConfiguration;
  }
  raise_descriptor_limit();
  if (const uint64_t most = descriptors_for_clients(); config.client_max > most) {
    log_line(LogLevel::kWarn,
             fmt::format("client.max is {}, but this process may have {} descriptors: {} clients at most",
                         config.client_max, descriptor_limit(), most));
  }
  return Daemon(config, loaded_from, flags).run();
}

}  // namespace cairn::server
