// What the admin API answers: a function from request to reply, on the range loop. No sockets here.
#pragma once

#include <functional>
#include <string>

#include "server/cluster/node.h"
#include "server/net/client_server.h"
#include "server/net/peer_transport.h"
#include "server/runtime/event_loop.h"

namespace cairn::server {

struct AdminRequest {
  std::string method;  // GET, POST
  std::string target;  // path and query, as sent
};
struct AdminReply {
  unsigned status = 200;
  std::string type = "application/json";
  std::string body;
};

// What the page of metrics and the API look at. All outlive the API.
struct AdminSources {
  Node* node = nullptr;
  ClientServer* clients = nullptr;
  PeerTransport* data_net = nullptr;
  PeerTransport* link_net = nullptr;
  EventLoop* loop = nullptr;
  CommandStats* stats = nullptr;
  Instant started = 0;
};

// Thread safety: on the range loop. `done` is called once, at once or later, on the range loop.
class AdminApi {
 public:
  explicit AdminApi(const AdminSources& sources) : sources_(sources) {}
  void handle(const AdminRequest& request, std::function<void(AdminReply)> done);

 private:
  AdminReply cluster() const;
  AdminReply nodes() const;
  void ranges(const std::string& query, std::function<void(AdminReply)> done);
  void range(RangeId id, std::function<void(AdminReply)> done);
  void probe(std::function<void(AdminReply)> done);

  AdminSources sources_;
};

// The page of GET /metrics in Prometheus text format 0.0.4; every name begins with cairn_.
std::string metrics_page(const AdminSources& sources);

AdminReply problem(unsigned status, const std::string& title, const std::string& detail);
// application/x-www-form-urlencoded value of `name` in a query string; nullopt: absent or malformed escapes.
std::optional<std::string> query_value(std::string_view query, std::string_view name);

struct ProcessFacts {
  uint64_t rss_bytes = 0;
  double cpu_user_s = 0, cpu_system_s = 0;
  uint64_t open_files = 0;
};
ProcessFacts process_facts();

}  // namespace cairn::server
