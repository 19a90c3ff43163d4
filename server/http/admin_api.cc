#include "server/http/admin_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "sharding/slot.h"

namespace cairn::server {

using nlohmann::json;

namespace {

constexpr const char* kVersion = "0.1.0";

AdminReply ok(const json& body) { return {200, "application/json", body.dump() + "\n"}; }

std::string_view role_of(const RangeStatus& status, NodeId node) {
  if (node == status.consensus.leader) return "leader";
  return status.consensus.configuration.is_learner(node) ? "learner" : "follower";
}

// The range object of GET /v1/ranges: as its confirmed leader tells it, or as far as this node knows without one.
json range_json(const Node& node, RangeId id, const std::optional<RangeStatus>& confirmed) {
  json out;
  out["id"] = id.value;
  const auto descriptor = node.directory().ranges().find(id);
  if (descriptor != node.directory().ranges().end()) {
    out["keyspace"] = descriptor->second.keyspace;
    out["slots"] = {descriptor->second.first_slot, descriptor->second.last_slot};
    out["generation"] = descriptor->second.generation;
  } else {
    out["keyspace"] = "system";
    out["slots"] = nullptr;
  }
  const NodeId owner = node.directory().owner(id);
  out["advertised_owner"] = owner.value == 0 ? json(nullptr) : json(owner.value);
  RangeStatus status;
  bool local = false;
  const auto replica = node.replicas().find(id);
  if (replica != node.replicas().end()) {
    status = replica->second->status();
    local = true;
  }
  out["local"] = local ? json{{"suspect", status.consensus.suspect || status.tablet.corrupt},
                              {"damage", status.tablet.corruption},
                              {"applied", status.tablet.applied.index.value},
                              {"flushed", status.tablet.flushed.index.value},
                              {"sstables", status.tablet.sstables},
                              {"sstable_bytes", status.tablet.sstable_bytes},
                              {"memtable_bytes", status.tablet.memtable_bytes}}
                       : json(nullptr);
  if (confirmed) {
    status = *confirmed;
    const auto leader = node.directory().nodes().find(status.consensus.leader);
    out["leader"] = {{"node", status.consensus.leader.value},
                     {"client_addr", leader == node.directory().nodes().end() ? "" : leader->second.addresses.client}};
  } else {
    out["leader"] = nullptr;
  }
  json replicas = json::array();
  for (const auto& member : status.consensus.configuration.members()) {
    uint64_t match = member.node == status.consensus.leader ? status.consensus.last_index.value : 0;
    bool snapshotting = false;
    for (const auto& peer : status.consensus.peers) {
      if (peer.member.node == member.node) {
        match = peer.match.value;
        snapshotting = peer.snapshotting;
      }
    }
    replicas.push_back({{"node", member.node.value},
                        {"replica", member.replica.value},
                        {"role", confirmed ? role_of(status, member.node) : "follower"},
                        {"match", match},
                        {"snapshotting", snapshotting}});
  }
  out["replicas"] = std::move(replicas);
  out["term"] = status.consensus.term.value;
  out["commit"] = status.consensus.commit.value;
  out["applied"] = status.tablet.applied.index.value;
  out["log_first"] = status.consensus.first_index.value;
  out["log_last"] = status.consensus.last_index.value;
  return out;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

AdminReply problem(unsigned status, const std::string& title, const std::string& detail) {
  return {status, "application/problem+json",
          json{{"type", "about:blank"}, {"title", title}, {"status", status}, {"detail", detail}}.dump() + "\n"};
}

std::optional<std::string> query_value(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view item = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const size_t equals = item.find('=');
    if (item.substr(0, equals) != name) continue;
    std::string value;
    const std::string_view raw = equals == std::string_view::npos ? std::string_view() : item.substr(equals + 1);
    for (size_t i = 0; i < raw.size(); ++i) {
      if (raw[i] == '+') {
        value.push_back(' ');
      } else if (raw[i] != '%') {
        value.push_back(raw[i]);
      } else {
        const int high = i + 2 < raw.size() + 0 ? hex_digit(raw[i + 1]) : -1;
        const int low = i + 2 < raw.size() + 0 ? hex_digit(raw[i + 2]) : -1;
        if (high < 0 || low < 0) return std::nullopt;
        value.push_back(static_cast<char>(high * 16 + low));
        i += 2;
      }
    }
    return value;
  }
  return std::nullopt;
}

void AdminApi::handle(const AdminRequest& request, std::function<void(AdminReply)> done) {
  const size_t mark = request.target.find('?');
  const std::string path = request.target.substr(0, mark);
  const std::string query = mark == std::string::npos ? "" : request.target.substr(mark + 1);
  Node& node = *sources_.node;
  if (path == "/v1/probe") {
    if (request.method != "POST") return done(problem(405, "Method not allowed", "POST " + path));
    return probe(std::move(done));
  }
  const bool known = path == "/livez" || path == "/readyz" || path == "/metrics" || path == "/v1/cluster" ||
                     path == "/v1/nodes" || path == "/v1/ranges" || path == "/v1/version" ||
                     path.starts_with("/v1/ranges/");
  if (!known) return done(problem(404, "Not found", "no such page: " + path));
  if (request.method != "GET" && request.method != "HEAD") {
    return done(problem(405, "Method not allowed", "only GET is served at " + path));
  }
  if (path == "/livez") return done({200, "text/plain", "ok\n"});
  if (path == "/readyz") {
    std::string why;
    if (node.ready(&why)) return done({200, "text/plain", "ok\n"});
    return done(problem(503, "Not ready", why));
  }
  if (path == "/metrics") return done({200, "text/plain; version=0.0.4", metrics_page(sources_)});
  if (path == "/v1/version") return done(ok({{"cairn_version", kVersion}, {"redis_version", "7.0.15"}}));
  if (path == "/v1/cluster") return done(cluster());
  if (path == "/v1/nodes") return done(nodes());
  if (path == "/v1/ranges") return ranges(query, std::move(done));
  const std::string number = path.substr(std::string("/v1/ranges/").size());
  if (number.empty() || !std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; }) ||
      number.size() > 18) {
    return done(problem(400, "Bad request", "a range id is a number"));
  }
  return range({std::stoull(number)}, std::move(done));
}

