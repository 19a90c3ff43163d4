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
#include "server/http/router.h"
#include "server/net/client_server.h"
#include "server/net/peer_transport.h"
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
  const config::NodeConfig* config = nullptr;
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
void add_node_routes(RouteTable& table, const AdminSources& sources);
void add_console_routes(RouteTable& table);

enum class MetricsFormat : uint8_t { kPrometheus, kOpenMetrics };
inline constexpr std::string_view kPrometheusType = "text/plain; version=0.0.4; charset=utf-8";
inline constexpr std::string_view kOpenMetricsType = "application/openmetrics-text; version=1.0.0; charset=utf-8";
// The page of GET /metrics; every name begins with cairn_. On the range loop.
std::string metrics_page(const AdminSources& sources, MetricsFormat format = MetricsFormat::kPrometheus);

struct ProcessFacts {
  uint64_t rss_bytes = 0;
  double cpu_user_s = 0, cpu_system_s = 0;
  uint64_t open_files = 0;
};
ProcessFacts process_facts();

}  // namespace cairn::server
