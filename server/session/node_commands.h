// The answers to commands about the node as a whole: SLOWLOG, LATENCY, MEMORY, MODULE, ACL, LOLWUT.
#pragma once

#include <string_view>

#include "server/commands/command.h"
#include "server/session/command_sink.h"
#include "server/session/hub.h"

namespace cairn::server {

// `subcommand`: in upper case, one of subcommand_table(), not HELP.
void answer_slowlog(std::string_view subcommand, Argv argv, SessionHub& hub, RespWriter& reply);
void answer_latency(std::string_view subcommand, Argv argv, SessionHub& hub, const CommandStats* stats,
                    uint64_t second_now, RespWriter& reply);
void answer_memory(std::string_view subcommand, const InfoSections& facts, const SessionHub& hub, RespWriter& reply);
void answer_acl(std::string_view subcommand, Argv argv, bool password, RespWriter& reply);
void answer_lolwut(std::string_view run_id, std::string_view version, RespWriter& reply);

}  // namespace cairn::server