AdminReply AdminApi::cluster() const {
  const Node& node = *sources_.node;
  std::string why;
  const bool ready = node.cluster_ready(&why);
  size_t reachable = 0;
  const auto peers = node.peers();
  for (const auto& peer : peers) reachable += peer.reachable ? 1 : 0;
  size_t leaderless = 0, damaged = 0;
  for (const auto& [id, replica] : node.replicas()) {
    leaderless += replica->core().leader().value == 0 ? 1 : 0;
    damaged += replica->core().status().suspect ? 1 : 0;
  }
  json messages = json::array();
  if (!ready) messages.push_back({{"name", "not_ready"}, {"severity", "warning"}, {"text", why}});
  if (reachable < peers.size()) {
    messages.push_back({{"name", "node_unreachable"},
                        {"severity", "warning"},
                        {"text", fmt::format("{} of {} nodes do not answer", peers.size() - reachable, peers.size())}});
  }
  if (damaged > 0) {
    messages.push_back({{"name", "replica_damaged"},
                        {"severity", "error"},
                        {"text", fmt::format("{} replicas of this node are damaged; see /v1/ranges", damaged)}});
  }
  if (!node.has_room()) {
    messages.push_back({{"name", "disk_full"}, {"severity", "error"}, {"text", "no space left: writes are refused"}});
  }
  const auto& cluster = node.directory().cluster();
  return ok(
      {{"id", to_hex(node.identity().cluster)},
       {"version", kVersion},
       {"node", node.identity().node.value},
       {"ready", ready},
       {"status", messages.empty() ? "ok" : "degraded"},
       {"messages", messages},
       {"epoch", node.directory().slot_map().version},
       {"nodes", {{"total", peers.size()}, {"reachable", reachable}}},
       {"ranges",
        {{"total", node.directory().ranges().size()}, {"local", node.replicas().size()}, {"leaderless", leaderless}}},
       {"keyspaces", json::array({{{"name", "default"},
                                   {"consensus", "raft"},
                                   {"sharding", node.whole() ? "whole" : "hash"},
                                   {"replication_factor", cluster ? cluster->replication_factor : 0}}})}});
}

AdminReply AdminApi::nodes() const {
  json list = json::array();
  for (const auto& peer : sources_.node->peers()) {
    list.push_back({{"id", peer.record.id.value},
                    {"client_addr", peer.record.addresses.client},
                    {"peer_addr", peer.record.addresses.peer},
                    {"admin_addr", peer.record.addresses.admin},
                    {"incarnation", peer.incarnation.value},
                    {"state", peer.reachable ? "reachable" : "unreachable"},
                    {"self", peer.record.id == sources_.node->identity().node}});
  }
  return ok(list);
}

void AdminApi::ranges(const std::string& query, std::function<void(AdminReply)> done) {
  Node& node = *sources_.node;
  const auto keyspace = query_value(query, "keyspace");
  if (keyspace && *keyspace != "default" && *keyspace != "system") {
    return done(problem(404, "Not found", "no keyspace of that name"));
  }
  if (query.find("key=") == 0 || query.find("&key=") != std::string::npos) {
    const auto key = query_value(query, "key");
    if (!key) return done(problem(400, "Bad request", "the key is not percent-encoded properly"));
    const RangeId id = node.directory().range_of_slot(sharding::key_slot(*key));
    if (id.value == 0) return done(problem(503, "Not ready", "the ranges are not created yet"));
    return range(id, std::move(done));
  }
  struct Gather {
    std::map<uint64_t, json> ranges;
    size_t left = 0;
    std::function<void(AdminReply)> done;
  };
  auto gather = std::make_shared<Gather>();
  gather->done = std::move(done);
  std::vector<RangeId> ids;
  if (!keyspace || *keyspace == "system") ids.push_back(kSystemRange);
  if (!keyspace || *keyspace == "default") {
    for (const auto& [id, range] : node.directory().ranges()) ids.push_back(id);
  }
  gather->left = ids.size();
  if (ids.empty()) return gather->done(ok(json::array()));
  for (RangeId id : ids) {
    node.confirmed_status(id, [this, gather, id](std::optional<RangeStatus> status) {
      gather->ranges[id.value] = range_json(*sources_.node, id, status);
      if (--gather->left > 0) return;
      json list = json::array();
      for (auto& [key, value] : gather->ranges) list.push_back(std::move(value));
      gather->done(ok(list));
    });
  }
}

void AdminApi::range(RangeId id, std::function<void(AdminReply)> done) {
  Node& node = *sources_.node;
  if (id != kSystemRange && node.directory().ranges().find(id) == node.directory().ranges().end()) {
    return done(problem(404, "Not found", fmt::format("no range {}", id.value)));
  }
  node.confirmed_status(id, [this, id, done = std::move(done)](std::optional<RangeStatus> status) {
    done(ok(range_json(*sources_.node, id, status)));
  });
}

void AdminApi::probe(std::function<void(AdminReply)> done) {
  std::string why;
  if (!sources_.node->cluster_ready(&why)) return done(problem(503, "Not ready", why));
  sources_.node->probe([done = std::move(done)](std::string error) {
    if (error.empty()) return done(ok({{"ok", true}}));
    done(problem(503, "Not ready", error));
  });
}

}  // namespace cairn::server
