// The commands that a connection answers by itself.
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/version.h"
#include "server/commands/command_info.h"
#include "server/commands/key_access.h"
#include "server/resp/number.h"
#include "server/session/cluster_reply.h"
#include "server/session/info_reply.h"
#include "server/session/node_commands.h"
#include "server/session/session.h"
#include "server/session/wording.h"

namespace cairn::server {
namespace {

constexpr std::string_view kDefaultUser = "default";

// Takes the same time wherever the two differ, whatever their lengths.
bool same_secret(std::string_view a, std::string_view b) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> hash_a, hash_b;
  SHA256(reinterpret_cast<const unsigned char*>(a.data()), a.size(), hash_a.data());
  SHA256(reinterpret_cast<const unsigned char*>(b.data()), b.size(), hash_b.data());
  return CRYPTO_memcmp(hash_a.data(), hash_b.data(), hash_a.size()) == 0;
}

std::string self_hex(const Topology& topology) {
  for (const TopologyNode& node : topology.nodes) {
    if (node.id == topology.self) return node.hex_id;
  }
  return {};
}

}  // namespace

void Session::answer(const CommandSpec& spec, const SubcommandSpec* subcommand, Argv argv, RespWriter& reply) {
  const std::string_view sub = subcommand == nullptr ? std::string_view{} : subcommand->name;
  if (sub == "HELP") return answer_help(spec, reply);
  switch (spec.session) {
    case SessionCommand::kPing:
      if (argv.size() > 2) return reply.error("ERR wrong number of arguments for 'ping' command");
      return argv.size() == 2 ? reply.bulk(argv[1]) : reply.status("PONG");
    case SessionCommand::kEcho: return reply.bulk(argv[1]);
    case SessionCommand::kHello: return answer_hello(argv, reply);
    case SessionCommand::kAuth: return answer_auth(argv, reply);
    case SessionCommand::kSelect: return answer_select(argv, reply);
    case SessionCommand::kUnwatch: transaction_.unwatch(); return reply.ok();
    case SessionCommand::kMulti:
    case SessionCommand::kDiscard:
    case SessionCommand::kExec:
    case SessionCommand::kWatch: break;  // execute_transaction()
    case SessionCommand::kSwapdb: return answer_swapdb(argv, reply);
    case SessionCommand::kQuit: closing_ = true; return reply.ok();
    case SessionCommand::kReset: return answer_reset(reply);
    case SessionCommand::kClient: return answer_client(sub, argv, reply);
    case SessionCommand::kInfo:
      return reply.verbatim(info_text(sink_.info_sections(), argv.subspan(1), sink_.whole(), options_.stats));
    case SessionCommand::kCommand: return answer_command(sub, argv, reply);
    case SessionCommand::kConfig: return answer_config(sub, argv, reply);
    case SessionCommand::kTime: return answer_time(reply);
    case SessionCommand::kSlowlog: return answer_slowlog(sub, argv, sink_.hub(), reply);
    case SessionCommand::kLatency:
      return answer_latency(sub, argv, sink_.hub(), options_.stats, sink_.wall_us() / 1'000'000, reply);
    case SessionCommand::kMemory: return answer_memory(sub, sink_.info_sections(), sink_.hub(), reply);
    case SessionCommand::kModule: return reply.array(0);
    case SessionCommand::kAcl: return answer_acl(sub, argv, !sink_.requirepass().empty(), reply);
    case SessionCommand::kLolwut: return answer_lolwut(self_hex(sink_.topology()), kVersion, reply);
    case SessionCommand::kCluster:
      if (sub == "SLOTS" || sub == "SHARDS" || sub == "NODES") note_cluster_client();
      return answer_cluster(sub, argv, sink_.topology(), reply);
    case SessionCommand::kReadonly:
      note_cluster_client();
      read_only_ = true;
      return reply.ok();
    case SessionCommand::kReadwrite: read_only_ = false; return reply.ok();
    case SessionCommand::kAsking: note_cluster_client(); return reply.ok();
    case SessionCommand::kNone: break;
  }
  reply.error("ERR internal error: this command has no answer");
}

bool Session::log_in(std::string_view user, std::string_view password, RespWriter& reply) {
  const std::string_view required = sink_.requirepass();
  // The comparison is made for unknown users too, so that the time does not tell which users exist.
  const bool right = same_secret(password, required) || required.empty();
  if (!right || user != kDefaultUser) {
    reply.error("WRONGPASS invalid username-password pair or user is disabled.");
    return false;
  }
  set_authenticated(true);
  return true;
}

