#include "server/http/http_server.h"

#include "server/http/http_connection.h"
#include "server/net/endpoints.h"

namespace cairn::server {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCodeT = boost::system::error_code;

namespace {
constexpr size_t kConnectionsMax = 64;
}  // namespace

bool HttpServer::Impl::make_place() {
  if (connections < kConnectionsMax) return true;
  if (waiting.empty()) return false;
  waiting.front()->evict();
  return true;
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
    self->metrics.accepted.add_owned();
    ErrorCodeT ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    self->newcomer.emplace(std::move(socket));
    self->admit();
  });
}

void HttpServer::Impl::admit() {
  if (closed || !newcomer || !make_place()) return;
  std::make_shared<HttpConnection>(*std::exchange(newcomer, std::nullopt), shared_from_this())->read();
  accept_next();
}

// Posted: the connection that made the place is in the middle of something.
void HttpServer::Impl::place_free() {
  if (newcomer) loop.post([self = shared_from_this()] { self->admit(); });
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
