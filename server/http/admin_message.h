// A request to the admin API and its reply, without sockets.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn::server {

struct AdminRequest {
  std::string method;                                        // GET, POST ...
  std::string target;                                        // path and query, as sent
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;

  const std::string* header(std::string_view name) const {  // `name` in lower case; null: absent
    for (const auto& [known, value] : headers) {
      if (known == name) return &value;
    }
    return nullptr;
  }
};

struct AdminReply {
  unsigned status = 200;
  std::string type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers = {};  // beside those that every reply has
};
using AdminDone = std::function<void(AdminReply)>;

// An error as application/problem+json (RFC 9457).
struct Problem {
  unsigned status = 500;
  std::string detail;      // what is wrong with this request
  std::string hint = {};   // what to do about it; empty: left out
  std::string field = {};  // parameter or member of the body that is wrong; empty: left out
  AdminReply reply() const;
};
std::string_view status_title(unsigned status);

// application/x-www-form-urlencoded or a part of a path. False: malformed escapes.
bool percent_decode(std::string_view text, bool plus_is_blank, std::string& out);
// What is not unreserved in a URI becomes %XX.
std::string percent_encode(std::string_view text);

}  // namespace cairn::server
