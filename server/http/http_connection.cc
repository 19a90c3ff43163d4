#include "server/http/http_connection.h"

#include <algorithm>
#include <cctype>

namespace cairn::server {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;

namespace {

constexpr auto kRequestLimit = std::chrono::seconds(5);
constexpr auto kIdleLimit = std::chrono::seconds(60);
constexpr auto kReplyLimit = std::chrono::seconds(30);
constexpr Duration kHandleLimit = 10 * kSecond;
unsigned status_of(beast::error_code error) {
  if (error == http::error::header_limit) return 431;
  if (error == http::error::body_limit) return 413;
  if (error == beast::error::timeout) return 408;
  return 400;
}

}  // namespace

HttpConnection::HttpConnection(tcp::socket socket, std::shared_ptr<HttpServer::Impl> server)
    : stream_(std::move(socket)), server_(std::move(server)), buffer_(kHttpHeaderBytesMax + 64 * 1024) {
  ++server_->connections;
  server_->metrics.open.set(server_->connections);
}

HttpConnection::~HttpConnection() {
  leave_waiting();
  give_up_place();
}

void HttpConnection::wait_for_peer() {
  leave_waiting();
  waiting_ = server_->waiting.insert(server_->waiting.end(), this);
  server_->place_free();
}

void HttpConnection::leave_waiting() {
  if (waiting_) server_->waiting.erase(*waiting_);
  waiting_.reset();
}

void HttpConnection::give_up_place() {
  if (!counted_) return;
  counted_ = false;
  server_->metrics.open.set(--server_->connections);
  server_->place_free();
}

void HttpConnection::evict() {
  leave_waiting();
  give_up_place();
  server_->metrics.evicted.add_owned();
  beast::error_code ignored;
  stream_.socket().close(ignored);  // what waits on it ends and drops this object
}

void HttpConnection::read() {
  wait_for_peer();
  if (serial_ == 0 || buffer_.size() > 0) return read_request();
  // Kept alive: it may be silent for a while, but once it begins it has to be quick.
  stream_.expires_after(kIdleLimit);
  stream_.async_read_some(buffer_.prepare(kHttpHeaderBytesMax),
                          [self = shared_from_this()](beast::error_code error, size_t got) {
                            if (error) return self->close();
                            self->buffer_.commit(got);
                            self->read_request();
                          });
}

void HttpConnection::read_request() {
  ++serial_;
  parser_.emplace();
  set_limits(*parser_);
  stream_.expires_after(kRequestLimit);
  http::async_read_header(stream_, buffer_, *parser_, [self = shared_from_this()](beast::error_code error, size_t) {
    if (!self->failed(error)) self->read_body();
  });
}

void HttpConnection::read_body() {
  const auto rest = [self = shared_from_this()] {
    http::async_read(self->stream_, self->buffer_, *self->parser_, [self](beast::error_code error, size_t) {
      if (!self->failed(error)) self->run();
    });
  };
  const auto& request = parser_->get();
  if (parser_->is_done() || lower(request[http::field::expect]) != "100-continue") return rest();
  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  asio::async_write(stream_, asio::buffer(kContinue.data(), kContinue.size()),
                    [self = shared_from_this(), rest](beast::error_code error, size_t) {
                      if (!self->failed(error)) rest();
                    });
}

bool HttpConnection::failed(beast::error_code error) {
  if (!error) return false;
  const bool says_something = parser_ && (parser_->got_some() || buffer_.size() > 0);
  if (error == http::error::end_of_stream || error == asio::error::operation_aborted || !counted_ || !says_something) {
    close();
    return true;
  }
  const bool ours = error.category() == make_error_code(http::error::bad_target).category();
  if (!ours && error != beast::error::timeout) {
    close();
    return true;
  }
  server_->metrics.bad_requests.add_owned();
  keep_alive_ = false;
  const unsigned status = status_of(error);
  const char* detail = status == 431   ? "the header is above 16 KiB"
                       : status == 413 ? "the body is above 1 MiB"
                       : status == 408 ? "the request took longer than 5 s"
                                       : "this is not an HTTP request";
  // The stream's own timer has closed the socket after a timeout; then this fails at once.
  write(Problem{.status = status, .detail = detail}.reply());
  return true;
}

void HttpConnection::run() {
  leave_waiting();
  const auto& request = parser_->get();
  keep_alive_ = request.keep_alive();
  head_ = request.method() == http::verb::head;
  version_ = request.version();
  stream_.expires_never();
  server_->metrics.requests.add_owned();
  AdminRequest admin;
  if (const auto wrong = take_request(request, admin)) {
    server_->metrics.bad_requests.add_owned();
    return write(wrong->reply());
  }
  // `done` may be dropped on another thread, but the connection ends on its own loop.
  auto release = [self = shared_from_this(), &loop = server_->loop](HttpConnection*) mutable {
    loop.post([self = std::move(self)] {});
  };
  const std::shared_ptr<HttpConnection> self(this, std::move(release));
  handling_ = true;
  limit_ = server_->loop.run_after(kHandleLimit, [self = shared_from_this(), serial = serial_] {
    if (self->serial_ != serial || !self->handling_) return;
    self->limit_ = 0;
    self->handling_ = false;
    self->server_->metrics.timeouts.add_owned();
    self->write(Problem{.status = 503,
                        .detail = "the node did not answer within 10 s",
                        .hint = "/livez and /v1/node/profile do not need the node's range loop."}
                    .reply());
  });
  server_->handle(std::move(admin), [self, serial = serial_, &loop = server_->loop](AdminReply reply) {
    loop.post([self, serial, reply = std::move(reply)]() mutable {
      if (self->serial_ != serial || !self->handling_) return;
      self->handling_ = false;
      self->server_->loop.cancel(std::exchange(self->limit_, 0));
      self->write(std::move(reply));
    });
  });
}

void HttpConnection::write(AdminReply reply) {
  response_ = {};
  response_.version(version_);
  response_.result(reply.status);
  response_.set(http::field::server, "cairn");
  response_.set("X-Content-Type-Options", "nosniff");
  response_.set("X-Frame-Options", "DENY");
  response_.set("Referrer-Policy", "no-referrer");
  response_.set("Cross-Origin-Resource-Policy", "same-origin");
  response_.set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
  response_.set(http::field::cache_control, "no-store");
  if (!reply.type.empty()) response_.set(http::field::content_type, reply.type);
  if (reply.status == 401) response_.set(http::field::www_authenticate, "Bearer realm=\"cairn\"");
  for (const auto& [name, value] : reply.headers) {
    if (is_printable(name) && is_printable(value)) response_.set(name, value);  // no value ends its line
  }
  response_.keep_alive(keep_alive_);
  const size_t length = reply.body.size();
  if (!head_) response_.body() = std::move(reply.body);
  if (reply.status != 204 && reply.status != 304) response_.content_length(length);
  wait_for_peer();
  stream_.expires_after(kReplyLimit);
  http::async_write(stream_, response_, [self = shared_from_this()](beast::error_code error, size_t) {
    if (error || !self->keep_alive_ || self->server_->closed) return self->close();
    self->read();
  });
}

void HttpConnection::close() {
  leave_waiting();
  beast::error_code ignored;
  stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
}

}  // namespace cairn::server
