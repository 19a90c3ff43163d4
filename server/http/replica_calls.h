// Operations of the admin API that are about replicas of the node that is asked: all, those of a keyspace, or one.
#pragma once

#include <vector>

#include "server/http/admin_api.h"

namespace cairn::server {

std::vector<Parameter> replica_parameters();  // ?range= and ?keyspace=

Problem no_keyspace(std::string_view field);  // 404; `field`: the parameter that names it

// Calls `answer` with the replicas that the parameters choose; what is not here or does not exist is refused. `sources`
// outlives the handler.
using ReplicaAnswer = void (*)(const AdminSources&, const std::vector<Replica*>&, const AdminDone&);
Handler about_replicas(const AdminSources& sources, ReplicaAnswer answer);

}  // namespace cairn::server