void Session::answer_auth(Argv argv, RespWriter& reply) {
  if (argv.size() > 3) return reply.error(kSyntaxError);
  if (argv.size() == 2 && sink_.requirepass().empty()) {
    return reply.error(
        "ERR AUTH <password> called without any password configured for the default user. Are you sure your "
        "configuration is correct?");
  }
  if (log_in(argv.size() == 3 ? argv[1] : kDefaultUser, argv.back(), reply)) reply.ok();
}

bool Session::set_name(std::string_view name, RespWriter& reply) {
  if (!printable(name)) {
    reply.error("ERR Client names cannot contain spaces, newlines or special characters.");
    return false;
  }
  name_ = name;
  return true;
}

void Session::answer_hello(Argv argv, RespWriter& reply) {
  int64_t proto = proto_;
  if (argv.size() > 1) {
    if (!parse_integer(argv[1], proto)) {
      return reply.error("ERR Protocol version is not an integer or out of range");
    }
    if (proto < 2 || proto > 3) return reply.error("NOPROTO unsupported protocol version");
  }
  std::optional<std::pair<std::string_view, std::string_view>> credentials;
  std::optional<std::string_view> name;
  for (size_t i = 2; i < argv.size(); ++i) {
    const size_t more = argv.size() - 1 - i;
    if (equals_ignoring_case(argv[i], "AUTH") && more >= 2) {
      credentials = {argv[i + 1], argv[i + 2]};
      i += 2;
    } else if (equals_ignoring_case(argv[i], "SETNAME") && more >= 1) {
      name = argv[++i];
    } else {
      return reply.error(quoted_error("ERR Syntax error in HELLO option '", argv[i]));
    }
  }
  if (credentials && !log_in(credentials->first, credentials->second, reply)) return;
  if (!authenticated()) {
    return reply.error(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> "
        "<pass> "
        "option can be used to authenticate the client and select the RESP protocol version at the same "
        "time");
  }
  if (name && !set_name(*name, reply)) return;
  proto_ = static_cast<int>(proto);
  RespWriter map(reply.buffer(), proto_);  // the answer is in the protocol just chosen
  map.map(7);
  map.bulk("server");
  map.bulk("redis");  // clients look at this name; ours is INFO's cairn_version
  map.bulk("version");
  map.bulk(kRedisVersion);
  map.bulk("proto");
  map.integer(proto_);
  map.bulk("id");
  map.integer(static_cast<int64_t>(id_));
  map.bulk("mode");
  map.bulk(sink_.whole() ? "standalone" : "cluster");
  map.bulk("role");
  map.bulk("master");
  map.bulk("modules");
  map.array(0);
}

void Session::answer_select(Argv argv, RespWriter& reply) {
  int64_t index = 0;
  if (!parse_integer(argv[1], index) || index > INT32_MAX || index < INT32_MIN) return reply.error(kNotAnInteger);
  if (index != 0) return reply.error("ERR DB index is out of range");
  reply.ok();
}

// There is one database, and in a cluster Redis has one too.
void Session::answer_swapdb(Argv argv, RespWriter& reply) {
  if (!sink_.whole()) return reply.error("ERR SWAPDB is not allowed in cluster mode");
  int64_t indexes[2] = {};
  for (size_t i = 0; i < 2; ++i) {
    if (!parse_integer(argv[1 + i], indexes[i]) || indexes[i] != static_cast<int32_t>(indexes[i])) {
      return reply.error(i == 0 ? "ERR invalid first DB index" : "ERR invalid second DB index");
    }
  }
  if (indexes[0] != 0 || indexes[1] != 0) return reply.error("ERR DB index is out of range");
  reply.ok();
}

void Session::answer_reset(RespWriter& reply) {
  proto_ = 2;
  name_.clear();
  cluster_client_ = false;
  read_only_ = false;
  transaction_.end();
  no_evict_ = no_touch_ = replies_off_ = skip_next_ = false;
  set_authenticated(sink_.requirepass().empty());
  reply.status("RESET");
}

void Session::answer_time(RespWriter& reply) {
  const uint64_t now_us = sink_.wall_us();
  reply.array(2);
  for (const uint64_t part : {now_us / 1'000'000, now_us % 1'000'000}) {
    char digits[24];
    const char* end = std::to_chars(digits, digits + sizeof digits, part).ptr;
    reply.bulk({digits, static_cast<size_t>(end - digits)});
  }
}

}  // namespace cairn::server
