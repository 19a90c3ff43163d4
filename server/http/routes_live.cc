// What changes in a running node: its configuration, and the list of its slow commands.
#include <fmt/format.h>

#include <algorithm>

#include "server/http/admin_api.h"
#include "server/http/config_json.h"

namespace cairn::server {
namespace {

using nlohmann::json;

// A member of a PATCH as a file would have it.
std::string as_text(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.dump();
}

void patch(const AdminSources& s, const CallPointer& call, const AdminDone& done) {
  const std::string* wanted = call->request.header("if-match");
  if (wanted != nullptr && *wanted != "*" && *wanted != config_tag(*s.config)) {
    return done(Problem{.status = 412,
                        .detail = "the configuration is another one by now",
                        .hint = "GET /v1/config again; its ETag is what If-Match needs.",
                        .field = "if-match"}
                    .reply());
  }
  LiveConfig::Changes changes;
  const auto keys = config::key_specs();
  for (const auto& [name, value] : call->body.items()) {
    const bool known = std::any_of(keys.begin(), keys.end(),
                                   [&, key = std::string_view(name)](const auto& k) { return k.name == key; });
    if (!known) {
      return done(Problem{.status = 400,
                          .detail = fmt::format("there is no key `{}`", name),
                          .hint = "/v1/config lists them.",
                          .field = name}
                      .reply());
    }
    changes.emplace_back(name, as_text(value));
  }
  const auto applied = s.live.apply_config(changes);
  if (!applied) {
    // The error names the key that is wrong.
    const auto wrong = std::find_if(changes.begin(), changes.end(), [&](const auto& change) {
      return applied.error().message.find("`" + change.first + "`") != std::string::npos;
    });
    return done(Problem{.status = 400,
                        .detail = applied.error().message,
                        .hint = "Nothing was changed.",
                        .field = wrong == changes.end() ? "" : wrong->first}
                    .reply());
  }
  json list = json::array();
  for (const ConfigChange& change : *applied) {
    list.push_back({{"key", change.key}, {"before", change.before}, {"after", change.after}});
  }
  AdminReply reply = json_reply(list);
  reply.headers.emplace_back("ETag", config_tag(*s.config));
  done(std::move(reply));
}

// Bytes that are no printable text as \xNN.
std::string printable(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= ' ' && byte < 127 && c != '\\') {
      out.push_back(c);
    } else {
      out += fmt::format("\\x{:02x}", byte);
    }
  }
  return out;
}

void slow_commands(const AdminSources& s, const CallPointer& call, const AdminDone& done) {
  const uint64_t limit = call->number("limit").value_or(128);
  json list = json::array();
  for (const SlowLog::Entry& command : s.live.slow_log->entries()) {
    if (list.size() >= limit) break;
    json arguments = json::array();
    for (const std::string_view argument : unpack_arguments(command.arguments))
      arguments.push_back(printable(argument));
    list.push_back({{"id", command.id},
                    {"at", command.second},
                    {"duration_us", command.us},
                    {"arguments", std::move(arguments)},
                    {"client", command.client},
                    {"client_name", printable(command.name)}});
  }
  done(json_reply(list));
}

}  // namespace

void add_live_routes(RouteTable& table, const AdminSources& s) {
  if (s.live.apply_config) {
    table.push_back(
        {.method = "PATCH",
         .path = "/v1/config",
         .id = "patchConfig",
         .summary = "Changes keys of the running node, all or none; If-Match guards against a change in between",
         .access = Access::kToken,
         .runs_on = RunsOn::kRangeLoop,
         .parameters = {},
         .body = "ConfigChanges",
         .answers = {{200, kJson, R"({"type": "array", "items": {"$ref": "#/components/schemas/ConfigChange"}})",
                      "What is another value now"},
                     {412, kProblemJson, "Problem", "If-Match names another state of the configuration"}},
         .run = [&s](const CallPointer& call, const AdminDone& done) { patch(s, call, done); }});
  }
  if (s.live.slow_log != nullptr) {
    table.push_back(
        {.method = "GET",
         .path = "/v1/node/slow-commands",
         .id = "listSlowCommands",
         .summary = "The newest commands of this node's clients that took long, as SLOWLOG keeps them",
         .access = Access::kToken,
         .runs_on = RunsOn::kRangeLoop,
         .parameters = {{.name = "limit",
                         .kind = ParameterKind::kNumber,
                         .help = "at most so many",
                         .example = "10",
                         .low = 1,
                         .high = 1000}},
         .body = {},
         .answers = {{200, kJson, R"({"type": "array", "items": {"$ref": "#/components/schemas/SlowCommand"}})",
                      "Newest first"}},
         .run = [&s](const CallPointer& call, const AdminDone& done) { slow_commands(s, call, done); }});
  }
}

}  // namespace cairn::server
