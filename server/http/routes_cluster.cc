// The cluster in one document, its nodes, its keyspaces, and what is under way.
#include <fmt/format.h>

#include <algorithm>

#include "base/checksum.h"
#include "base/version.h"
#include "server/http/admin_api.h"
#include "server/http/replica_calls.h"

namespace cairn::server {
namespace {

using nlohmann::json;

json compaction_json(const Node& node, bool system) {
  const bool chosen = !system && node.directory().keyspace().strategy.has_value();
  const auto strategy = system ? node.options().store.strategy : node.compaction_strategy();
  return {{"strategy", storage::to_string(strategy)}, {"origin", chosen ? "keyspace" : "configuration"}};
}

json compression_json(const Node& node, bool system) {
  const bool chosen = !system && node.directory().keyspace().compression.has_value();
  const auto compression = system ? node.options().store.compression : node.compression();
  return {{"algorithm", storage::to_string(compression)}, {"origin", chosen ? "keyspace" : "configuration"}};
}

json keyspace_json(const Node& node, std::string_view name) {
  const auto& cluster = node.directory().cluster();
  const bool system = name == "system";
  const size_t voters = node.replicas().contains(kSystemRange)
                            ? node.replicas().at(kSystemRange)->core().status().configuration.voters.size()
                            : 0;
  return {{"name", name},
          {"consensus", "raft"},
          {"sharding", system || node.whole() ? "whole" : "hash"},
          {"replication_factor", system    ? voters
                                 : cluster ? cluster->replication_factor
                                           : 0},
          {"ranges", system ? 1 : node.directory().ranges().size()},
          {"durability", "always"},
          {"compaction", compaction_json(node, system)},
          {"compression", compression_json(node, system)}};
}

void patch_keyspace(const AdminSources& s, const CallPointer& call, const AdminDone& done) {
  const std::string& name = *call->text("name");
  if (name == "system") {
    return done(Problem{.status = 409,
                        .detail = "the system's keyspace has no choices",
                        .hint = "Its range follows storage.compaction_strategy and storage.compression of each node.",
                        .field = "name"}
                    .reply());
  }
  if (name != "default") return done(no_keyspace("name").reply());
  if (call->body.empty()) {
    return done(Problem{.status = 400,
                        .detail = "nothing is chosen",
                        .hint = "Name compaction, compression, or both.",
                        .field = "compaction"}
                    .reply());
  }
  KeyspaceRecord record = s.node->directory().keyspace();
  if (call->body.contains("compaction")) {
    const json& strategy = call->body.at("compaction").at("strategy");
    record.strategy = strategy.is_null() ? std::nullopt : storage::parse_strategy_kind(strategy.get<std::string>());
  }
  if (call->body.contains("compression")) {
    const json& algorithm = call->body.at("compression");
    record.compression = algorithm.is_null() ? std::nullopt : storage::parse_compression(algorithm.get<std::string>());
  }
  s.node->change_keyspace(record, [&s, done](const std::string& error) {
    if (error.empty()) return done(json_reply(keyspace_json(*s.node, "default")));
    done(Problem{.status = 503,
                 .detail = "the system range did not take it: " + error.substr(1),
                 .hint = "GET /v1/keyspaces/default tells what holds; the request may be repeated."}
             .reply());
  });
}

json message(const char* name, const char* severity, std::string text, std::string hint) {
  return {{"name", name}, {"severity", severity}, {"text", std::move(text)}, {"hint", std::move(hint)}};
}

struct LocalCounts {
  size_t leading = 0, leaderless = 0, damaged = 0;
};

LocalCounts count_replicas(const Node& node) {
  LocalCounts counts;
  for (const auto& [id, replica] : node.replicas()) {
    counts.leading += replica->core().role() == consensus::Role::kLeader ? 1 : 0;
    counts.leaderless += replica->core().leader().value == 0 ? 1 : 0;
    counts.damaged += replica->core().status().suspect || replica->tablet().stats().corrupt ? 1 : 0;
  }
  return counts;
}

json messages_of(const Node& node, const std::string& not_ready, size_t silent, size_t total, size_t damaged) {
  json list = json::array();
  if (!not_ready.empty()) {
    list.push_back(message("not_ready", "warning", not_ready, "It passes by itself once enough nodes are up."));
  }
  if (silent > 0) {
    list.push_back(message("node_unreachable", "warning", fmt::format("{} of {} nodes do not answer", silent, total),
                           "Start them again, or look at the network between them and this node."));
  }
  if (damaged > 0) {
    list.push_back(
        message("replica_damaged", "error", fmt::format("{} replicas of this node are damaged", damaged),
                "/v1/ranges?state=damaged names them and the damage. Those whose files are damaged get them from "
                "their leaders by themselves; a log that is damaged needs a new node in its place."));
  }
  if (!node.has_room()) {
    list.push_back(message("disk_full", "error", "no space left: writes are refused",
                           "Make room on the file system of data_dir; writes go on by themselves."));
  }
  if (!node.has_memory()) {
    list.push_back(message("flushes_lag", "warning", "writes wait for memtables to be flushed",
                           "The disk is slower than the writes; it passes when they ebb."));
  }
  return list;
}

void cluster(const AdminSources& s, const AdminDone& done) {
  const Node& node = *s.node;
  std::string why;
  const bool ready = node.cluster_ready(&why);
  const auto peers = node.peers();
  const auto reachable = static_cast<size_t>(
      std::count_if(peers.begin(), peers.end(), [](const PeerView& peer) { return peer.reachable; }));
  const LocalCounts counts = count_replicas(node);
  const json messages = messages_of(node, ready ? "" : why, peers.size() - reachable, peers.size(), counts.damaged);
  const auto severe =
      std::any_of(messages.begin(), messages.end(), [](const json& m) { return m.at("severity") == "error"; });
  // How many more nodes may go before a group of all voters has no majority; ranges live on at most all nodes.
  const auto& record = node.directory().cluster();
  const size_t copies = record ? std::min<size_t>(record->replication_factor, std::max<size_t>(peers.size(), 1)) : 1;
  const size_t lost = peers.size() - reachable;
  done(json_reply({{"id", to_hex(node.identity().cluster)},
                   {"version", kVersion},
                   {"node", node.identity().node.value},
                   {"ready", ready},
                   {"status", messages.empty() ? "ok"
                              : severe         ? "failing"
                                               : "degraded"},
                   {"messages", messages},
                   {"epoch", node.directory().slot_map().version},
                   {"nodes", {{"total", peers.size()}, {"reachable", reachable}}},
                   {"ranges",
                    {{"total", node.directory().ranges().size()},
                     {"local", node.replicas().size()},
                     {"led_here", counts.leading},
                     {"leaderless", counts.leaderless},
                     {"damaged", counts.damaged}}},
                   {"keyspaces", json::array({keyspace_json(node, "default")})},
                   {"can_lose_one_more_node", ready && (copies - 1) / 2 > lost}}));
}

json node_json(const Node& node, const PeerView& peer) {
  size_t owned = 0, held = 0;
  for (const auto& [id, range] : node.directory().ranges()) {
    owned += node.directory().owner(id) == peer.record.id ? 1 : 0;
    held += std::any_of(range.members.begin(), range.members.end(),
                        [&](const auto& member) { return member.first == peer.record.id; })
                ? 1
                : 0;
  }
  return {{"id", peer.record.id.value},
          {"client_addr", peer.record.addresses.client},
          {"peer_addr", peer.record.addresses.peer},
          {"admin_addr", peer.record.addresses.admin},
          {"incarnation", peer.incarnation.value},
          {"state", peer.reachable ? "reachable" : "unreachable"},
          {"self", peer.record.id == node.identity().node},
          {"ranges_owned", owned},
          {"ranges_held", held}};
}

void nodes(const AdminSources& s, const AdminDone& done) {
  json list = json::array();
  for (const auto& peer : s.node->peers()) list.push_back(node_json(*s.node, peer));
  done(json_reply(list));
}

void node_by_id(const AdminSources& s, uint64_t id, const AdminDone& done) {
  for (const auto& peer : s.node->peers()) {
    if (peer.record.id.value == id) return done(json_reply(node_json(*s.node, peer)));
  }
  done(Problem{.status = 404, .detail = fmt::format("no node {}", id), .hint = "/v1/nodes lists them.", .field = "id"}
           .reply());
}

json job_json(const SnapshotTransfer& transfer) {
  return {{"id", fmt::format("snapshot-{}-{}", transfer.outgoing ? "out" : "in", transfer.id)},
          {"kind", transfer.outgoing ? "snapshot_send" : "snapshot_receive"},
          {"state", transfer.started ? "running" : "queued"},
          {"range", transfer.range.value},
          {"node", transfer.peer.value},
          {"progress", {{"done", transfer.done_bytes}, {"total", transfer.total_bytes}, {"unit", "bytes"}}}};
}

void jobs(const AdminSources& s, const std::string* id, const AdminDone& done) {
  json list = json::array();
  for (const SnapshotTransfer& transfer : s.node->snapshot_transfers()) {
    json job = job_json(transfer);
    if (id != nullptr && job.at("id") == *id) return done(json_reply(job));
    list.push_back(std::move(job));
  }
  if (id == nullptr) return done(json_reply(list));
  done(Problem{
      .status = 404, .detail = "no such job runs on this node", .hint = "A job that has ended is gone.", .field = "id"}
           .reply());
}

}  // namespace

void add_cluster_routes(RouteTable& table, const AdminSources& s) {
  table.push_back({.method = "GET",
                   .path = "/v1/cluster",
                   .id = "getCluster",
                   .summary = "Is the cluster well, and if not, why",
                   .access = Access::kToken,
                   .runs_on = RunsOn::kRangeLoop,
                   .parameters = {},
                   .body = {},
                   .answers = {{200, kJson, "Cluster", "As far as this node sees"}},
                   .run = [&s](const CallPointer&, const AdminDone& done) { cluster(s, done); }});
  table.push_back(
      {.method = "GET",
       .path = "/v1/nodes",
       .id = "listNodes",
       .summary = "The nodes, and whether this one reaches them",
       .access = Access::kToken,
       .runs_on = RunsOn::kRangeLoop,
       .parameters = {},
       .body = {},
       .answers = {{200, kJson, R"({"type": "array", "items": {"$ref": "#/components/schemas/Node"}})", "All members"}},
       .run = [&s](const CallPointer&, const AdminDone& done) { nodes(s, done); }});
  table.push_back({.method = "GET",
                   .path = "/v1/nodes/{id}",
                   .id = "getNode",
                   .summary = "One node",
                   .access = Access::kToken,
                   .runs_on = RunsOn::kRangeLoop,
                   .parameters = {{.name = "id", .kind = ParameterKind::kNumber, .help = "node id", .example = "1"}},
                   .body = {},
                   .answers = {{200, kJson, "Node", "The node"}, {404, kProblemJson, "Problem", "No such node"}},
                   .run = [&s](const CallPointer& call, const AdminDone& done) {
                     node_by_id(s, call->number("id").value_or(0), done);
                   }});
  table.push_back(
      {.method = "GET",
       .path = "/v1/keyspaces",
       .id = "listKeyspaces",
       .summary = "The keyspaces and how they are kept",
       .access = Access::kToken,
       .runs_on = RunsOn::kRangeLoop,
       .parameters = {},
       .body = {},
       .answers = {{200, kJson, R"({"type": "array", "items": {"$ref": "#/components/schemas/Keyspace"}})",
                    "The users' keyspace and the system's own"}},
       .run = [&s](const CallPointer&, const AdminDone& done) {
         done(json_reply(json::array({keyspace_json(*s.node, "default"), keyspace_json(*s.node, "system")})));
       }});
  table.push_back(
      {.method = "GET",
       .path = "/v1/keyspaces/{name}",
       .id = "getKeyspace",
       .summary = "One keyspace",
       .access = Access::kToken,
       .runs_on = RunsOn::kRangeLoop,
       .parameters = {{.name = "name", .help = "name of the keyspace", .example = "default"}},
       .body = {},
       .answers = {{200, kJson, "Keyspace", "The keyspace"}, {404, kProblemJson, "Problem", "No such keyspace"}},
       .run = [&s](const CallPointer& call, const AdminDone& done) {
         const std::string& name = *call->text("name");
         if (name == "default" || name == "system") return done(json_reply(keyspace_json(*s.node, name)));
         done(no_keyspace("name").reply());
       }});
  table.push_back({.method = "PATCH",
                   .path = "/v1/keyspaces/{name}",
                   .id = "patchKeyspace",
                   .summary = "Chooses how a keyspace is compacted and compressed, on all nodes at once and for good",
                   .access = Access::kToken,
                   .runs_on = RunsOn::kRangeLoop,
                   .parameters = {{.name = "name", .help = "name of the keyspace", .example = "default"}},
                   .body = "KeyspaceChange",
                   .answers = {{200, kJson, "Keyspace", "The keyspace as it is now; this node follows it already"},
                               {404, kProblemJson, "Problem", "No such keyspace"},
                               {409, kProblemJson, "Problem", "The system's own has no choices"}},
                   .run = [&s](const CallPointer& call, const AdminDone& done) { patch_keyspace(s, call, done); }});
  table.push_back({.method = "GET",
                   .path = "/v1/jobs",
                   .id = "listJobs",
                   .summary = "What is under way on this node: snapshots to and from other nodes",
                   .access = Access::kToken,
                   .runs_on = RunsOn::kRangeLoop,
                   .parameters = {},
                   .body = {},
                   .answers = {{200, kJson, R"({"type": "array", "items": {"$ref": "#/components/schemas/Job"}})",
                                "Running and queued ones"}},
                   .run = [&s](const CallPointer&, const AdminDone& done) { jobs(s, nullptr, done); }});
  table.push_back(
      {.method = "GET",
       .path = "/v1/jobs/{id}",
       .id = "getJob",
       .summary = "One job",
       .access = Access::kToken,
       .runs_on = RunsOn::kRangeLoop,
       .parameters = {{.name = "id", .help = "id of the job", .example = "snapshot-out-1"}},
       .body = {},
       .answers = {{200, kJson, "Job", "The job"}, {404, kProblemJson, "Problem", "It has ended, or never was"}},
       .run = [&s](const CallPointer& call, const AdminDone& done) { jobs(s, call->text("id"), done); }});
}

}  // namespace cairn::server
