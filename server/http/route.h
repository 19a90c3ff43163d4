// One operation of the admin API. The table of these is what dispatches, what checks parameters, and what
// /v1/openapi.json is made from.
#pragma once

#include <charconv>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/admin_message.h"

namespace cairn::server {

enum class ParameterKind : uint8_t {
  kNumber,  // a whole number in [low, high]
  kText,
  kChoice,  // one of `choices`
  kBytes,   // anything, percent-encoded: a key
};

struct Parameter {
  std::string_view name;
  ParameterKind kind = ParameterKind::kText;
  std::string_view help;
  std::string_view example;
  std::string_view choices = {};  // "a|b|c"
  uint64_t low = 0, high = (uint64_t{1} << 53) - 1;
};

struct Answer {
  unsigned status = 200;
  std::string_view type;    // media type; empty: no content
  std::string_view schema;  // a name in schemas.json, or JSON text of a schema; empty: text
  std::string_view help;
};

// What a handler gets. Lives until the reply is given.
struct Call {
  AdminRequest request;
  std::map<std::string, std::string, std::less<>> parameters;  // decoded and checked
  nlohmann::json body;                                         // checked against the route's schema
  std::string_view type;                                       // of the route's answers, the one that Accept wants most

  const std::string* text(std::string_view name) const {
    const auto found = parameters.find(name);
    return found == parameters.end() ? nullptr : &found->second;
  }
  std::optional<uint64_t> number(std::string_view name) const {
    const std::string* value = text(name);
    uint64_t number = 0;
    if (value == nullptr || std::from_chars(value->data(), value->data() + value->size(), number).ec != std::errc{}) {
      return std::nullopt;
    }
    return number;
  }
};
using CallPointer = std::shared_ptr<const Call>;

enum class Access : uint8_t { kOpen, kToken };                // kToken: with the bearer token, where one is configured
enum class RunsOn : uint8_t { kAdminThread, kRangeLoop };     // kAdminThread: answers even when the range loop does not
using Handler = std::function<void(CallPointer, AdminDone)>;  // `done` is called once, on any thread

struct Route {
  std::string_view method;  // GET routes serve HEAD as well
  std::string_view path;    // "/v1/ranges/{id}": a name in braces is a parameter
  std::string_view id;      // operationId
  std::string_view summary;
  Access access = Access::kToken;
  RunsOn runs_on = RunsOn::kRangeLoop;
  std::vector<Parameter> parameters;
  std::string_view body;  // schema of the request, as in Answer; empty: it has none
  std::vector<Answer> answers;
  Handler run;
};
using RouteTable = std::vector<Route>;

inline constexpr std::string_view kJson = "application/json";
inline constexpr std::string_view kProblemJson = "application/problem+json";

// `body` with a line end, as application/json.
AdminReply json_reply(const nlohmann::json& body, unsigned status = 200);

}  // namespace cairn::server
