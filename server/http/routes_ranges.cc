// The ranges: where their replicas are, who leads, how far each has come.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "server/http/admin_api.h"
#include "server/http/replica_calls.h"
#include "sharding/slot.h"

namespace cairn::server {
namespace {

using nlohmann::json;

// How long an answer waits for a range to confirm its leader; then `leader` is null.
constexpr Duration kConfirmLimit = 3 * kSecond;
constexpr uint64_t kPageMax = 1000;
constexpr uint64_t kLagMax = 10'000;  // entries that a replica of a healthy range may be behind

std::string_view role_of(const RangeStatus& status, NodeId node) {
  if (node == status.consensus.leader) return "leader";
  return status.consensus.configuration.is_learner(node) ? "learner" : "follower";
}

struct ReplicaView {
  NodeId node;
  ReplicaId replica;
  std::string_view role;
  uint64_t match = 0, lag = 0;
  bool snapshotting = false;
  bool reachable = false;
};

std::vector<ReplicaView> replica_views(const Node& node, const RangeStatus& status, bool confirmed) {
  std::map<NodeId, bool> reachable;
  for (const PeerView& peer : node.peers()) reachable[peer.record.id] = peer.reachable;
  std::vector<ReplicaView> views;
  const uint64_t last = status.consensus.last_index.value;
  for (const auto& member : status.consensus.configuration.members()) {
    ReplicaView view{member.node, member.replica, confirmed ? role_of(status, member.node) : "follower"};
    if (member.node == status.consensus.leader) view.match = last;
    for (const auto& peer : status.consensus.peers) {
      if (peer.member.node != member.node) continue;
      view.match = peer.match.value;
      view.snapshotting = peer.snapshotting;
    }
    view.lag = confirmed && last > view.match ? last - view.match : 0;
    view.reachable = reachable[member.node];
    views.push_back(view);
  }
  return views;
}

std::string_view state_of(bool damaged, bool confirmed, const std::vector<ReplicaView>& replicas) {
  if (damaged) return "damaged";
  if (!confirmed) return "leaderless";
  const bool behind = std::any_of(replicas.begin(), replicas.end(), [](const ReplicaView& r) {
    return !r.reachable || r.snapshotting || r.lag > kLagMax;
  });
  return behind ? "degraded" : "healthy";
}

json local_json(const RangeStatus& status) {
  return {{"suspect", status.consensus.suspect || status.tablet.corrupt},
          {"damage", status.tablet.corruption},
          {"applied", status.tablet.applied.index.value},
          {"flushed", status.tablet.flushed.index.value},
          {"sstables", status.tablet.sstables},
          {"sstable_bytes", status.tablet.sstable_bytes},
          {"memtable_bytes", status.tablet.memtable_bytes}};
}

// As its confirmed leader tells it, or as far as this node knows without one.
json range_json(const Node& node, RangeId id, const std::optional<RangeStatus>& confirmed) {
  json out = {{"id", id.value}, {"keyspace", "system"}, {"slots", nullptr}, {"generation", 0}};
  const auto descriptor = node.directory().ranges().find(id);
  if (descriptor != node.directory().ranges().end()) {
    out["keyspace"] = descriptor->second.keyspace;
    out["slots"] = {descriptor->second.first_slot, descriptor->second.last_slot};
    out["generation"] = descriptor->second.generation;
  }
  const NodeId owner = node.directory().owner(id);
  out["advertised_owner"] = owner.value == 0 ? json(nullptr) : json(owner.value);
  RangeStatus status;
  bool damaged = false;
  out["local"] = nullptr;
  if (const auto replica = node.replicas().find(id); replica != node.replicas().end()) {
    status = replica->second->status();
    damaged = status.consensus.suspect || status.tablet.corrupt;
    out["local"] = local_json(status);
  }
  out["leader"] = nullptr;
  if (confirmed) {
    status = *confirmed;
    const auto leader = node.directory().nodes().find(status.consensus.leader);
    out["leader"] = {{"node", status.consensus.leader.value},
                     {"client_addr", leader == node.directory().nodes().end() ? "" : leader->second.addresses.client}};
  }
  const auto views = replica_views(node, status, confirmed.has_value());
  out["replicas"] = json::array();
  for (const ReplicaView& view : views) {
    out["replicas"].push_back({{"node", view.node.value},
                               {"replica", view.replica.value},
                               {"role", view.role},
                               {"match", view.match},
                               {"lag", view.lag},
                               {"reachable", view.reachable},
                               {"snapshotting", view.snapshotting}});
  }
  out["state"] = state_of(damaged, confirmed.has_value(), views);
  out["term"] = status.consensus.term.value;
  out["commit"] = status.consensus.commit.value;
  out["applied"] = status.tablet.applied.index.value;
  out["log_first"] = status.consensus.first_index.value;
  out["log_last"] = status.consensus.last_index.value;
  out["size_bytes"] = status.tablet.sstable_bytes + status.tablet.memtable_bytes;
  return out;
}

// The objects of several ranges, asked for side by side.
class Gather : public std::enable_shared_from_this<Gather> {
 public:
  using Done = std::function<void(std::map<uint64_t, json>)>;
  Gather(const AdminSources& sources, Done done) : s_(sources), done_(std::move(done)) {}

