#include "server/http/replica_calls.h"

#include <fmt/format.h>

namespace cairn::server {
namespace {

// Empty: the range that is asked for is not here.
std::vector<Replica*> replicas_of(const Node& node, const Call& call) {
  std::vector<Replica*> found;
  const auto wanted = call.number("range");
  const std::string* keyspace = call.text("keyspace");
  for (const auto& [id, replica] : node.replicas()) {
    if (wanted && id.value != *wanted) continue;
    if (keyspace != nullptr && (id == kSystemRange) != (*keyspace == "system")) continue;
    found.push_back(replica.get());
  }
  return found;
}

Problem no_replica(const Call& call) {
  return {.status = 404,
          .detail = fmt::format("range {} has no replica on this node", call.number("range").value_or(0)),
          .hint = "/v1/ranges tells where its replicas are.",
          .field = "range"};
}

}  // namespace

std::vector<Parameter> replica_parameters() {
  return {{.name = "range",
           .kind = ParameterKind::kNumber,
           .help = "only this range; it has a replica here",
           .example = "1"},
          {.name = "keyspace", .help = "only the ranges of this keyspace: default or system", .example = "default"}};
}

Problem no_keyspace(std::string_view field) {
  return {.status = 404,
          .detail = "no keyspace of that name",
          .hint = "/v1/keyspaces lists them.",
          .field = std::string(field)};
}

Handler about_replicas(const AdminSources& sources, ReplicaAnswer answer) {
  return [&sources, answer](const CallPointer& call, const AdminDone& done) {
    const std::string* keyspace = call->text("keyspace");
    if (keyspace != nullptr && *keyspace != "default" && *keyspace != "system") {
      return done(no_keyspace("keyspace").reply());
    }
    const auto replicas = replicas_of(*sources.node, *call);
    if (replicas.empty() && call->number("range")) return done(no_replica(*call).reply());
    answer(sources, replicas, done);
  };
}

}  // namespace cairn::server
