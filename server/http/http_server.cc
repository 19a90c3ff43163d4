#include "server/http/http_server.h"

#include <boost/asio/post.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <list>
#include <optional>

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

namespace {
class HttpConnection;
}

struct HttpServer::Impl : std::enable_shared_from_this<HttpServer::Impl> {
  Impl(EventLoop& l, Handle h) : loop(l), handle(std::move(h)), acceptor(l.context()) {}
  EventLoop& loop;
  Handle handle;
  tcp::acceptor acceptor;
  size_t connections = 0;
  std::list<HttpConnection*>
      silent;  // have not sent a whole request header; the one that has been so for longest first
  bool closed = false;

  void accept_next();
  bool make_place();  // false: every connection is being served
};

namespace {

class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(tcp::socket socket, std::shared_ptr<HttpServer::Impl> server)
      : stream_(std::move(socket)), server_(std::move(server)) {
    ++server_->connections;
  }
  ~HttpConnection() {
    spoke();
    give_up_place();
  }

  void read() {
    parser_.emplace();
    parser_->header_limit(kHeaderBytesMax);
    parser_->body_limit(kBodyBytesMax);
    stream_.expires_after(kRequestLimit);
    silent_ = server_->silent.insert(server_->silent.end(), this);
    http::async_read_header(stream_, buffer_, *parser_, [self = shared_from_this()](beast::error_code error, size_t) {
      self->spoke();
      if (self->failed(error)) return;
      http::async_read(self->stream_, self->buffer_, *self->parser_, [self](beast::error_code error, size_t) {
        if (!self->failed(error)) self->run();
      });
    });
  }

  // Closes it for another one's sake.
  void evict() {
    spoke();
    give_up_place();
    beast::error_code ignored;
    stream_.socket().close(ignored);  // what waits on it ends and drops this object
  }

 private:
  void spoke() {
    if (silent_) server_->silent.erase(*silent_);
    silent_.reset();
  }
  void give_up_place() {
    if (counted_) --server_->connections;
    counted_ = false;
  }

  bool failed(beast::error_code error) {
    if (error == http::error::header_limit || error == http::error::body_limit) {
      keep_alive_ = false;
      write(problem(413, "Too large", "the request is above the limit"));
    } else if (error) {
      close();
    }
    return static_cast<bool>(error);
  }

  void run() {
    const auto& request = parser_->get();
    keep_alive_ = request.keep_alive();
    head_ = request.method() == http::verb::head;
    version_ = request.version();
    stream_.expires_never();
    AdminRequest admin{std::string(request.method_string()), std::string(request.target())};
    // `done` may be dropped on another thread, but the connection ends on its own loop.
    auto release = [self = shared_from_this(), &loop = server_->loop](HttpConnection*) mutable {
      loop.post([self = std::move(self)] {});
    };
    const std::shared_ptr<HttpConnection> self(this, std::move(release));
    server_->handle(std::move(admin), [self, &loop = server_->loop](AdminReply reply) {
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
  const std::shared_ptr<HttpServer::Impl> server_;
  bool counted_ = true;  // in server_->connections
  std::optional<std::list<HttpConnection*>::iterator> silent_;
  beast::flat_buffer buffer_{kHeaderBytesMax + 64 * 1024};
  std::optional<http::request_parser<http::string_body>> parser_;
  http::response<http::string_body> response_;
  unsigned version_ = 11;
  bool keep_alive_ = false;
  bool head_ = false;
};

}  // namespace

bool HttpServer::Impl::make_place() {
  if (connections < kConnectionsMax) return true;
  if (silent.empty()) return false;
  silent.front()->evict();
  return true;
}

void HttpServer::Impl::accept_next() {
  acceptor.async_accept([self = shared_from_this()](beast::error_code error, tcp::socket socket) {
    if (self->closed || error == asio::error::operation_aborted) return;
    if (error) {
      self->loop.run_after(100 * kMillisecond, [self] {
        if (!self->closed) self->accept_next();
      });
      return;
    }
    if (self->make_place()) std::make_shared<HttpConnection>(std::move(socket), self)->read();
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
  beast::error_code error;
  return impl_->acceptor.local_endpoint(error).port();
}

void HttpServer::close() {
  impl_->closed = true;
  beast::error_code ignored;
  impl_->acceptor.close(ignored);
}

}  // namespace cairn::server
