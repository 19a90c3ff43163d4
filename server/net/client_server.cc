#include "server/net/client_server.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <boost/asio/steady_timer.hpp>

#include "server/net/peer_transport.h"

namespace cairn::server {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCodeT = boost::system::error_code;

namespace {
std::string endpoint_text(const tcp::endpoint& endpoint) {
  return endpoint.address().is_v6() ? fmt::format("[{}]:{}", endpoint.address().to_string(), endpoint.port())
                                    : fmt::format("{}:{}", endpoint.address().to_string(), endpoint.port());
}
}  // namespace

struct ClientServer::Connection {
  Connection(tcp::socket s, uint64_t id, CommandSink& sink, SessionOptions options)
      : socket(std::move(s)), session(id, sink, std::move(options)) {}
  tcp::socket socket;
  Session session;
  bool reading = false;  // an asynchronous wait for input is under way
  bool writing = false;  // the kernel's buffer is full: waiting for room
  bool dirty = false;
  bool closed = false;
};

ClientServer::ClientServer(EventLoop& loop, Node& node, CommandStats* stats, const Options& options)
    : loop_(loop), node_(node), stats_(stats), options_(options), acceptor_(loop.context()) {}

ClientServer::~ClientServer() { close_all(); }

Result<void> ClientServer::listen(const std::string& address) {
  CAIRN_TRY_VOID(listen_on(acceptor_, address));
  local_address_ = address;
  accept_next();
  return {};
}

void ClientServer::stop_accepting() {
  ErrorCodeT ignored;
  acceptor_.close(ignored);
}

void ClientServer::close_all() {
  closed_ = true;
  stop_accepting();
  auto connections = std::exchange(connections_, {});
  for (auto& [id, connection] : connections) {
    if (!connection->closed) {
      flush(connection);  // replies that are due go out; what the kernel does not take is lost with the connection
      ErrorCodeT ignored;
      connection->closed = true;
      connection->session.on_close();
      node_.remove_session(id);
      connection->socket.close(ignored);
    }
  }
  dirty_.clear();
}

void ClientServer::accept_next() {
  acceptor_.async_accept([this](const ErrorCodeT& error, tcp::socket socket) {
    if (closed_ || error == asio::error::operation_aborted || !acceptor_.is_open()) return;
    if (error) {  // out of descriptors: not again at once
      loop_.run_after(50 * kMillisecond, [this] {
        if (!closed_ && acceptor_.is_open()) accept_next();
      });
      return;
    }
    add(std::move(socket));
    accept_next();
  });
}

void ClientServer::add(tcp::socket socket) {
  ErrorCodeT error;
  if (connections_.size() >= options_.clients_max) {
    metrics_.rejected.add_owned();
    constexpr std::string_view kFull = "-ERR max number of clients reached\r\n";
    (void)::send(socket.native_handle(), kFull.data(), kFull.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    socket.close(error);
    return;
  }
  socket.set_option(tcp::no_delay(true), error);
  socket.non_blocking(true, error);
  const int on = 1;
  ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  SessionOptions session;
  session.limits = options_.limits;
  const tcp::endpoint remote = socket.remote_endpoint(error);
  session.peer_address = error ? "?:0" : endpoint_text(remote);
  session.local_address = local_address_;
  session.fd = socket.native_handle();
  session.stats = stats_;
  const uint64_t id = node_.new_session_id();
  auto connection = std::make_shared<Connection>(std::move(socket), id, node_, std::move(session));
  connections_.emplace(id, connection);
  node_.add_session(connection->session);
  metrics_.accepted.add_owned();
  wait_readable(connection);
}

void ClientServer::wait_readable(const std::shared_ptr<Connection>& connection) {
  if (connection->reading || connection->closed || connection->session.paused() || connection->session.wants_close()) {
    return;
  }
  connection->reading = true;
  connection->socket.async_wait(tcp::socket::wait_read, [this, connection](const ErrorCodeT& error) {
    connection->reading = false;
    if (connection->closed) return;
    if (error) return close(connection);
    readable(connection);
  });
}

void ClientServer::readable(const std::shared_ptr<Connection>& connection) {
  // One read a turn, so that one busy client does not starve the others.
  const std::span<char> space = connection->session.input_space(options_.read_bytes);
  const ssize_t got = ::recv(connection->socket.native_handle(), space.data(), space.size(), MSG_DONTWAIT);
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
    connection->session.input_filled(0);
    return close(connection);
  }
  connection->session.input_filled(got > 0 ? static_cast<size_t>(got) : 0);
  if (got > 0) metrics_.bytes_in.add_owned(static_cast<uint64_t>(got));
  mark(connection);
  wait_readable(connection);
}

void ClientServer::mark(const std::shared_ptr<Connection>& connection) {
  if (connection->dirty || connection->closed) return;
  connection->dirty = true;
  dirty_.push_back(connection);
}

void ClientServer::output_ready(uint64_t session) {
  const auto found = connections_.find(session);
  if (found != connections_.end()) mark(found->second);
}

void ClientServer::end_turn() {
  while (!dirty_.empty()) {
    const auto dirty = std::exchange(dirty_, {});
    for (const auto& connection : dirty) {
      connection->dirty = false;
      flush(connection);
    }
  }
}

void ClientServer::flush(const std::shared_ptr<Connection>& connection) {
  if (connection->closed || connection->writing) return;
  std::string& output = connection->session.output();
  if (!output.empty()) {
    const ssize_t sent =
        ::send(connection->socket.native_handle(), output.data(), output.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) return close(connection);
    if (sent > 0) {
      metrics_.bytes_out.add_owned(static_cast<uint64_t>(sent));
      if (static_cast<size_t>(sent) == output.size()) {
        output.clear();
      } else {
        output.erase(0, static_cast<size_t>(sent));
      }
    }
    if (!output.empty()) {
      connection->writing = true;
      connection->socket.async_wait(tcp::socket::wait_write, [this, connection](const ErrorCodeT& error) {
        connection->writing = false;
        if (connection->closed) return;
        if (error) return close(connection);
        mark(connection);
      });
      return;
    }
    connection->session.on_output_sent();
    if (!connection->session.output().empty()) mark(connection);
  }
  if (connection->session.wants_close() && connection->session.output().empty()) return close(connection);
  wait_readable(connection);
}

void ClientServer::close(const std::shared_ptr<Connection>& connection) {
  if (connection->closed) return;
  connection->closed = true;
  metrics_.closed.add_owned();
  connection->session.on_close();
  node_.remove_session(connection->session.id());
  ErrorCodeT ignored;
  connection->socket.shutdown(tcp::socket::shutdown_both, ignored);
  connection->socket.close(ignored);
  connections_.erase(connection->session.id());
}

}  // namespace cairn::server
