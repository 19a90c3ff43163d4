#include "server/http/http_server.h"

#include <boost/asio/post.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include "server/net/peer_transport.h"

namespace cairn::server {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;

namespace {
constexpr auto kRequestLimit = std::chrono::seconds(5);
constexpr auto kReplyLimit = std::chrono::seconds(30);
constexpr size_t kConnectionsMax = 64;
constexpr uint32_t kHeaderBytesMax = 16 * 1024;
constexpr uint64_t kBodyBytesMax = 1024 * 1024;
}  // namespace

struct HttpServer::Impl : std::enable_shared_from_this<HttpServer::Impl> {
  Impl(EventLoop& l, Handle h) : loop(l), handle(std::move(h)), acceptor(l.context()) {}
  EventLoop& loop;
  Handle handle;
  tcp::acceptor acceptor;
  size_t connections = 0;
  bool closed = false;

  void accept_next();
};

namespace {

class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(tcp::socket socket, EventLoop& loop, HttpServer::Handle& handle, std::function<void()> gone)
      : stream_(std::move(socket)), loop_(loop), handle_(handle), gone_(std::move(gone)) {}
  ~HttpConnection() { gone_(); }

  void read() {
    parser_.emplace();
    parser_->header_limit(kHeaderBytesMax);
    parser_->body_limit(kBodyBytesMax);
    stream_.expires_after(kRequestLimit);
    http::async_read(stream_, buffer_, *parser_, [self = shared_from_this()](beast::error_code error, size_t) {
      if (error == http::error::end_of_stream || error == beast::error::timeout) return self->close();
      if (error == http::error::header_limit || error == http::error::body_limit) {
        self->keep_alive_ = false;
        return self->write(problem(413, "Too large", "the request is above the limit"));
      }
      if (error) return self->close();
      self->run();
    });
  }

 private:
  void run() {
    const auto& request = parser_->get();
    keep_alive_ = request.keep_alive();
    head_ = request.method() == http::verb::head;
    version_ = request.version();
    stream_.expires_never();
    AdminRequest admin{std::string(request.method_string()), std::string(request.target())};
    handle_(std::move(admin), [self = shared_from_this(), &loop = loop_](AdminReply reply) {
      loop.post([self, reply = std::move(reply)]() mutable { self->write(std::move(reply)); });
    });
  }

  void write(AdminReply reply) {
    response_ = {};
    response_.version(version_);
    response_.result(reply.status);
    response_.set(http::field::server, "cairn");
    response_.set(http::field::content_type, reply.type);
    response_.set("X-Content-Type-Options", "nosniff");
    response_.set(http::field::cache_control, "no-store");
    response_.keep_alive(keep_alive_);
    const size_t length = reply.body.size();
    if (!head_) response_.body() = std::move(reply.body);
    response_.content_length(length);
    stream_.expires_after(kReplyLimit);
    http::async_write(stream_, response_, [self = shared_from_this()](beast::error_code error, size_t) {
      if (error || !self->keep_alive_) return self->close();
      self->read();
    });
  }

  void close() {
    beast::error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
  }

  beast::tcp_stream stream_;
  EventLoop& loop_;
  HttpServer::Handle& handle_;
  std::function<void()> gone_;
  beast::flat_buffer buffer_{kHeaderBytesMax + 64 * 1024};
  std::optional<http::request_parser<http::string_body>> parser_;
  http::response<http::string_body> response_;
  unsigned version_ = 11;
  bool keep_alive_ = false;
  bool head_ = false;
};

}  // namespace

void HttpServer::Impl::accept_next() {
  acceptor.async_accept([self = shared_from_this()](beast::error_code error, tcp::socket socket) {
    if (self->closed || error == asio::error::operation_aborted) return;
    if (error) {
      self->loop.run_after(100 * kMillisecond, [self] {
        if (!self->closed) self->accept_next();
      });
      return;
    }
    if (self->connections < kConnectionsMax) {
      ++self->connections;
      std::make_shared<HttpConnection>(std::move(socket), self->loop, self->handle, [self] {
        --self->connections;
      })->read();
    }
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

void HttpServer::close() {
  impl_->closed = true;
  beast::error_code ignored;
  impl_->acceptor.close(ignored);
}

}  // namespace cairn::server
