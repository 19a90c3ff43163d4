// This node itself: its configuration, its log level, where its loops' time goes.
#include <fmt/format.h>

#include <algorithm>

#include "server/http/admin_api.h"
#include "server/http/config_json.h"
#include "server/observe/logging.h"

namespace cairn::server {
namespace {

using nlohmann::json;

void configuration(const AdminSources& s, const AdminDone& done) {
  AdminReply reply = json_reply(config_json(*s.config));
  reply.headers.emplace_back("ETag", config_tag(*s.config));
  done(std::move(reply));
}

void configuration_key(const AdminSources& s, const std::string& name, const AdminDone& done) {
  const auto keys = config::key_specs();
  const auto key = std::find_if(keys.begin(), keys.end(), [&](const config::KeySpec& k) { return k.name == name; });
  if (key != keys.end()) return done(json_reply(key_json(*key, *s.config)));
  done(Problem{.status = 404, .detail = "no key of that name", .hint = "/v1/config lists them.", .field = "key"}
           .reply());
}

// The level of the log, and when it goes back to what it was. On the admin loop.
class LogLevelControl {
 public:
  explicit LogLevelControl(Executor& loop) : loop_(loop) {}

  json state() const {
    return {{"level", name_of(log_level())}, {"returns_to", timer_ == 0 ? json(nullptr) : json(name_of(before_))}};
  }
  void set(LogLevel level, uint64_t for_s) {
    if (timer_ != 0) {
      loop_.cancel(std::exchange(timer_, 0));
    } else {
      before_ = log_level();
    }
    set_log_level(level);
    log_line(LogLevel::kInfo, fmt::format("log level {}, set through the admin API", name_of(level)));
    if (for_s == 0) return;
    timer_ = loop_.run_after(for_s * kSecond, [this] {
      timer_ = 0;
      set_log_level(before_);
    });
  }

 private:
  Executor& loop_;
  LogLevel before_ = LogLevel::kInfo;
  TimerId timer_ = 0;
};

using Profiles = std::vector<LoopProfile::View>;

Profiles look(const AdminSources& s) {
  Profiles views;
  for (const auto& [name, loop] : s.loops) views.push_back(loop->profile().view());
  return views;
}

json profile_json(const AdminSources& s, const Profiles& before, uint64_t seconds) {
  const Profiles now = look(s);
  json loops = json::array();
  for (size_t i = 0; i < now.size(); ++i) {
    const LoopProfile::View view = before.empty() ? now[i] : now[i].since(before[i]);
    uint64_t all = 0;
    for (const uint64_t ns : view.ns) all += ns;
    const auto idle = static_cast<size_t>(LoopProfile::Phase::kIdle);
    json phases = json::object();
    for (size_t p = 0; p < LoopProfile::kPhases; ++p) {
      phases[LoopProfile::kPhaseNames[p]] = static_cast<double>(view.ns[p]) * 1e-9;
    }
    loops.push_back(
        {{"loop", s.loops[i].first},
         {"turns", view.turns.total()},
         {"busy_share", all == 0 ? 0.0 : static_cast<double>(all - view.ns[idle]) / static_cast<double>(all)},
         {"phases_s", std::move(phases)},
         {"turn_s",
          {{"p50", view.turns.quantile_s(0.5)},
           {"p99", view.turns.quantile_s(0.99)},
           {"p999", view.turns.quantile_s(0.999)}}}});
  }
  return {{"seconds", before.empty() ? json(nullptr) : json(seconds)}, {"loops", std::move(loops)}};
}

void profile(const AdminSources& s, uint64_t seconds, const AdminDone& done) {
  if (seconds == 0) return done(json_reply(profile_json(s, {}, 0)));
  s.admin_executor->run_after(
      seconds * kSecond, [&s, before = look(s), seconds, done] { done(json_reply(profile_json(s, before, seconds))); });
}

}  // namespace

void add_node_routes(RouteTable& table, const AdminSources& s) {
  const auto level = std::make_shared<LogLevelControl>(*s.admin_executor);
  table.push_back({.method = "GET",
                   .path = "/v1/config",
                   .id = "listConfig",
                   .summary = "This node's configuration: every key, its value and where that came from",
                   .access = Access::kToken,
                   .runs_on = RunsOn::kRangeLoop,
                   .parameters = {},
                   .body = {},
                   .answers = {{200, kJson, R"({"type": "array", "items": {"$ref": "#/components/schemas/ConfigKey"}})",
                                "All keys; secrets without their value"}},
                   .run = [&s](const CallPointer&, const AdminDone& done) { configuration(s, done); }});
  table.push_back({.method = "GET",
                   .path = "/v1/config/{key}",
                   .id = "getConfig",
                   .summary = "One key of the configuration",
                   .access = Access::kToken,
                   .runs_on = RunsOn::kRangeLoop,
                   .parameters = {{.name = "key", .help = "name of the key", .example = "log.level"}},
                   .body = {},
                   .answers = {{200, kJson, "ConfigKey", "The key"}, {404, kProblemJson, "Problem", "No such key"}},
                   .run = [&s](const CallPointer& call, const AdminDone& done) {
                     configuration_key(s, *call->text("key"), done);
                   }});
  table.push_back({.method = "GET",
                   .path = "/v1/node/log-level",
                   .id = "getLogLevel",
                   .summary = "Which log lines this node writes now",
                   .access = Access::kToken,
                   .runs_on = RunsOn::kAdminThread,
                   .parameters = {},
                   .body = {},
                   .answers = {{200, kJson, "LogLevel", "The level"}},
                   .run = [level](const CallPointer&, const AdminDone& done) { done(json_reply(level->state())); }});
  table.push_back({.method = "PUT",
                   .path = "/v1/node/log-level",
                   .id = "putLogLevel",
                   .summary = "Changes it until the node ends, or for `for_s` seconds",
                   .access = Access::kToken,
                   .runs_on = RunsOn::kAdminThread,
                   .parameters = {},
                   .body = "LogLevelChange",
                   .answers = {{200, kJson, "LogLevel", "The new level"}},
                   .run = [level](const CallPointer& call, const AdminDone& done) {
                     level->set(*log_level_named(call->body.at("level").get<std::string>()),
                                call->body.value("for_s", uint64_t{0}));
                     done(json_reply(level->state()));
                   }});
  table.push_back({.method = "GET",
                   .path = "/v1/node/profile",
                   .id = "getProfile",
                   .summary = "Where the time of this node's event loops goes",
                   .access = Access::kToken,
                   .runs_on = RunsOn::kAdminThread,
                   .parameters = {{.name = "seconds",
                                   .kind = ParameterKind::kNumber,
                                   .help = "how long to watch; 0: since the start, at once",
                                   .example = "1",
                                   .low = 0,
                                   .high = 8}},
                   .body = {},
                   .answers = {{200, kJson, "Profile", "One entry per loop"}},
                   .run = [&s](const CallPointer& call, const AdminDone& done) {
                     profile(s, call->number("seconds").value_or(1), done);
                   }});
}

}  // namespace cairn::server
