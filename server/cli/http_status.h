// One request to an admin API, for commands that only want to know whether it says yes.
#pragma once

#include <string>

namespace cairn::server {

// `address`: HOST:PORT. The status of the answer; 0: none within two seconds. `token` empty: none is sent. `body` (may
// be null) gets the answer's body.
int http_status(const std::string& address, const char* method, const char* path, const std::string& token,
                std::string* body = nullptr);

}  // namespace cairn::server
