#include "server/http/openapi.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <sstream>

#include "base/version.h"
#include "server/http/json_schema.h"

namespace cairn::server {
namespace {

using nlohmann::json;

json schema_of_parameter(const Parameter& parameter) {
  switch (parameter.kind) {
    case ParameterKind::kNumber: return {{"type", "integer"}, {"minimum", parameter.low}, {"maximum", parameter.high}};
    case ParameterKind::kChoice: {
      json choices = json::array();
      std::stringstream text{std::string(parameter.choices)};
      for (std::string choice; std::getline(text, choice, '|');) choices.push_back(choice);
      return {{"type", "string"}, {"enum", choices}};
    }
    case ParameterKind::kText:
    case ParameterKind::kBytes: break;
  }
  return {{"type", "string"}};
}

json parameters_of(const Route& route) {
  json list = json::array();
  for (const Parameter& parameter : route.parameters) {
    const bool in_path = route.path.find(fmt::format("{{{}}}", parameter.name)) != std::string_view::npos;
    json example = std::string(parameter.example);
    if (parameter.kind == ParameterKind::kNumber) example = std::stoull(std::string(parameter.example));
    list.push_back({{"name", parameter.name},
                    {"in", in_path ? "path" : "query"},
                    {"required", in_path},
                    {"description", parameter.help},
                    {"schema", schema_of_parameter(parameter)},
                    {"example", std::move(example)}});
  }
  return list;
}

void add_answer(json& responses, unsigned status, std::string_view type, const json& schema, std::string_view help) {
  json& response = responses[std::to_string(status)];
  if (!response.contains("description")) response["description"] = help;
  if (!type.empty()) response["content"][std::string(type)]["schema"] = schema;
}

// What any operation may answer, from how it was asked.
json responses_of(const Route& route) {
  json responses = json::object();
  for (const Answer& answer : route.answers) {
    add_answer(responses, answer.status, answer.type, schema_of(answer.schema), answer.help);
  }
  const auto problem = [&](unsigned status, std::string_view help) {
    add_answer(responses, status, kProblemJson, schema_of("Problem"), help);
  };
  problem(400, "A parameter, the body or the request itself is wrong; `field` names it.");
  if (route.access == Access::kToken) problem(401, "A token is configured, and the request does not carry it.");
  problem(403, "The Origin of the request is another site's.");
  problem(406, "Accept takes none of the media types of this operation.");
  problem(421, "The Host of the request is not a name of this node.");
  if (!route.body.empty()) {
    problem(413, "The body is above the limit.");
    problem(415, "The body is not application/json.");
  }
  problem(503, "The node does not answer in time, or is not ready for this.");
  return responses;
}

}  // namespace

json openapi(const RouteTable& routes) {
  json paths = json::object();
  for (const Route& route : routes) {
    json operation = {{"operationId", route.id},
                      {"summary", route.summary},
                      {"parameters", parameters_of(route)},
                      {"responses", responses_of(route)}};
    if (!route.body.empty()) {
      operation["requestBody"] = {{"required", true},
                                  {"content", {{std::string(kJson), {{"schema", schema_of(route.body)}}}}}};
    }
    if (route.access == Access::kOpen) operation["security"] = json::array({json::object()});
    std::string method(route.method);
    std::transform(method.begin(), method.end(), method.begin(), [](unsigned char c) { return std::tolower(c); });
    paths[std::string(route.path)][method] = std::move(operation);
  }
  return {{"openapi", "3.1.0"},
          {"info",
           {{"title", "Cairn admin API"},
            {"version", kVersion},
            {"description",
             "Served by every node on `admin.listen`. Lists and objects tell about the whole cluster unless they say "
             "otherwise. Errors are application/problem+json."},
            {"license", {{"name", "see the repository"}, {"url", "about:blank"}}}}},
          {"servers", json::array({{{"url", "/"}}})},
          {"security", json::array({{{"token", json::array()}}, json::object()})},
          {"paths", std::move(paths)},
          {"components",
           {{"schemas", schemas()},
            {"securitySchemes",
             {{"token",
               {{"type", "http"}, {"scheme", "bearer"}, {"description", "`admin.token` of the configuration"}}}}}}}};
}

}  // namespace cairn::server
