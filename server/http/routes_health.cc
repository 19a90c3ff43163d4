// Whether the node lives and serves, for load balancers and people; metrics; the version.
#include "base/version.h"
#include "server/http/admin_api.h"

namespace cairn::server {
namespace {

using nlohmann::json;

constexpr std::string_view kText = "text/plain";

void ready(const AdminSources& s, const AdminDone& done) {
  std::string why;
  if (s.node->ready(&why)) return done({200, std::string(kText), "ok\n"});
  done(Problem{.status = 503, .detail = why}.reply());
}

void probe(const AdminSources& s, const AdminDone& done) {
  std::string why;
  if (!s.node->cluster_ready(&why)) return done(Problem{.status = 503, .detail = why}.reply());
  s.node->probe([done](const std::string& error) {
    if (error.empty()) return done(json_reply({{"ok", true}}));
    done(Problem{.status = 503, .detail = error}.reply());
  });
}

void metrics(const AdminSources& s, const CallPointer& call, const AdminDone& done) {
  s.range_executor->post([&s, call, done, host = host_facts(s.node->options().data_dir)] {
    const bool open = call->type == kOpenMetricsType;
    done({200, std::string(call->type),
          metrics_page(s, host, open ? MetricsFormat::kOpenMetrics : MetricsFormat::kPrometheus)});
  });
}

}  // namespace

void add_health_routes(RouteTable& table, const AdminSources& s) {
  table.push_back({.method = "GET",
                   .path = "/livez",
                   .id = "getLive",
                   .summary = "The process runs; asks neither disk nor peers",
                   .access = Access::kOpen,
                   .runs_on = RunsOn::kAdminThread,
                   .parameters = {},
                   .body = {},
                   .answers = {{200, kText, "", "It does"}},
                   .run = [](const CallPointer&, const AdminDone& done) {
                     done({200, std::string(kText), "ok\n"});
                   }});
  table.push_back({.method = "GET",
                   .path = "/readyz",
                   .id = "getReady",
                   .summary = "The node serves: the ranges exist, and each one here knows a leader",
                   .access = Access::kOpen,
                   .runs_on = RunsOn::kRangeLoop,
                   .parameters = {},
                   .body = {},
                   .answers = {{200, kText, "", "It does"}, {503, kProblemJson, "Problem", "Not yet, or no longer"}},
                   .run = [&s](const CallPointer&, const AdminDone& done) { ready(s, done); }});
  table.push_back({.method = "GET",
                   .path = "/metrics",
                   .id = "getMetrics",
                   .summary = "Counters, gauges and histograms of this node",
                   .access = Access::kToken,
                   .runs_on = RunsOn::kAdminThread,
                   .parameters = {},
                   .body = {},
                   .answers = {{200, kPrometheusType, "", "Prometheus text or OpenMetrics, by Accept"},
                               {200, kOpenMetricsType, "", ""}},
                   .run = [&s](const CallPointer& call, const AdminDone& done) { metrics(s, call, done); }});
  table.push_back({.method = "POST",
                   .path = "/v1/probe",
                   .id = "postProbe",
                   .summary = "Writes one row outside the users' keys into every range, through this node",
                   .access = Access::kToken,
                   .runs_on = RunsOn::kRangeLoop,
                   .parameters = {},
                   .body = {},
                   .answers = {{200, kJson, "Done", "Every range acknowledged the write"},
                               {503, kProblemJson, "Problem", "A range did not"}},
                   .run = [&s](const CallPointer&, const AdminDone& done) { probe(s, done); }});
  table.push_back({.method = "GET",
                   .path = "/v1/version",
                   .id = "getVersion",
                   .summary = "Version of this binary and of the Redis API it serves",
                   .access = Access::kToken,
                   .runs_on = RunsOn::kAdminThread,
                   .parameters = {},
                   .body = {},
                   .answers = {{200, kJson, "Version", "The versions"}},
                   .run = [](const CallPointer&, const AdminDone& done) {
                     done(json_reply({{"cairn_version", kVersion}, {"redis_version", kRedisVersion}}));
                   }});
}

}  // namespace cairn::server
