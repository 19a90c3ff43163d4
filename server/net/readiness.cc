#include "server/net/readiness.h"

#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace cairn::server {

namespace asio = boost::asio;

namespace {
constexpr size_t kEventsAtOnce = 256;

Error failed(const char* call) { return {ErrorCode::kIoError, std::string(call) + ": " + std::strerror(errno)}; }
}  // namespace

Readiness::Readiness(asio::io_context& context, Handler handler) : epoll_(context), handler_(std::move(handler)) {}

Readiness::~Readiness() { *alive_ = false; }

Result<void> Readiness::open() {
  const int fd = ::epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) return failed("epoll_create1");
  epoll_.assign(fd);
  wait();
  return {};
}

Result<void> Readiness::add(int fd, uint64_t token) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.u64 = token;
  if (::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_ADD, fd, &event) != 0) return failed("epoll_ctl");
  return {};
}

void Readiness::wait() {
  epoll_.async_wait(asio::posix::stream_descriptor::wait_read,
                    [this, alive = alive_](const boost::system::error_code& error) {
                      if (!*alive || error) return;
                      collect();
                      if (*alive) wait();
                    });
}

void Readiness::collect() {
  std::array<epoll_event, kEventsAtOnce> events;
  const int count = ::epoll_wait(epoll_.native_handle(), events.data(), static_cast<int>(events.size()), 0);
  const std::shared_ptr<bool> alive = alive_;
  for (int i = 0; i < count && *alive; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    Event report;
    report.token = event.data.u64;
    report.hangup = (event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    report.readable = (event.events & EPOLLIN) != 0 || report.hangup;
    report.writable = (event.events & EPOLLOUT) != 0;
    handler_(report);
  }
}

}  // namespace cairn::server
