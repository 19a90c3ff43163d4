// One connection of the admin HTTP server: reads a request, hands it over, writes the reply, and again.
#pragma once

#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <list>
#include <memory>
#include <optional>

#include "server/http/http_request.h"
#include "server/http/http_server.h"

namespace cairn::server {

class HttpConnection;

struct HttpServer::Impl : std::enable_shared_from_this<HttpServer::Impl> {
  Impl(EventLoop& l, Handle h) : loop(l), handle(std::move(h)), acceptor(l.context()) {}
  EventLoop& loop;
  Handle handle;
  boost::asio::ip::tcp::acceptor acceptor;
  HttpMetrics metrics;
  size_t connections = 0;
  std::list<HttpConnection*> waiting;                    // those that we wait for; for longest first
  std::optional<boost::asio::ip::tcp::socket> newcomer;  // waits for a place; no other is accepted before it
  bool closed = false;

  void accept_next();
  void admit();
  void place_free();  // or a connection that may be evicted

 private:
  bool make_place();  // false: every connection is inside the handler
};

// Thread safety: on the server's loop; it also ends there, whoever drops the last hold on it.
class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(boost::asio::ip::tcp::socket socket, std::shared_ptr<HttpServer::Impl> server);
  ~HttpConnection();
  void read();
  void evict();  // ends it for another one's sake

 private:
  using Error = boost::beast::error_code;
  void wait_for_peer();  // from now on it may be evicted
  void leave_waiting();
  void give_up_place();
  void read_request();
  void read_body();
  bool failed(Error error);
  void run();
  void write(AdminReply reply);
  void close();

  boost::beast::tcp_stream stream_;
  const std::shared_ptr<HttpServer::Impl> server_;
  bool counted_ = true;  // in server_->connections
  std::optional<std::list<HttpConnection*>::iterator> waiting_;
  boost::beast::flat_buffer buffer_;
  std::optional<HttpParser> parser_;
  boost::beast::http::response<boost::beast::http::string_body> response_;
  uint64_t serial_ = 0;    // of the request; late answers to an earlier one are ignored
  bool handling_ = false;  // `handle` has it
  TimerId limit_ = 0;      // of handling
  unsigned version_ = 11;
  bool keep_alive_ = false;
  bool head_ = false;
};

}  // namespace cairn::server
