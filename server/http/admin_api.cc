#include "server/http/admin_api.h"

#include "base/version.h"
#include "server/http/openapi.h"

namespace cairn::server {
namespace {

using nlohmann::json;

// The description and the index tell about the whole table, themselves among it: their texts are made once it is whole.
struct Descriptions {
  std::string openapi, index;
};

void add_descriptions(RouteTable& table, const std::shared_ptr<Descriptions>& texts) {
  table.push_back({.method = "GET",
                   .path = "/v1/openapi.json",
                   .id = "getOpenApi",
                   .summary = "This description",
                   .access = Access::kToken,
                   .runs_on = RunsOn::kAdminThread,
                   .parameters = {},
                   .body = {},
                   .answers = {{200, kJson, R"({"type": "object"})", "OpenAPI 3.1"}},
                   .run = [texts](const CallPointer&, const AdminDone& done) {
                     done({200, std::string(kJson), texts->openapi});
                   }});
  table.push_back({.method = "GET",
                   .path = "/v1",
                   .id = "getIndex",
                   .summary = "What there is below /v1",
                   .access = Access::kToken,
                   .runs_on = RunsOn::kAdminThread,
                   .parameters = {},
                   .body = {},
                   .answers = {{200, kJson, "Index", "The operations"}},
                   .run = [texts](const CallPointer&, const AdminDone& done) {
                     done({200, std::string(kJson), texts->index});
                   }});
}

void describe(const RouteTable& table, Descriptions& texts) {
  texts.openapi = openapi(table).dump(1) + "\n";
  json operations = json::array();
  for (const Route& route : table) {
    operations.push_back({{"method", route.method}, {"path", route.path}, {"summary", route.summary}});
  }
  texts.index =
      json{{"cairn_version", kVersion}, {"openapi", "/v1/openapi.json"}, {"operations", operations}}.dump(1) + "\n";
}

}  // namespace

AdminApi::AdminApi(const AdminSources& sources, GuardOptions guard) : sources_(sources), guard_(std::move(guard)) {
  sources_.guard = &guard_.metrics();
  RouteTable table;
  const auto texts = std::make_shared<Descriptions>();
  add_health_routes(table, sources_);
  add_descriptions(table, texts);
  add_cluster_routes(table, sources_);
  add_range_routes(table, sources_);
  add_storage_routes(table, sources_);
  add_scrub_routes(table, sources_);
  add_node_routes(table, sources_);
  add_live_routes(table, sources_);
  add_console_routes(table);
  describe(table, *texts);
  router_ = std::make_unique<Router>(std::move(table), *sources_.range_executor);
}

void AdminApi::handle(AdminRequest request, AdminDone done) const {
  if (const auto refused = guard_.refuse(request, router_->open(request.target))) return done(refused->reply());
  router_->handle(std::move(request), std::move(done));
}

}  // namespace cairn::server
