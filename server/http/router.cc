#include "server/http/router.h"

#include <fmt/format.h>

#include <algorithm>

#include "server/http/json_schema.h"

namespace cairn::server {
namespace {

constexpr uint64_t kNumberDigitsMax = 18;

std::vector<std::string_view> split(std::string_view text, char mark) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = text.find(mark);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool same(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

std::string_view without_parameters(std::string_view type) { return trim(type.substr(0, type.find(';'))); }

// How specific a range of Accept is for a type: 0 = does not cover it.
int covers(std::string_view range, std::string_view type) {
  if (same(range, type)) return 3;
  const size_t slash = type.find('/');
  if (range.size() > 2 && range.ends_with("/*") && same(range.substr(0, range.size() - 2), type.substr(0, slash))) {
    return 2;
  }
  return range == "*/*" || range == "*" ? 1 : 0;
}

// The weight that an Accept header gives a type; 0 = unwanted.
double weight_of(std::string_view accept, std::string_view type) {
  double weight = 0;
  int best = 0;
  for (const std::string_view item : split(accept, ',')) {
    const auto parts = split(item, ';');
    const int specific = covers(trim(parts[0]), type);
    if (specific <= best) continue;
    best = specific;
    weight = 1;
    for (size_t i = 1; i < parts.size(); ++i) {
      const std::string_view part = trim(parts[i]);
      if (part.starts_with("q=") || part.starts_with("Q="))
        weight = std::strtod(std::string(part.substr(2)).c_str(), nullptr);
    }
  }
  return weight;
}

bool matches(std::string_view pattern, std::string_view path) {
  const auto wanted = split(pattern, '/'), given = split(path, '/');
  if (wanted.size() != given.size()) return false;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i].starts_with('{') ? given[i].empty() : wanted[i] != given[i]) return false;
  }
  return true;
}

bool in_path(const Route& route, std::string_view name) {
  return route.path.find(fmt::format("{{{}}}", name)) != std::string_view::npos;
}

std::optional<Problem> check_value(const Parameter& parameter, const std::string& value) {
  const auto wrong = [&](std::string why) {
    return Problem{.status = 400,
                   .detail = fmt::format("`{}` {}", parameter.name, why),
                   .hint = std::string(parameter.help),
                   .field = std::string(parameter.name)};
  };
  switch (parameter.kind) {
    case ParameterKind::kNumber: {
      const bool digits = !value.empty() && value.size() <= kNumberDigitsMax &&
                          std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; });
      if (!digits) return wrong("is not a whole number");
      const uint64_t number = std::stoull(value);
      if (number < parameter.low || number > parameter.high) {
        return wrong(fmt::format("is not in [{}, {}]", parameter.low, parameter.high));
      }
      return std::nullopt;
    }
    case ParameterKind::kChoice: {
      const auto choices = split(parameter.choices, '|');
      if (std::find(choices.begin(), choices.end(), value) != choices.end()) return std::nullopt;
      return wrong(fmt::format("is not one of {}", fmt::join(choices, ", ")));
    }
    case ParameterKind::kText:
      if (std::any_of(value.begin(), value.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; })) {
        return wrong("holds control characters");
      }
      return std::nullopt;
    case ParameterKind::kBytes: return std::nullopt;
  }
  return std::nullopt;
}

std::optional<Problem> read_body(const Route& route, Call& call) {
  const std::string& body = call.request.body;
  if (route.body.empty()) {
    if (body.empty()) return std::nullopt;
    return Problem{.status = 400, .detail = "this operation takes no body"};
  }
  const std::string* type = call.request.header("content-type");
  if (type == nullptr || !same(without_parameters(*type), kJson)) {
    return Problem{.status = 415,
                   .detail = type == nullptr ? "the request names no Content-Type" : "the body is not application/json",
                   .hint = "Send the header Content-Type: application/json."};
  }
  call.body = nlohmann::json::parse(body, nullptr, false);
  if (call.body.is_discarded()) return Problem{.status = 400, .detail = "the body is not JSON", .field = "body"};
  if (const auto error = check_schema(schema_of(route.body), call.body)) {
    const std::string name = error->path.empty() ? "body" : error->path;
    return Problem{.status = 400, .detail = fmt::format("`{}` {}", name, error->what), .field = name};
  }
  return std::nullopt;
}

std::string allow(const std::vector<const Route*>& routes) {
  std::string list;
  for (const Route* route : routes) {
    list += std::string(route->method) + ", ";
    if (route->method == "GET") list += "HEAD, ";
  }
  return list + "OPTIONS";
}

}  // namespace

std::optional<size_t> preferred_type(const std::string* accept, const std::vector<std::string_view>& offered) {
  if (offered.empty()) return std::nullopt;
  if (accept == nullptr || trim(*accept).empty()) return 0;
  std::optional<size_t> best;
  double best_weight = 0;
  for (size_t i = 0; i < offered.size(); ++i) {
    const double weight = weight_of(*accept, without_parameters(offered[i]));
    if (weight > best_weight) {
      best = i;
      best_weight = weight;
    }
  }
  return best;
}

