#include "server/net/client_server.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/steady_timer.hpp>

#include "server/net/endpoints.h"
#include "server/net/send_pieces.h"

namespace cairn::server {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCodeT = boost::system::error_code;

namespace {
constexpr Duration kTick = 250 * kMillisecond;
constexpr Duration kIdle = kSecond;  // of silence: a connection gives back what it keeps for the next command

void set_keepalive(int socket, Duration silence) {
  if (silence == 0) return;
  // Three probes in the time of one silence, as Redis does.
  const int on = 1, idle = std::max<int>(1, static_cast<int>(silence / kSecond)), interval = std::max(1, idle / 3),
            probes = 3;
  ::setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

std::string endpoint_text(const tcp::endpoint& endpoint) {
  return endpoint.address().is_v6() ? fmt::format("[{}]:{}", endpoint.address().to_string(), endpoint.port())
                                    : fmt::format("{}:{}", endpoint.address().to_string(), endpoint.port());
}
}  // namespace

struct ClientServer::Connection {
  Connection(int descriptor, uint64_t id, CommandSink& sink, SessionOptions options)
      : fd(descriptor), session(id, sink, std::move(options)) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { disconnect(); }
  void disconnect() {
    if (fd < 0) return;
    ::shutdown(fd, SHUT_RDWR);
    ::close(fd);
    fd = -1;
  }

  int fd;  // owned; reported by readiness_ until it is closed
  Session session;
  bool readable = false;  // the kernel may have input that was not read yet
  bool hangup = false;    // what is to be read ends with the end
  bool ended = false;     // the client sends no more; it may wait for replies
  bool unread = false;    // in unread_
  bool rested = false;    // in unread_, to go on with commands that were read
  bool writing = false;   // the kernel's buffer is full: waiting for room
  bool dirty = false;
  bool closed = false;
  Instant soft_since = 0;   // above the soft output limit since then; 0: below
  uint64_t soft_taken = 0;  // bytes that the client took in that time
};

ClientServer::ClientServer(EventLoop& loop, Node& node, CommandStats* stats, const Options& options)
    : loop_(loop),
      node_(node),
      stats_(stats),
      options_(options),
      acceptor_(loop.context()),
      readiness_(loop.context(), [this](const Readiness::Event& event) { ready(event); }) {}

ClientServer::~ClientServer() { close_all(); }

Result<void> ClientServer::listen(const std::string& address) {
  CAIRN_TRY_VOID(readiness_.open());
  CAIRN_TRY_VOID(listen_on(acceptor_, address));
  local_address_ = address;
  accept_next();
  tick();
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
      connection->closed = true;
      connection->session.on_close();
      node_.remove_session(id);
      connection->disconnect();
    }
  }
  dirty_.clear();
  unread_.clear();
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
  set_keepalive(socket.native_handle(), options_.keepalive);
  SessionOptions session;
  session.limits = options_.limits;
  const tcp::endpoint remote = socket.remote_endpoint(error);
  session.peer_address = error ? "?:0" : endpoint_text(remote);
  session.local_address = local_address_;
  const int fd = socket.release(error);
  if (error) return;
  session.fd = fd;
  session.stats = stats_;
  const uint64_t id = node_.new_session_id();
  auto connection = std::make_shared<Connection>(fd, id, node_, std::move(session));
  if (!readiness_.add(fd, id)) {  // the kernel has no memory for it
    metrics_.rejected.add_owned();
    return;
  }
  connections_.emplace(id, connection);
  node_.add_session(connection->session);
  metrics_.accepted.add_owned();
}

void ClientServer::ready(const Readiness::Event& event) {
  const auto found = connections_.find(event.token);
  if (found == connections_.end()) return;  // closed earlier in this turn
  const std::shared_ptr<Connection> connection = found->second;
  if (event.writable && connection->writing) {
    connection->writing = false;
    mark(connection);
  }
  if (!event.readable) return;
  connection->readable = true;
  connection->hangup |= event.hangup;
  if (!connection->unread && may_read(*connection)) read(connection);
}

bool ClientServer::may_read(const Connection& connection) const {
  return connection.readable && !connection.closed && !connection.session.paused() && !connection.session.wants_close();
}

void ClientServer::read(const std::shared_ptr<Connection>& connection) {
  // One read a turn, so that one busy client does not starve the others.
  const std::span<char> space = connection->session.input_space(options_.read_bytes);
  const ssize_t got = ::recv(connection->fd, space.data(), space.size(), MSG_DONTWAIT);
  const bool failed = got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
  if (got == 0 || failed) {
    connection->session.input_filled(0);
    connection->readable = false;
    connection->ended = true;
    if (failed || finished(*connection)) close(connection);
    return;
  }
  // Less than there was room for: the kernel has no more, and reports what comes later. The end of the stream may
  // have been reported already.
  if (got > 0 ? static_cast<size_t>(got) < space.size() && !connection->hangup : errno != EINTR) {
    connection->readable = false;
  }
  connection->session.input_filled(got > 0 ? static_cast<size_t>(got) : 0);
  if (got > 0) metrics_.bytes_in.add_owned(static_cast<uint64_t>(got));
  mark(connection);
  read_on(connection);
}

