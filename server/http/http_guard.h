// Who may ask: the Host of the request (DNS rebinding), its Origin (other sites' pages), its token.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "server/http/admin_message.h"

namespace cairn::server {

struct GuardOptions {
  std::string token;               // empty: nobody needs one
  std::vector<std::string> hosts;  // names this node is reached by, beside localhost and IP addresses
};

struct GuardMetrics {
  Counter wrong_host, wrong_origin, wrong_token;
};

// Thread safety: any thread.
class HttpGuard {
 public:
  explicit HttpGuard(GuardOptions options) : options_(std::move(options)) {}
  // nullopt: go on. `open`: the path needs no token.
  std::optional<Problem> refuse(const AdminRequest& request, bool open) const;
  const GuardMetrics& metrics() const { return metrics_; }

 private:
  bool known_host(const std::string& host) const;

  GuardOptions options_;
  mutable GuardMetrics metrics_;
};

// "host:port" -> host in lower case, "[::1]:80" -> "::1". Empty: malformed.
std::string host_of(std::string_view host_and_port);
// Takes the same time for every `given` of one length.
bool equal_in_constant_time(std::string_view given, std::string_view secret);

}  // namespace cairn::server
