#include "server/cli/http_status.h"

#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

namespace cairn::server {
namespace {

// A connected socket, or -1.
int connect_to(const std::string& address) {
  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), address.c_str() + colon + 1, &hints, &found) != 0) return -1;
  const int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval limit{2, 0};
  if (fd >= 0) {
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }
  const bool connected = fd >= 0 && ::connect(fd, found->ai_addr, found->ai_addrlen) == 0;
  ::freeaddrinfo(found);
  if (connected) return fd;
  if (fd >= 0) ::close(fd);
  return -1;
}

}  // namespace

int http_status(const std::string& address, const char* method, const char* path, const std::string& token,
                std::string* body) {
  const int fd = connect_to(address);
  if (fd < 0) return 0;
  const std::string authorization = token.empty() ? "" : "Authorization: Bearer " + token + "\r\n";
  const std::string request =
      fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\n{}Content-Length: 0\r\nConnection: close\r\n\r\n", method, path,
                  authorization);
  (void)!::send(fd, request.data(), request.size(), MSG_NOSIGNAL);
  std::string reply;
  char buffer[4096];
  ssize_t got = 0;
  while ((got = ::recv(fd, buffer, sizeof buffer, 0)) > 0) reply.append(buffer, static_cast<size_t>(got));
  ::close(fd);
  if (reply.size() <= 12 || !reply.starts_with("HTTP/1.")) return 0;
  const size_t end = reply.find("\r\n\r\n");
  if (body != nullptr && end != std::string::npos) *body = reply.substr(end + 4);
  return std::atoi(reply.c_str() + 9);
}

}  // namespace cairn::server
