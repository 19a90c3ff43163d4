// CLIENT: this connection and the others of its node.
#include <optional>

#include "server/commands/command_info.h"
#include "server/resp/number.h"
#include "server/session/session.h"
#include "server/session/wording.h"

namespace cairn::server {
namespace {

constexpr std::string_view kDefaultUser = "default";
constexpr std::string_view kNoTracking =
    "ERR client side caching is not supported by this server; connect without CLIENT TRACKING";

bool is_normal(std::string_view type) { return equals_ignoring_case(type, "NORMAL"); }
bool is_client_type(std::string_view type) {
  return is_normal(type) || equals_ignoring_case(type, "MASTER") || equals_ignoring_case(type, "REPLICA") ||
         equals_ignoring_case(type, "SLAVE") || equals_ignoring_case(type, "PUBSUB");
}

// Which connections CLIENT KILL means. Every connection is of type normal and of user default.
struct KillFilter {
  std::optional<uint64_t> id;
  std::optional<std::string_view> peer;
  std::optional<std::string_view> local;
  bool none = false;  // a type that no connection has
  bool skip_me = true;

  bool matches(const Session& session, uint64_t me) const {
    return !none && (!id || session.id() == *id) && (!peer || session.peer_address() == *peer) &&
           (!local || session.local_address() == *local) && !(skip_me && session.id() == me);
  }
};

// False: an error was written.
bool parse_kill_filter(Argv options, KillFilter& filter, RespWriter& reply) {
  const auto fail = [&](std::string_view text) {
    reply.error(text);
    return false;
  };
  for (size_t i = 0; i < options.size(); i += 2) {
    if (i + 1 == options.size()) return fail(kSyntaxError);
    const std::string_view value = options[i + 1];
    if (equals_ignoring_case(options[i], "ID")) {
      int64_t id = 0;
      if (!parse_integer(value, id) || id < 1) return fail("ERR client-id should be greater than 0");
      filter.id = static_cast<uint64_t>(id);
    } else if (equals_ignoring_case(options[i], "TYPE")) {
      if (!is_client_type(value)) return fail(quoted_error("ERR Unknown client type '", value));
      filter.none = filter.none || !is_normal(value);
    } else if (equals_ignoring_case(options[i], "ADDR")) {
      filter.peer = value;
    } else if (equals_ignoring_case(options[i], "LADDR")) {
      filter.local = value;
    } else if (equals_ignoring_case(options[i], "USER")) {
      if (value != kDefaultUser) return fail(quoted_error("ERR No such user '", value));
    } else if (equals_ignoring_case(options[i], "SKIPME") &&
               (equals_ignoring_case(value, "YES") || equals_ignoring_case(value, "NO"))) {
      filter.skip_me = equals_ignoring_case(value, "YES");
    } else {
      return fail(kSyntaxError);
    }
  }
  return true;
}

}  // namespace

std::string Session::client_line() const {
  const Instant now = sink_.now();
  const auto seconds = [&](Instant since) { return std::to_string((now - std::min(now, since)) / kSecond); };
  std::string flags;
  if (transaction_.open()) flags += 'x';
  if (closing_) flags += 'c';
  if (postponed_) flags += 'b';
  if (read_only_) flags += 'r';
  if (no_evict_) flags += 'e';
  if (no_touch_) flags += 'T';
  if (flags.empty()) flags = "N";
  std::string line = "id=" + std::to_string(id_) + " addr=" + options_.peer_address +
                     " laddr=" + options_.local_address + " fd=" + std::to_string(options_.fd) + " name=" + name_ +
                     " age=" + seconds(created_) + " idle=" + seconds(last_input_) + " flags=" + flags +
                     " db=0 sub=0 psub=0 ssub=0 multi=";
  line += transaction_.open() ? std::to_string(transaction_.commands().size()) : "-1";
  line += " watch=" + std::to_string(transaction_.watched().size());
  line += " qbuf=" + std::to_string(input_.size());
  line += " qbuf-free=" + std::to_string(input_.capacity() - input_.size());
  line += " argv-mem=0 multi-mem=" + std::to_string(transaction_.bytes());
  line += " rbs=" + std::to_string(output_.capacity());
  line += " rbp=0 obl=" + std::to_string(output_.size());
  line += " oll=" + std::to_string(replies_.size()) + " omem=" + std::to_string(replies_.held_bytes());
  line += " tot-mem=" + std::to_string(memory_bytes());
  line += " events=r cmd=" + (last_command_ == nullptr ? "NULL" : full_name(*last_command_, last_subcommand_));
  line += " user=default redir=-1 resp=" + std::to_string(proto_);
  line += " lib-name=" + library_name_ + " lib-ver=" + library_version_;
  return line;
}

void Session::answer_client(std::string_view subcommand, Argv argv, RespWriter& reply) {
  const auto on_or_off = [&](bool& flag) {
    const bool on = equals_ignoring_case(argv[2], "ON");
    if (!on && !equals_ignoring_case(argv[2], "OFF")) return reply.error(kSyntaxError);
    flag = on;
    reply.ok();
  };
  if (subcommand == "ID") return reply.integer(static_cast<int64_t>(id_));
  if (subcommand == "INFO") return reply.verbatim(client_line() + "\n");
  if (subcommand == "LIST") return answer_client_list(argv, reply);
  if (subcommand == "GETNAME") return name_.empty() ? reply.null() : reply.bulk(name_);
  if (subcommand == "SETNAME") {
    if (set_name(argv[2], reply)) reply.ok();
    return;
  }
  if (subcommand == "SETINFO") return answer_client_setinfo(argv, reply);
  if (subcommand == "KILL") return answer_client_kill(argv, reply);
  if (subcommand == "PAUSE") return answer_client_pause(argv, reply);
  if (subcommand == "UNPAUSE") {
    sink_.hub().unpause();
    return reply.ok();
  }
  if (subcommand == "REPLY") return answer_client_reply(argv, reply);
  if (subcommand == "NO-EVICT") return on_or_off(no_evict_);
  if (subcommand == "NO-TOUCH") return on_or_off(no_touch_);
  if (subcommand == "GETREDIR") return reply.integer(-1);
  if (subcommand == "UNBLOCK") return answer_client_unblock(argv, reply);
  if (subcommand == "CACHING") {
    return reply.error(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled");
  }
  if (subcommand == "TRACKING") return answer_client_tracking(argv, reply);
  reply.map(3);  // TRACKINGINFO
  reply.bulk("flags");
  reply.set(1);
  reply.bulk("off");
  reply.bulk("redirect");
  reply.integer(-1);
  reply.bulk("prefixes");
  reply.array(0);
}

void Session::answer_client_setinfo(Argv argv, RespWriter& reply) {
  const bool name = equals_ignoring_case(argv[2], "LIB-NAME");
  if (!name && !equals_ignoring_case(argv[2], "LIB-VER")) {
    return reply.error(quoted_error("ERR Unrecognized option '", argv[2]));
  }
  if (!printable(argv[3])) {
    return reply.error(std::string("ERR ") + (name ? "lib-name" : "lib-ver") +
                       " cannot contain spaces, newlines or special characters.");
  }
  (name ? library_name_ : library_version_) = argv[3];
  reply.ok();
}

void Session::answer_client_list(Argv argv, RespWriter& reply) {
  const SessionHub& hub = sink_.hub();
  std::vector<Session*> listed;
  if (argv.size() == 2) {
    listed = hub.in_order();
  } else if (argv.size() == 4 && equals_ignoring_case(argv[2], "TYPE")) {
    if (!is_client_type(argv[3])) return reply.error(quoted_error("ERR Unknown client type '", argv[3]));
    if (is_normal(argv[3])) listed = hub.in_order();
  } else if (argv.size() > 3 && equals_ignoring_case(argv[2], "ID")) {
    for (const std::string_view text : argv.subspan(3)) {
      int64_t id = 0;
      if (!parse_integer(text, id)) return reply.error("ERR Invalid client ID");
      if (Session* session = id < 1 ? nullptr : hub.find(static_cast<uint64_t>(id))) listed.push_back(session);
    }
  } else {
    return reply.error(kSyntaxError);
  }
  std::string text;
  for (const Session* session : listed) text += session->client_line() + '\n';
  reply.verbatim(text);
}

void Session::answer_client_kill(Argv argv, RespWriter& reply) {
  KillFilter filter;
  const bool by_address = argv.size() == 3;  // CLIENT KILL host:port
  if (by_address) {
    filter.peer = argv[2];
    filter.skip_me = false;
  } else if (!parse_kill_filter(argv.subspan(2), filter, reply)) {
    return;
  }
  SessionHub& hub = sink_.hub();
  int64_t killed = 0;
  for (Session* session : hub.in_order()) {
    if (!filter.matches(*session, id_)) continue;
    ++killed;
    hub.limits.killed.add();
    if (session == this) {
      closing_ = true;  // behind this reply
    } else {
      session->kill();
      if (hub.output_ready) hub.output_ready(session->id());
    }
  }
  if (!by_address) return reply.integer(killed);
  if (killed == 0) return reply.error("ERR No such client");
  reply.ok();
}

void Session::answer_client_pause(Argv argv, RespWriter& reply) {
  PauseMode mode = PauseMode::kAll;
  if (argv.size() > 4) return reply.error(odd_arguments("CLIENT", argv[1]));
  if (argv.size() == 4) {
    if (equals_ignoring_case(argv[3], "WRITE")) {
      mode = PauseMode::kWrites;
    } else if (!equals_ignoring_case(argv[3], "ALL")) {
      return reply.error("ERR CLIENT PAUSE mode must be WRITE or ALL");
    }
  }
  int64_t ms = 0;
  if (!parse_integer(argv[2], ms) || ms > INT64_MAX / static_cast<int64_t>(2 * kMillisecond)) {
    return reply.error("ERR timeout is not an integer or out of range");
  }
  if (ms < 0) return reply.error("ERR timeout is negative");
  const Instant now = sink_.now();
  sink_.hub().pause(mode, now + static_cast<Duration>(ms) * kMillisecond, now);
  reply.ok();
}

void Session::switch_replies(std::string_view subcommand, Argv argv) {
  if (subcommand != "REPLY") return;
  if (equals_ignoring_case(argv[2], "ON")) {
    replies_off_ = false;
    replies_.set_muted(false);
  } else if (equals_ignoring_case(argv[2], "OFF")) {
    replies_off_ = true;
    replies_.set_muted(true);
  } else if (equals_ignoring_case(argv[2], "SKIP")) {
    skip_next_ = !replies_off_;
    replies_.set_muted(true);
  }
}

void Session::answer_client_reply(Argv argv, RespWriter& reply) {
  if (equals_ignoring_case(argv[2], "ON")) return reply.ok();
  if (equals_ignoring_case(argv[2], "OFF") || equals_ignoring_case(argv[2], "SKIP")) return;
  reply.error(kSyntaxError);
}

void Session::answer_client_tracking(Argv argv, RespWriter& reply) {
  const bool on = equals_ignoring_case(argv[2], "ON");
  if (!on && !equals_ignoring_case(argv[2], "OFF")) return reply.error(kSyntaxError);
  if (on) return reply.error(kNoTracking);
  reply.ok();
}

// Nothing blocks a connection for long but a pause, and Redis does not unblock those either.
void Session::answer_client_unblock(Argv argv, RespWriter& reply) {
  if (argv.size() > 4) return reply.error(odd_arguments("CLIENT", argv[1]));
  if (argv.size() == 4 && !equals_ignoring_case(argv[3], "TIMEOUT") && !equals_ignoring_case(argv[3], "ERROR")) {
    return reply.error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
  }
  int64_t id = 0;
  if (!parse_integer(argv[2], id)) return reply.error(kNotAnInteger);
  reply.integer(0);
}

}  // namespace cairn::server
