// The admin port under connections that say nothing.
#include "server/http/http_server.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <thread>
#include <vector>

using namespace cairn;
using namespace cairn::server;

namespace {

struct Socket {
  explicit Socket(uint16_t port) : fd(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    const timeval limit{3, 0};  // below the 5 s after which a silent connection ends by itself
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  Socket(Socket&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
  ~Socket() {
    if (fd >= 0) ::close(fd);
  }
  void send(std::string_view text) const {
    REQUIRE(::send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
  }
  // Up to the end of the connection; "timeout" if there was none.
  std::string receive() const {
    std::string all;
    for (char space[4096];;) {
      const ssize_t got = ::recv(fd, space, sizeof space, 0);
      if (got == 0 || (got < 0 && errno == ECONNRESET)) return all;
      if (got < 0) return "timeout";
      all.append(space, static_cast<size_t>(got));
    }
  }
  int fd;
};

// A server on a thread of its own. /wait is answered when the test says so.
struct Server {
  RealClock clock;
  EventLoop loop{clock};
  std::promise<std::function<void(AdminReply)>> waiting;
  HttpServer http{loop, [this](const AdminRequest& request, std::function<void(AdminReply)> done) {
                    if (request.target == "/wait") return waiting.set_value(std::move(done));
                    done({200, "text/plain", request.target});
                  }};
  std::thread thread;
  Server() {
    REQUIRE(http.listen("127.0.0.1:0"));
    thread = std::thread([this] { loop.run([] {}); });
  }
  ~Server() {
    loop.stop();
    thread.join();
  }
};

}  // namespace

TEST_CASE("connections that say nothing make room for one that asks") {
  Server server;
  const uint16_t port = server.http.port();
  const Socket served(port);
  served.send("GET /wait HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  const auto answer = server.waiting.get_future().get();  // its header is whole: it keeps its place

  std::vector<Socket> silent;
  for (int i = 0; i < 300; ++i) {
    silent.emplace_back(port);
    if (i % 2 == 1) silent.back().send("GET /half HTT");
  }
  const Socket asks(port);
  asks.send("GET /now HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  CHECK(asks.receive().ends_with("\r\n\r\n/now"));
  // The oldest ones had to go, the newest are still there.
  CHECK(silent.front().receive().empty());
  silent.back().send("P/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  CHECK(silent.back().receive().ends_with("\r\n\r\n/half"));
  answer({200, "text/plain", "at last"});
  CHECK(served.receive().ends_with("\r\n\r\nat last"));
}

TEST_CASE("a connection may ask several times") {
  Server server;
  const Socket client(server.http.port());
  client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  const std::string all = client.receive();
  CHECK(all.find("\r\n\r\n/a") != std::string::npos);
  CHECK(all.ends_with("\r\n\r\n/b"));
}
