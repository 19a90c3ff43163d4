#include "server/http/http_server.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include "server/http/http_connection.h"
#include "server/net/peer_transport.h"

namespace cairn::server {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCodeT = boost::system::error_code;

namespace {
constexpr size_t kConnectionsMax = 64;
// For a connection that finds no place.
const std::string& refusal() {
  static const std::string text = [] {
    const AdminReply reply = Problem{.status = 503, .detail = "all connections are waiting for answers"}.reply();
    return fmt::format(
        "HTTP/1.1 503 Service Unavailable\r\nServer: cairn\r\nRetry-After: 1\r\nConnection: close\r\n"
        "Content-Type: {}\r\nContent-Length: {}\r\n\r\n{}",
        reply.type, reply.body.size(), reply.body);
  }();
  return text;
}
}  // namespace

void HttpServer::Impl::admit(tcp::socket socket) {
  metrics.accepted.add_owned();
  if (connections >= kConnectionsMax) {
    if (waiting.empty()) {
      metrics.refused.add_owned();
      (void)::send(socket.native_handle(), refusal().data(), refusal().size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      return;
    }
    waiting.front()->evict();
  }
  ErrorCodeT ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  std::make_shared<HttpConnection>(std::move(socket), shared_from_this())->read();
}

void HttpServer::Impl::accept_next() {
  acceptor.async_accept([self = shared_from_this()](ErrorCodeT error, tcp::socket socket) {
    if (self->closed || error == asio::error::operation_aborted) return;
    if (error) {
      self->loop.run_after(100 * kMillisecond, [self] {
        if (!self->closed) self->accept_next();
      });
      return;
    }
    self->admit(std::move(socket));
    self->accept_next();
  });
}

HttpServer::HttpServer(EventLoop& loop, Handle handle) : impl_(std::make_shared<Impl>(loop, std::move(handle))) {}
HttpServer::~HttpServer() { close(); }

Result<void> HttpServer::listen(const std::string& address) {
  CAIRN_TRY_VOID(listen_on(impl_->acceptor, address));
  impl_->accept_next();
  return {};
}

uint16_t HttpServer::port() const {
  ErrorCodeT error;
  return impl_->acceptor.local_endpoint(error).port();
}

void HttpServer::close() {
  impl_->closed = true;
  ErrorCodeT ignored;
  impl_->acceptor.close(ignored);
}

const HttpMetrics& HttpServer::metrics() const { return impl_->metrics; }

}  // namespace cairn::server
