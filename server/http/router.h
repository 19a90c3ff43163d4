// From request to operation: method, path, parameters, body and Accept are checked against the route table.
#pragma once

#include "base/executor.h"
#include "server/http/route.h"

namespace cairn::server {

// Media types that `accept` (null: anything) takes, by its wish; nullopt: none of them.
std::optional<size_t> preferred_type(const std::string* accept, const std::vector<std::string_view>& offered);

// Thread safety: any thread, after construction. `range_loop` outlives it.
class Router {
 public:
  Router(RouteTable routes, Executor& range_loop) : routes_(std::move(routes)), range_loop_(range_loop) {}
  const RouteTable& routes() const { return routes_; }

  // The path is served without a token. Paths that do not exist are not: who has no token learns nothing.
  bool open(std::string_view target) const;
  // Calls `done` once, on any thread.
  void handle(AdminRequest request, AdminDone done) const;

 private:
  std::vector<const Route*> at(std::string_view path) const;
  std::optional<Problem> fill(const Route& route, std::string_view path, std::string_view query, Call& call) const;

  RouteTable routes_;
  Executor& range_loop_;
};

}  // namespace cairn::server
