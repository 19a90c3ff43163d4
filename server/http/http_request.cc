#include "server/http/http_request.h"

#include <algorithm>
#include <cctype>

namespace cairn::server {
namespace {

// Several of these would mean different things to different readers of the request.
constexpr std::string_view kSingle[] = {"host", "origin", "authorization", "content-type", "content-length"};
}  // namespace

std::string lower(boost::beast::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= ' ' && c != 127; });
}

std::optional<Problem> take_request(const HttpParser::value_type& request, AdminRequest& out) {
  out.method = std::string(request.method_string());
  out.target = std::string(request.target());
  for (const auto& field : request) {
    std::string name = lower(field.name_string());
    if (!is_printable(std::string(field.value()))) {
      return Problem{.status = 400, .detail = "control characters in the header", .field = name};
    }
    if (std::find(std::begin(kSingle), std::end(kSingle), name) != std::end(kSingle) && out.header(name) != nullptr) {
      return Problem{.status = 400, .detail = "the header has this field twice", .field = name};
    }
    out.headers.emplace_back(std::move(name), std::string(field.value()));
  }
  // The absolute form is what proxies use; its host counts instead of the header's.
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!out.target.starts_with(scheme)) continue;
    const size_t path = out.target.find('/', scheme.size());
    const std::string host = out.target.substr(scheme.size(), path - scheme.size());
    std::erase_if(out.headers, [](const auto& field) { return field.first == "host"; });
    out.headers.emplace_back("host", host);
    out.target = path == std::string::npos ? "/" : out.target.substr(path);
    break;
  }
  if (request.version() >= 11 && out.header("host") == nullptr) {
    return Problem{.status = 400, .detail = "the request names no Host", .field = "host"};
  }
  if (!out.target.starts_with('/') && out.target != "*") {
    return Problem{.status = 400, .detail = "the target of the request is not a path"};
  }
  if (out.target.size() > 8192) return Problem{.status = 414, .detail = "the target is above 8 KiB"};
  out.body = request.body();
  return std::nullopt;
}

}  // namespace cairn::server
