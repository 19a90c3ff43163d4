// The admin HTTP server: Beast on a loop and thread of its own, so that a busy data path does not blind the operator.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "server/http/admin_api.h"
#include "server/runtime/event_loop.h"

namespace cairn::server {

// Thread safety: on `loop`'s thread. Limits: header 16 KiB, body 1 MiB, 5 s for a request, 64 connections. When they
// are all taken, a new one replaces the connection that has gone without a whole request header for longest; it is only
// refused if every one is being served.
class HttpServer {
 public:
  // `handle` gets a request and must call `done` once, on any thread.
  using Handle = std::function<void(AdminRequest, std::function<void(AdminReply)>)>;
  HttpServer(EventLoop& loop, Handle handle);
  ~HttpServer();
  Result<void> listen(const std::string& address);  // kInUse
  uint16_t port() const;                            // that it listens on
  void close();

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace cairn::server
