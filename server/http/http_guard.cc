#include "server/http/http_guard.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>

namespace cairn::server {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

bool is_ip(const std::string& host) {
  unsigned char space[sizeof(in6_addr)];
  return ::inet_pton(AF_INET, host.c_str(), space) == 1 || ::inet_pton(AF_INET6, host.c_str(), space) == 1;
}

}  // namespace

std::string host_of(std::string_view text) {
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return "";
    return lower(text.substr(1, end - 1));
  }
  const size_t colon = text.find(':');
  if (colon != std::string_view::npos) {
    const std::string_view port = text.substr(colon + 1);
    if (!std::all_of(port.begin(), port.end(), [](unsigned char c) { return std::isdigit(c) != 0; })) return "";
  }
  return lower(text.substr(0, colon));
}

bool equal_in_constant_time(std::string_view given, std::string_view secret) {
  unsigned char different = given.size() == secret.size() ? 0 : 1;
  for (size_t i = 0; i < given.size(); ++i) {
    different |= static_cast<unsigned char>(given[i] ^ secret[secret.empty() ? 0 : i % secret.size()]);
  }
  return different == 0 && !secret.empty();
}

// A page of another site can make a browser come here under its own name (DNS rebinding), never under an address or
// localhost: the page's origin would have to be that address.
bool HttpGuard::known_host(const std::string& host) const {
  if (host == "localhost" || is_ip(host)) return true;
  return std::any_of(options_.hosts.begin(), options_.hosts.end(),
                     [&](const std::string& known) { return lower(known) == host; });
}

std::optional<Problem> HttpGuard::refuse(const AdminRequest& request, bool open) const {
  const std::string* host = request.header("host");
  if (host != nullptr && !known_host(host_of(*host))) {
    metrics_.wrong_host.add();
    return Problem{.status = 421,
                   .detail = "this node is not called that",
                   .hint = "Use an address, localhost, the host of admin.advertise, or add the name to admin.hosts."};
  }
  const std::string* origin = request.header("origin");
  const std::string* site = request.header("sec-fetch-site");
  const bool reads = request.method == "GET" || request.method == "HEAD";
  const bool same_origin =
      origin == nullptr || (host != nullptr && (*origin == "http://" + *host || *origin == "https://" + *host));
  if (!same_origin || (site != nullptr && !reads && *site != "same-origin" && *site != "none")) {
    metrics_.wrong_origin.add();
    return Problem{.status = 403, .detail = "requests of other sites' pages are refused"};
  }
  if (open || options_.token.empty()) return std::nullopt;
  constexpr std::string_view kScheme = "bearer ";
  const std::string* authorization = request.header("authorization");
  if (authorization != nullptr && lower(authorization->substr(0, kScheme.size())) == kScheme &&
      equal_in_constant_time(std::string_view(*authorization).substr(kScheme.size()), options_.token)) {
    return std::nullopt;
  }
  metrics_.wrong_token.add();
  return Problem{.status = 401,
                 .detail = authorization == nullptr ? "a token is needed" : "the token is wrong",
                 .hint = "Send the header Authorization: Bearer TOKEN, with admin.token of this node's configuration."};
}

}  // namespace cairn::server
