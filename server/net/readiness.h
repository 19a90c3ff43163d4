// Which of many sockets are ready, asked once a turn for all of them. Asio needs a system call to wait again after
// every read; a socket registered here, edge-triggered and for as long as it lives, needs none.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/result.h"

namespace cairn::server {

// Thread safety: on the loop of `context`, which must outlive it.
class Readiness {
 public:
  struct Event {
    uint64_t token = 0;
    bool readable = false;  // read until the kernel has no more: only what comes later is reported again
    bool writable = false;
    bool hangup = false;  // the peer sends no more, or the socket has failed: reading will say so
  };
  using Handler = std::function<void(const Event&)>;

  Readiness(boost::asio::io_context& context, Handler handler);
  ~Readiness();
  Readiness(const Readiness&) = delete;
  Readiness& operator=(const Readiness&) = delete;

  Result<void> open();  // before add()
  // Reports `fd` under `token` from now on, beginning with what it is ready for already. Ends with the descriptor's
  // close(); a report of it may still come in the same turn, so tokens are never used twice.
  Result<void> add(int fd, uint64_t token);

 private:
  void wait();
  void collect();

  boost::asio::posix::stream_descriptor epoll_;
  Handler handler_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace cairn::server
