// The answers to CLUSTER's subcommands, from the advertised topology.
#pragma once

#include <string_view>

#include "server/commands/command.h"
#include "server/session/command_sink.h"

namespace cairn::server {

// `subcommand`: in upper case, one of subcommand_table().
void answer_cluster(std::string_view subcommand, Argv argv, const Topology& topology, RespWriter& reply);

}  // namespace cairn::server