  void start(const std::vector<RangeId>& ids) {
    left_ = ids.size();
    if (ids.empty()) return finish();
    timer_ = s_.range_executor->run_after(kConfirmLimit, [self = shared_from_this(), ids] {
      self->timer_ = 0;
      for (const RangeId id : ids) self->arrived(id, std::nullopt);
    });
    for (const RangeId id : ids) {
      s_.node->confirmed_status(
          id, [self = shared_from_this(), id](const std::optional<RangeStatus>& status) { self->arrived(id, status); });
    }
  }

 private:
  void arrived(RangeId id, const std::optional<RangeStatus>& status) {
    if (!done_ || objects_.contains(id.value)) return;
    objects_[id.value] = range_json(*s_.node, id, status);
    if (--left_ == 0) finish();
  }
  void finish() {
    if (timer_ != 0) s_.range_executor->cancel(timer_);
    std::exchange(done_, nullptr)(std::move(objects_));
  }

  const AdminSources& s_;
  Done done_;
  std::map<uint64_t, json> objects_;
  size_t left_ = 0;
  TimerId timer_ = 0;
};

void one_range(const AdminSources& s, RangeId id, const AdminDone& done) {
  std::make_shared<Gather>(s, [done](std::map<uint64_t, json> found) {
    done(json_reply(found.begin()->second));
  })->start({id});
}

bool known(const Node& node, RangeId id) { return id == kSystemRange || node.directory().ranges().contains(id); }

bool wanted(const Call& call, const json& range) {
  if (const auto node = call.number("node")) {
    const json& replicas = range.at("replicas");
    if (std::none_of(replicas.begin(), replicas.end(), [&](const json& r) { return r.at("node") == *node; }))
      return false;
  }
  if (const auto leader = call.number("leader")) {
    if (range.at("leader").is_null() || range.at("leader").at("node") != *leader) return false;
  }
  const std::string* state = call.text("state");
  return state == nullptr || range.at("state") == *state;
}

std::string next_link(const Call& call, uint64_t after) {
  std::string link = fmt::format("</v1/ranges?cursor={}", after);
  for (const auto& [name, value] : call.parameters) {
    if (name != "cursor") link += fmt::format("&{}={}", name, percent_encode(value));
  }
  return link + ">; rel=\"next\"";
}

void range_list(const AdminSources& s, const CallPointer& call, const AdminDone& done) {
  const Node& node = *s.node;
  const std::string* keyspace = call->text("keyspace");
  const auto after = call->number("cursor");
  const uint64_t limit = call->number("limit").value_or(kPageMax);
  std::vector<RangeId> ids;
  if ((keyspace == nullptr || *keyspace == "system") && !after) ids.push_back(kSystemRange);
  bool more = false;
  if (keyspace == nullptr || *keyspace == "default") {
    auto range = after ? node.directory().ranges().upper_bound(RangeId{*after}) : node.directory().ranges().begin();
    for (; range != node.directory().ranges().end() && ids.size() < limit; ++range) ids.push_back(range->first);
    more = range != node.directory().ranges().end();
  }
  const std::string link = more ? next_link(*call, ids.back().value) : "";
  std::make_shared<Gather>(s, [call, done, link](const std::map<uint64_t, json>& found) {
    json list = json::array();
    for (const auto& [id, range] : found) {
      if (wanted(*call, range)) list.push_back(range);
    }
    AdminReply reply = json_reply(list);
    if (!link.empty()) reply.headers.emplace_back("Link", link);
    done(std::move(reply));
  })->start(ids);
}

void ranges(const AdminSources& s, const CallPointer& call, const AdminDone& done) {
  const std::string* keyspace = call->text("keyspace");
  if (keyspace != nullptr && *keyspace != "default" && *keyspace != "system") {
    return done(no_keyspace("keyspace").reply());
  }
  const std::string* key = call->text("key");
  if (key == nullptr) return range_list(s, call, done);
  const RangeId id = s.node->directory().range_of_slot(sharding::key_slot(*key));
  if (id.value == 0) return done(Problem{.status = 503, .detail = "the ranges are not created yet"}.reply());
  one_range(s, id, done);
}

}  // namespace

void add_range_routes(RouteTable& table, const AdminSources& s) {
  table.push_back(
      {.method = "GET",
       .path = "/v1/ranges",
       .id = "listRanges",
       .summary = "The ranges, or with `key` the one that holds it; each as its leader confirms it",
       .access = Access::kToken,
       .runs_on = RunsOn::kRangeLoop,
       .parameters =
           {{.name = "key",
             .kind = ParameterKind::kBytes,
             .help = "a key: the answer is its range's object, not a list",
             .example = "user:42"},
            {.name = "keyspace", .help = "default or system", .example = "default"},
            {.name = "node",
             .kind = ParameterKind::kNumber,
             .help = "only ranges with a replica there",
             .example = "1"},
            {.name = "leader", .kind = ParameterKind::kNumber, .help = "only ranges led by it", .example = "1"},
            {.name = "state",
             .kind = ParameterKind::kChoice,
             .help = "degraded: a replica is unreachable, far behind, or receives a snapshot",
             .example = "healthy",
             .choices = "healthy|degraded|leaderless|damaged"},
            {.name = "limit",
             .kind = ParameterKind::kNumber,
             .help = "ranges looked at for one page; the header Link names the next page",
             .example = "100",
             .low = 1,
             .high = kPageMax},
            {.name = "cursor",
             .kind = ParameterKind::kNumber,
             .help = "from Link: only ranges with a greater id",
             .example = "0"}},
       .body = {},
       .answers = {{200, kJson,
                    R"({"oneOf": [{"$ref": "#/components/schemas/Range"},
                                  {"type": "array", "items": {"$ref": "#/components/schemas/Range"}}]})",
                    "A list, or with `key` one object"},
                   {404, kProblemJson, "Problem", "No such keyspace"}},
       .run = [&s](const CallPointer& call, const AdminDone& done) { ranges(s, call, done); }});
  table.push_back({.method = "GET",
                   .path = "/v1/ranges/{id}",
                   .id = "getRange",
                   .summary = "One range",
                   .access = Access::kToken,
                   .runs_on = RunsOn::kRangeLoop,
                   .parameters = {{.name = "id", .kind = ParameterKind::kNumber, .help = "range id", .example = "1"}},
                   .body = {},
                   .answers = {{200, kJson, "Range", "The range"}, {404, kProblemJson, "Problem", "No such range"}},
                   .run = [&s](const CallPointer& call, const AdminDone& done) {
                     const RangeId id{call->number("id").value_or(0)};
                     if (known(*s.node, id)) return one_range(s, id, done);
                     done(Problem{.status = 404,
                                  .detail = fmt::format("no range {}", id.value),
                                  .hint = "/v1/ranges lists them.",
                                  .field = "id"}
                              .reply());
                   }});
}

}  // namespace cairn::server
