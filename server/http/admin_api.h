// The admin API: its operations, who may ask, and the router in front of them. No sockets here.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/node_config.h"
#include "server/cluster/node.h"
#include "server/http/http_guard.h"
#include "server/http/http_server.h"
#include "server/http/live_sources.h"
#include "server/http/metrics_text.h"
#include "server/http/router.h"
#include "server/net/client_server.h"
#include "server/net/peer_transport.h"
#include "server/observe/process_facts.h"
#include "server/runtime/event_loop.h"

namespace cairn::server {

// What the page of metrics and the API look at. All outlive the API; what is null is left out.
struct AdminSources {
  Node* node = nullptr;
  ClientServer* clients = nullptr;
  PeerTransport* data_net = nullptr;
  PeerTransport* link_net = nullptr;
  EventLoop* loop = nullptr;                                         // the range loop
  std::vector<std::pair<const char*, const EventLoop*>> loops = {};  // by name, for profiles
  Executor* range_executor = nullptr;                                // runs what looks at `node`
  Executor* admin_executor = nullptr;                                // runs AdminApi::handle()
  CommandStats* stats = nullptr;
  const config::NodeConfig* config = nullptr;  // read on the range loop
  LiveSources live = {};
  const HttpMetrics* http = nullptr;
  const GuardMetrics* guard = nullptr;
  Instant started = 0;
};

// Thread safety: handle() on `admin_executor`; its `done` is called once, on any thread.
class AdminApi {
 public:
  AdminApi(const AdminSources& sources, GuardOptions guard);
  void handle(AdminRequest request, AdminDone done) const;
  const RouteTable& routes() const { return router_->routes(); }
  const GuardMetrics& guard_metrics() const { return guard_.metrics(); }

 private:
  AdminSources sources_;
  HttpGuard guard_;
  std::unique_ptr<Router> router_;
};

// The operations by topic (routes_*.cc). `sources` outlives the table.
void add_health_routes(RouteTable& table, const AdminSources& sources);
void add_cluster_routes(RouteTable& table, const AdminSources& sources);
void add_range_routes(RouteTable& table, const AdminSources& sources);
void add_storage_routes(RouteTable& table, const AdminSources& sources);
void add_scrub_routes(RouteTable& table, const AdminSources& sources);
void add_node_routes(RouteTable& table, const AdminSources& sources);
void add_live_routes(RouteTable& table, const AdminSources& sources);
void add_console_routes(RouteTable& table);

// What the kernel says. It may take its time: not on the range loop.
struct HostFacts {
  ProcessFacts process;
  uint64_t disk_free_bytes = 0, disk_size_bytes = 0;
};
HostFacts host_facts(const std::string& data_dir);
// The page of GET /metrics; every name begins with cairn_. On the range loop.
std::string metrics_page(const AdminSources& sources, const HostFacts& host,
                         MetricsFormat format = MetricsFormat::kPrometheus);

}  // namespace cairn::server
