// Checking the SSTables of this node while it serves.
#include "server/http/admin_api.h"
#include "server/http/replica_calls.h"

namespace cairn::server {
namespace {

using nlohmann::json;

json scrub_json(const storage::ScrubStatus& status) {
  json findings = json::array();
  for (const storage::ScrubFinding& finding : status.findings) {
    findings.push_back({{"range", finding.range.value}, {"damage", finding.damage}});
  }
  const auto seconds = [](uint64_t ms) { return ms == 0 ? json(nullptr) : json(ms / 1000); };
  return {{"state", storage::to_string(status.state)},
          {"started_at", seconds(status.started_ms)},
          {"ended_at", seconds(status.ended_ms)},
          {"files", status.files},
          {"files_done", status.files_done},
          {"bytes", status.bytes},
          {"bytes_done", status.bytes_done},
          {"errors", status.errors},
          {"findings", std::move(findings)}};
}

void start(const AdminSources& s, const std::vector<Replica*>& replicas, const AdminDone& done) {
  std::vector<RangeId> ranges;
  for (const Replica* replica : replicas) ranges.push_back(replica->range());
  if (!s.node->start_scrub(ranges)) {
    return done(Problem{.status = 409,
                        .detail = "a scrub is under way on this node",
                        .hint = "GET /v1/storage/scrub shows how far it is; DELETE ends it."}
                    .reply());
  }
  done(json_reply(scrub_json(s.node->scrub_status()), 202));
}

void cancel(const AdminSources& s, const AdminDone& done) {
  if (!s.node->cancel_scrub()) {
    return done(Problem{.status = 409,
                        .detail = "no scrub is under way on this node",
                        .hint = "GET /v1/storage/scrub shows the newest one."}
                    .reply());
  }
  done(json_reply(scrub_json(s.node->scrub_status())));
}

}  // namespace

void add_scrub_routes(RouteTable& table, const AdminSources& s) {
  table.push_back(
      {.method = "POST",
       .path = "/v1/storage/scrub",
       .id = "startScrub",
       .summary = "Reads every SSTable of this node's replicas from the device and checks it, at a bounded rate",
       .access = Access::kToken,
       .runs_on = RunsOn::kRangeLoop,
       .parameters = replica_parameters(),
       .body = {},
       .answers = {{202, kJson, "Scrub", "It has begun"},
                   {404, kProblemJson, "Problem", "No replica of that range is here, or no such keyspace"},
                   {409, kProblemJson, "Problem", "One is under way"}},
       .run = about_replicas(s, &start)});
  table.push_back({.method = "GET",
                   .path = "/v1/storage/scrub",
                   .id = "getScrub",
                   .summary = "How far the newest scrub of this node is, and what it has found",
                   .access = Access::kToken,
                   .runs_on = RunsOn::kRangeLoop,
                   .parameters = {},
                   .body = {},
                   .answers = {{200, kJson, "Scrub", "The newest one"}},
                   .run = [&s](const CallPointer&, const AdminDone& done) {
                     done(json_reply(scrub_json(s.node->scrub_status())));
                   }});
  table.push_back(
      {.method = "DELETE",
       .path = "/v1/storage/scrub",
       .id = "cancelScrub",
       .summary = "Ends the scrub that is under way on this node",
       .access = Access::kToken,
       .runs_on = RunsOn::kRangeLoop,
       .parameters = {},
       .body = {},
       .answers = {{200, kJson, "Scrub", "It has ended"}, {409, kProblemJson, "Problem", "None is under way"}},
       .run = [&s](const CallPointer&, const AdminDone& done) { cancel(s, done); }});
}

}  // namespace cairn::server
