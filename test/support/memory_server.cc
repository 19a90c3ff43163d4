// memory_server [--port N] [--whole]: the session and the commands over a MemorySink, behind a plain poll
// loop. A test tool: it lets test/process/differential.py run against the command layer alone. Prints "READY
// port=N".
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>

#include "server/session/session.h"
#include "test/support/memory_sink.h"

using namespace cairn;

namespace {

uint64_t wall_us() {
  timespec ts{};
  clock_gettime(CLOCK_REALTIME, &ts);
  return static_cast<uint64_t>(ts.tv_sec) * 1'000'000 + static_cast<uint64_t>(ts.tv_nsec) / 1000;
}

class Server {
 public:
  explicit Server(bool whole) { sink_.is_whole = whole; }

  bool listen_on(uint16_t port) {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    const int on = 1;
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    socklen_t length = sizeof address;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0 || listen(listener_, 128) != 0)
      return false;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    sink_.port = ntohs(address.sin_port);
    std::printf("READY port=%u\n", unsigned{sink_.port});
    std::fflush(stdout);
    return true;
  }

  void run() {
    for (;;) {
      std::vector<pollfd> fds{{listener_, POLLIN, 0}};
      for (const auto& [fd, session] : sessions_) {
        const bool writing = !session->output().empty();
        short events = 0;
        if (!session->paused() && !session->wants_close()) events |= POLLIN;
        if (writing) events |= POLLOUT;
        fds.push_back({fd, events, 0});
      }
      if (poll(fds.data(), fds.size(), -1) < 0) return;
      sink_.wall = wall_us();
      sink_.clock = sink_.wall * 1000;
      sink_.rows.now = sink_.wall / 1000;
      for (size_t i = 1; i < fds.size(); ++i) {
        if (fds[i].revents != 0) serve(fds[i].fd);
      }
      if (fds[0].revents & POLLIN) accept_one();
    }
  }

 private:
  void accept_one() {
    sockaddr_in peer{};
    socklen_t length = sizeof peer;
    const int fd = accept4(listener_, reinterpret_cast<sockaddr*>(&peer), &length, SOCK_NONBLOCK);
    if (fd < 0) return;
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    server::SessionOptions options;
    options.peer_address = "127.0.0.1:" + std::to_string(ntohs(peer.sin_port));
    options.local_address = "127.0.0.1:" + std::to_string(sink_.port);
    options.fd = fd;
    options.stats = &stats_;
    sessions_[fd] = std::make_unique<server::Session>(++last_id_, sink_, std::move(options));
    sink_.shared.add(*sessions_[fd]);
  }

  void serve(int fd) {
    server::Session& session = *sessions_.at(fd);
    bool gone = false;
    if (!session.paused() && !session.wants_close()) {
      const auto space = session.input_space(64 * 1024);
      const ssize_t n = recv(fd, space.data(), space.size(), MSG_DONTWAIT);
      if (n > 0) {
        session.input_filled(static_cast<size_t>(n));
        deliver(session);
      } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        gone = true;
      }
    }
    if (!gone && !session.output().empty()) {
      const ssize_t n =
          send(fd, session.output().front().data(), session.output().front().size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n > 0) {
        session.output().consume(static_cast<size_t>(n));
        if (session.output().empty()) session.on_output_sent();
        deliver(session);
      } else if (errno != EAGAIN && errno != EINTR) {
        gone = true;
      }
    }
    if (gone || (session.wants_close() && session.output().empty())) {
      session.on_close();
      sink_.shared.remove(session.id());
      sessions_.erase(fd);
      close(fd);
    }
  }

  void deliver(server::Session& session) {
    while (!sink_.queue.empty()) {
      const auto replies = std::move(sink_.queue);
      sink_.queue.clear();
      for (const auto& reply : replies) session.deliver(reply.where.sequence, reply.bytes);
    }
  }

  test::MemorySink sink_;
  server::CommandStats stats_;
  int listener_ = -1;
  uint64_t last_id_ = 0;
  std::map<int, std::unique_ptr<server::Session>> sessions_;
};

}  // namespace

int main(int argc, char** argv) {
  uint16_t port = 0;
  bool whole = false;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--whole") == 0) {
      whole = true;
    } else if (std::strcmp(argv[i], "--port") == 0 && i + 1 < argc) {
      port = static_cast<uint16_t>(std::atoi(argv[++i]));
    } else {
      std::fprintf(stderr, "usage: memory_server [--port N] [--whole]\n");
      return 2;
    }
  }
  Server server(whole);
  if (!server.listen_on(port)) {
    std::perror("memory_server: cannot listen");
    return 3;
  }
  server.run();
  return 1;
}