AdminReply json_reply(const nlohmann::json& body, unsigned status) {
  return {status, std::string(kJson), body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"};
}

std::vector<const Route*> Router::at(std::string_view path) const {
  std::vector<const Route*> found;
  for (const Route& route : routes_) {
    if (matches(route.path, path)) found.push_back(&route);
  }
  return found;
}

bool Router::open(std::string_view target) const {
  const auto routes = at(target.substr(0, target.find('?')));
  return !routes.empty() &&
         std::all_of(routes.begin(), routes.end(), [](const Route* r) { return r->access == Access::kOpen; });
}

std::optional<Problem> Router::fill(const Route& route, std::string_view path, std::string_view query,
                                    Call& call) const {
  const auto take = [&](std::string_view name, std::string_view raw, bool from_path) -> std::optional<Problem> {
    const auto parameter = std::find_if(route.parameters.begin(), route.parameters.end(),
                                        [&](const Parameter& p) { return p.name == name; });
    if (parameter == route.parameters.end() || from_path != in_path(route, name)) {
      return Problem{.status = 400,
                     .detail = fmt::format("there is no parameter `{}`", name),
                     .hint = "/v1/openapi.json lists the parameters.",
                     .field = std::string(name)};
    }
    std::string value;
    if (!percent_decode(raw, !from_path, value)) {
      return Problem{.status = 400,
                     .detail = fmt::format("`{}` is not percent-encoded properly", name),
                     .field = std::string(name)};
    }
    if (auto wrong = check_value(*parameter, value)) return wrong;
    if (!call.parameters.emplace(name, std::move(value)).second) {
      return Problem{.status = 400, .detail = fmt::format("`{}` is given twice", name), .field = std::string(name)};
    }
    return std::nullopt;
  };
  const auto wanted = split(route.path, '/'), given = split(path, '/');
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (!wanted[i].starts_with('{')) continue;
    if (auto wrong = take(wanted[i].substr(1, wanted[i].size() - 2), given[i], true)) return wrong;
  }
  for (const std::string_view item : split(query, '&')) {
    if (item.empty()) continue;
    const size_t equals = item.find('=');
    std::string name;
    if (!percent_decode(item.substr(0, equals), true, name)) {
      return Problem{.status = 400, .detail = "the name of a parameter is not percent-encoded properly"};
    }
    const std::string_view raw = equals == std::string_view::npos ? std::string_view() : item.substr(equals + 1);
    if (auto wrong = take(name, raw, false)) return wrong;
  }
  return std::nullopt;
}

void Router::handle(AdminRequest request, AdminDone done) const {
  const std::string target = request.target;
  const size_t mark = target.find('?');
  const std::string_view path = std::string_view(target).substr(0, mark);
  const std::string_view query = mark == std::string::npos ? "" : std::string_view(target).substr(mark + 1);
  if (path == "*" && request.method == "OPTIONS") {
    return done({204, "", "", {{"Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}}});
  }
  const auto routes = at(path);
  if (routes.empty()) {
    return done(Problem{
        .status = 404, .detail = fmt::format("no such page: {}", path), .hint = "/v1/openapi.json lists what there is."}
                    .reply());
  }
  if (request.method == "OPTIONS") return done({204, "", "", {{"Allow", allow(routes)}}});
  const std::string_view method = request.method == "HEAD" ? "GET" : std::string_view(request.method);
  const auto found = std::find_if(routes.begin(), routes.end(), [&](const Route* r) { return r->method == method; });
  if (found == routes.end()) {
    AdminReply reply =
        Problem{.status = 405, .detail = fmt::format("{} is not served at {}", request.method, path)}.reply();
    reply.headers.emplace_back("Allow", allow(routes));
    return done(std::move(reply));
  }
  const Route& route = **found;
  auto call = std::make_shared<Call>();
  call->request = std::move(request);
  std::vector<std::string_view> types;
  for (const Answer& answer : route.answers) {
    if (answer.status < 300 && !answer.type.empty()) types.push_back(answer.type);
  }
  const auto type = preferred_type(call->request.header("accept"), types);
  if (!types.empty() && !type) {
    return done(
        Problem{.status = 406, .detail = fmt::format("{} is served as {}", path, fmt::join(types, " or "))}.reply());
  }
  if (type) call->type = types[*type];
  if (const auto wrong = fill(route, path, query, *call)) return done(wrong->reply());
  if (const auto wrong = read_body(route, *call)) return done(wrong->reply());
  if (route.runs_on == RunsOn::kAdminThread) return route.run(std::move(call), std::move(done));
  range_loop_.post([&route, call = std::move(call), done = std::move(done)]() mutable {
    route.run(std::move(call), std::move(done));
  });
}

}  // namespace cairn::server
