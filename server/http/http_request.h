// From the bytes of an HTTP request to what the router takes.
#pragma once

#include <boost/beast/http.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "server/http/admin_message.h"

namespace cairn::server {

using HttpParser = boost::beast::http::request_parser<boost::beast::http::string_body>;

inline constexpr uint32_t kHttpHeaderBytesMax = 16 * 1024;
inline constexpr uint64_t kHttpBodyBytesMax = 1024 * 1024;

inline void set_limits(HttpParser& parser) {
  parser.header_limit(kHttpHeaderBytesMax);
  parser.body_limit(kHttpBodyBytesMax);
}
std::string lower(boost::beast::string_view text);
// No control characters: such a value of a header stays on its line.
bool is_printable(std::string_view text);
// A whole request that the parser took. The problem, if it is not one that may go on.
std::optional<Problem> take_request(const HttpParser::value_type& request, AdminRequest& out);

}  // namespace cairn::server
