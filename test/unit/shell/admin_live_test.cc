// The admin API over a node in one thread: dispatch, and what is only served where the node offers it.
#include <catch2/catch.hpp>

#include <set>

#include "server/http/admin_api.h"
#include "server/http/json_schema.h"
#include "test/support/node_harness.h"

using namespace cairn;
using namespace cairn::server;
using nlohmann::json;

namespace {

struct Fixture {
  test::NodeHarness nodes;
  test::HarnessNode* node = nullptr;
  RealClock clock;
  EventLoop loop{clock};
  config::NodeConfig config;
  CommandStats stats;
  AdminSources sources;
  std::unique_ptr<AdminApi> api;

  explicit Fixture(LiveSources live = {}) {
    NodeOptions options = test::NodeHarness::options("one");
    options.bootstrap = true;
    node = &nodes.start(options);
    REQUIRE(nodes.run_until([&] { return node->node->ready(nullptr); }));
    config.requirepass = "secret";
    sources.node = node->node.get();
    sources.loop = &loop;
    sources.range_executor = sources.admin_executor = &nodes.machine.loop;
    sources.config = &config;
    sources.stats = &stats;
    sources.live = std::move(live);
    api = std::make_unique<AdminApi>(sources, GuardOptions{});
  }

  AdminReply ask(const char* method, const char* target, const json& body = nullptr, const char* if_match = nullptr) {
    AdminRequest request{method, target, {{"host", "localhost"}}, body.is_null() ? "" : body.dump()};
    if (!body.is_null()) request.headers.emplace_back("content-type", "application/json");
    if (if_match != nullptr) request.headers.emplace_back("if-match", if_match);
    std::optional<AdminReply> reply;
    api->handle(std::move(request), [&](AdminReply r) { reply = std::move(r); });
    REQUIRE(nodes.run_until([&] { return reply.has_value(); }));
    return *reply;
  }
};

std::string header(const AdminReply& reply, std::string_view name) {
  for (const auto& [known, value] : reply.headers) {
    if (known == name) return value;
  }
  return "";
}

}  // namespace

TEST_CASE("a route that the node does not offer is not there, and not described") {
  Fixture f;
  CHECK(f.ask("PATCH", "/v1/config", {{"log.level", "info"}}).status == 405);
  CHECK(f.ask("GET", "/v1/node/slow-commands").status == 404);
  const json described = json::parse(f.ask("GET", "/v1/openapi.json").body);
  CHECK_FALSE(described.at("paths").at("/v1/config").contains("patch"));
  std::set<std::string> paths;
  const json index = json::parse(f.ask("GET", "/v1").body);
  for (const json& operation : index.at("operations")) paths.insert(operation.at("path"));
  CHECK(described.at("paths").size() == paths.size());
}

TEST_CASE("PATCH of the configuration: all or none, guarded by If-Match") {
  LiveSources live;
  LiveConfig::Changes seen;
  Fixture* fixture = nullptr;
  live.apply_config = [&](const LiveConfig::Changes& changes) -> Result<std::vector<ConfigChange>> {
    seen = changes;
    for (const auto& [key, value] : changes) {
      if (key == "data_dir") return Error{ErrorCode::kInvalidArgument, "`data_dir` cannot change while the node runs"};
    }
    fixture->config.log_level = "debug";
    return std::vector<ConfigChange>{{"log.level", "info", "debug"}};
  };
  Fixture f(live);
  fixture = &f;
  const std::string tag = header(f.ask("GET", "/v1/config"), "ETag");
  REQUIRE(tag.size() == 10);
  const AdminReply done =
      f.ask("PATCH", "/v1/config", {{"log.level", "debug"}, {"client.max", 5}, {"insecure", false}}, tag.c_str());
  CHECK(done.status == 200);
  CHECK(json::parse(done.body) == json::parse(R"([{"key": "log.level", "before": "info", "after": "debug"}])"));
  CHECK(seen == LiveConfig::Changes{{"client.max", "5"}, {"insecure", "false"}, {"log.level", "debug"}});
  CHECK(header(done, "ETag") == header(f.ask("GET", "/v1/config"), "ETag"));
  CHECK(header(done, "ETag") != tag);
  CHECK(f.ask("PATCH", "/v1/config", {{"log.level", "warn"}}, tag.c_str()).status == 412);
  CHECK(f.ask("PATCH", "/v1/config", {{"log.level", "warn"}}, "*").status == 200);
  const auto field = [](const AdminReply& reply) { return json::parse(reply.body).at("field"); };
  const AdminReply fixed = f.ask("PATCH", "/v1/config", {{"data_dir", "x"}, {"log.level", "warn"}});
  CHECK((fixed.status == 400 && field(fixed) == "data_dir"));
  seen.clear();
  const AdminReply unknown = f.ask("PATCH", "/v1/config", {{"no.key", "x"}});
  CHECK((unknown.status == 400 && field(unknown) == "no.key"));
  const AdminReply list = f.ask("PATCH", "/v1/config", {{"log.level", json::array()}});
  CHECK((list.status == 400 && field(list) == "log.level"));
  CHECK(seen.empty());
}

TEST_CASE("slow commands: any bytes are shown as text") {
  LiveSources live;
  SlowLog log;
  const auto add = [&](std::vector<std::string_view> argv, SlowLog::Entry entry) {
    pack_arguments(argv, entry.arguments);
    log.add(std::move(entry), 10);
  };
  add({"GET"}, {0, 1, 2, {}, "", ""});
  add({"SET", std::string_view("a\0\xff\\", 4)}, {0, 1700000000, 12345, {}, "127.0.0.1:5", "me"});
  live.slow_log = &log;
  Fixture f(live);
  const AdminReply reply = f.ask("GET", "/v1/node/slow-commands");
  REQUIRE(reply.status == 200);
  const json list = json::parse(reply.body);
  CHECK_FALSE(
      check_schema(schema_of(R"({"type": "array", "items": {"$ref": "#/components/schemas/SlowCommand"}})"), list));
  CHECK(list.size() == 2);
  CHECK(list[0].at("arguments") == json::array({"SET", "a\\x00\\xff\\x5c"}));
  CHECK(json::parse(f.ask("GET", "/v1/node/slow-commands?limit=1").body).size() == 1);
}
