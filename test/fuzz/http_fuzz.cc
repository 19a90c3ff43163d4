// Any bytes as HTTP requests of one connection, through parser, guard and router: no crash, one answer for each request
// that is handed on, and none that a header could split.
#include <cstdint>
#include <string>
#include <string_view>

#include "server/http/embedded.h"
#include "server/http/http_guard.h"
#include "server/http/http_request.h"
#include "server/http/router.h"
#include "test/fuzz/check.h"

namespace cairn::server {
const std::string_view kSchemasJson = R"({"components":{"schemas":{}}})";
}

using namespace cairn;
using fuzz::check;
using namespace cairn::server;
namespace http = boost::beast::http;

namespace {
class InlineExecutor final : public Executor {
 public:
  void post(Task task) override { task(); }
  TimerId run_after(Duration, Task) override { return 0; }
  void cancel(TimerId) override {}
};

RouteTable routes() {
  const auto route = [](std::string_view method, std::string_view path) {
    Route route;
    route.method = method;
    route.path = path;
    route.id = path;
    route.answers = {{.type = kJson, .schema = R"({"type":"object"})", .help = "what came"}};
    route.run = [](CallPointer call, AdminDone done) {
      nlohmann::json body = {{"body", call->body}};
      for (const auto& [name, value] : call->parameters)
        body["parameters"][percent_encode(name)] = percent_encode(value);
      done(json_reply(body));
    };
    return route;
  };
  RouteTable table = {route("GET", "/v1/things"), route("GET", "/v1/things/{id}"), route("PATCH", "/v1/things")};
  table[0].access = Access::kOpen;
  table[1].parameters = {{"id", ParameterKind::kNumber, "", "", "", 1, 99},
                         {"view", ParameterKind::kChoice, "", "", "full|short"},
                         {"key", ParameterKind::kBytes, "", ""}};
  table[2].body = R"({"type":"object","additionalProperties":false,"properties":{"a":{"type":"integer","minimum":0},)"
                  R"("b":{"type":"array","maxItems":3,"items":{"type":"string","enum":["x","y"]}}},"required":["a"]})";
  return table;
}

void request(const Router& router, const HttpGuard& guard, const HttpParser::value_type& parsed) {
  AdminRequest admin;
  if (take_request(parsed, admin)) return;
  for (const auto& [name, value] : admin.headers) {
    check(value.find_first_of("\r\n") == std::string::npos, "a header's value goes over its line");
  }
  if (guard.refuse(admin, router.open(admin.target))) return;
  int answers = 0;
  router.handle(std::move(admin), [&](AdminReply reply) {
    ++answers;
    check(reply.status >= 200 && reply.status < 600, "an odd status");
    check(reply.body.empty() || nlohmann::json::accept(reply.body), "a reply that is not JSON");
  });
  check(answers == 1, "not one answer");
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static InlineExecutor loop;
  static const Router router(routes(), loop);
  static const HttpGuard open({"", {"db.example"}}), closed({"token", {}});
  std::string_view input(reinterpret_cast<const char*>(data), size);
  for (const HttpGuard* guard : {&open, &closed}) {
    std::string_view rest = input;
    while (!rest.empty()) {
      HttpParser parser;
      set_limits(parser);
      parser.eager(true);
      boost::beast::error_code error;
      const size_t used = parser.put(boost::asio::buffer(rest.data(), rest.size()), error);
      if (error || !parser.is_done() || used == 0) break;
      rest.remove_prefix(std::min(used, rest.size()));
      request(router, *guard, parser.get());
    }
  }
  return 0;
}