// It has ended, and has everything that it asked for.
bool ClientServer::finished(const Connection& connection) const {
  return connection.ended && connection.session.idle();
}

// Reads more next turn if there may be more and the session takes it.
void ClientServer::read_on(const std::shared_ptr<Connection>& connection) {
  if (may_read(*connection)) next_turn(connection);
}

void ClientServer::next_turn(const std::shared_ptr<Connection>& connection) {
  if (connection->unread) return;
  connection->unread = true;
  unread_.push_back(connection);
  if (unread_.size() > 1) return;
  loop_.post([this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    for (const auto& next : std::exchange(unread_, {})) {
      next->unread = false;
      if (std::exchange(next->rested, false) && !next->closed) go_on(next);
      if (may_read(*next)) read(next);
    }
  });
}

// Its output has left.
void ClientServer::go_on(const std::shared_ptr<Connection>& connection) {
  connection->session.on_output_sent();
  mark(connection);
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

void ClientServer::tick() {
  if (closed_) return;
  const Instant now = node_.now();
  std::vector<std::shared_ptr<Connection>> broken;
  for (const auto& [id, connection] : connections_) {
    if (broken_limit(*connection, now) != nullptr) {
      broken.push_back(connection);
    } else if (now - std::min(now, connection->session.last_input()) >= kIdle) {
      connection->session.trim();
    }
  }
  for (const auto& connection : broken) (void)enforce(connection, now);
  loop_.run_after(kTick, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) tick();
  });
}

Counter* ClientServer::broken_limit(Connection& connection, Instant now) {
  const Session& session = connection.session;
  ClientLimitMetrics& limits = node_.hub().limits;
  const auto over = [&](Duration limit, Instant since) { return limit != 0 && now > since && now - since >= limit; };
  if (over_output_limit(connection, now)) return &limits.output_buffer;
  if (!session.authenticated() && over(options_.login_timeout, session.created())) return &limits.login;
  if (session.outstanding_commands() == 0 && !session.postponed() &&
      over(options_.idle_timeout, session.last_input())) {
    return &limits.idle;
  }
  return nullptr;
}

bool ClientServer::enforce(const std::shared_ptr<Connection>& connection, Instant now) {
  if (connection->closed) return true;
  Counter* limit = broken_limit(*connection, now);
  if (limit == nullptr) return false;
  limit->add_owned();
  close(connection);
  return true;
}

bool ClientServer::over_output_limit(Connection& connection, Instant now) {
  const uint64_t held = connection.session.output().size();
  if (!connection.session.authenticated() && held > options_.unauthenticated_output) return true;
  if (options_.output_hard != 0 && held > options_.output_hard) return true;
  if (options_.output_soft == 0 || held <= options_.output_soft) {
    connection.soft_since = 0;
    return false;
  }
  if (connection.soft_since == 0) {
    connection.soft_since = now;
    connection.soft_taken = 0;
  }
  if (now - connection.soft_since < options_.output_soft_time) return false;
  if (connection.soft_taken < options_.output_soft) return true;
  connection.soft_since = now;
  connection.soft_taken = 0;
  return false;
}

void ClientServer::flush(const std::shared_ptr<Connection>& connection) {
  if (!connection->closed && connection->session.killed()) return close(connection);
  if (connection->closed) return;
  if (connection->writing) {  // what cannot leave grows
    if (connection->session.output().size() > options_.unauthenticated_output) (void)enforce(connection, node_.now());
    return;
  }
  Session& session = connection->session;
  OutputBuffer& output = session.output();
  if (!output.empty()) {
    const bool rests = session.resting();
    if (!send(connection)) return close(connection);
    if (!output.empty()) {
      if (output.size() > options_.unauthenticated_output && enforce(connection, node_.now())) return;
      connection->writing = true;  // room is reported
      return;
    }
    if (rests) {  // others come first
      connection->rested = true;
      return next_turn(connection);
    }
    session.on_output_sent();
    if (!output.empty()) mark(connection);
  }
  if ((session.wants_close() && output.empty()) || finished(*connection)) return close(connection);
  read_on(connection);
}

// What the kernel takes. False: the connection has failed.
bool ClientServer::send(const std::shared_ptr<Connection>& connection) {
  const ssize_t sent = send_pieces(connection->fd, connection->session.output());
  if (sent < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
  metrics_.bytes_out.add_owned(static_cast<uint64_t>(sent));
  connection->soft_taken += static_cast<uint64_t>(sent);
  return true;
}

void ClientServer::close(const std::shared_ptr<Connection>& connection) {
  if (connection->closed) return;
  connection->closed = true;
  metrics_.closed.add_owned();
  connection->session.on_close();
  node_.remove_session(connection->session.id());
  connection->disconnect();
  connections_.erase(connection->session.id());
}

}  // namespace cairn::server
