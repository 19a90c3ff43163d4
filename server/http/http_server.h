// The admin HTTP server: Beast on a loop and thread of its own, so that a busy data path does not blind the operator.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/metrics.h"
#include "base/result.h"
#include "server/http/admin_message.h"
#include "server/runtime/event_loop.h"

namespace cairn::server {

struct HttpMetrics {
  Counter accepted, evicted, requests, bad_requests, timeouts;
  Counter open;  // connections now
};

// Thread safety: on `loop`'s thread; metrics from any.
//
// Limits: header 16 KiB, body 1 MiB, 5 s for a request from its first byte (or from accepting), 60 s for a connection
// that is kept alive, 10 s for the handler, 30 s for sending the reply, 64 connections. When all are taken, a new one
// replaces the one that this server has been waiting for longest: for its request or for it to take its reply. So
// neither silent nor slow connections lock others out. If every one is inside the handler, the new one waits for the
// first that comes out of it.
class HttpServer {
 public:
  // `handle` gets a request and must call `done` once, on any thread.
  using Handle = std::function<void(AdminRequest, AdminDone)>;
  HttpServer(EventLoop& loop, Handle handle);
  ~HttpServer();
  Result<void> listen(const std::string& address);  // kInUse
  uint16_t port() const;                            // that it listens on
  void close();
  const HttpMetrics& metrics() const;

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace cairn::server
