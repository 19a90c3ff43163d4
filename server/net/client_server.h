// Listens for Redis clients and moves bytes between their sockets and their sessions.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/metrics.h"
#include "server/cluster/node.h"
#include "server/net/readiness.h"
#include "server/runtime/event_loop.h"
#include "server/session/session.h"

namespace cairn::server {

struct ClientNetMetrics {
  Counter accepted, rejected, closed, bytes_in, bytes_out;
};

// Thread safety: on the range loop.
class ClientServer {
 public:
  struct Options {
    size_t clients_max = 10'000;
    size_t read_bytes = 16 * 1024;  // asked for at once from one socket
    SessionLimits limits;
    Duration idle_timeout = 0;              // 0: never
    Duration login_timeout = 60 * kSecond;  // for a client that does not authenticate; 0: never
    Duration keepalive = 300 * kSecond;     // silence before the host is probed; 0: never
    // Unsent replies of one client, bytes; 0: no limit. Above `hard` it is closed; above `soft` if that lasts for
    // `soft_time` and the client took less than `soft` meanwhile.
    uint64_t output_hard = 256ull << 20;
    uint64_t output_soft = 64ull << 20;
    Duration output_soft_time = 60 * kSecond;
    uint64_t unauthenticated_output = 16u << 10;
  };
  ClientServer(EventLoop& loop, Node& node, CommandStats* stats, const Options& options);
  ~ClientServer();

  Result<void> listen(const std::string& address);  // kInUse
  // What is different from now on; connections that exist keep their parser limits and keepalive.
  void set_options(const Options& options) { options_ = options; }
  void stop_accepting();
  void close_all();

  // The session has new output: its connection is written at the end of the turn.
  void output_ready(uint64_t session);
  void end_turn();

  size_t connections() const { return connections_.size(); }
  const ClientNetMetrics& metrics() const { return metrics_; }

 private:
  struct Connection;
  void accept_next();
  void add(boost::asio::ip::tcp::socket socket);
  void ready(const Readiness::Event& event);
  bool may_read(const Connection& connection) const;
  void read(const std::shared_ptr<Connection>& connection);
  void read_on(const std::shared_ptr<Connection>& connection);
  void next_turn(const std::shared_ptr<Connection>& connection);
  void go_on(const std::shared_ptr<Connection>& connection);
  bool finished(const Connection& connection) const;
  void flush(const std::shared_ptr<Connection>& connection);
  bool send(const std::shared_ptr<Connection>& connection);
  void close(const std::shared_ptr<Connection>& connection);
  void mark(const std::shared_ptr<Connection>& connection);
  void tick();
  // Closes a connection that has been too long in a state, or holds too much; true if it did.
  bool enforce(const std::shared_ptr<Connection>& connection, Instant now);
  Counter* broken_limit(Connection& connection, Instant now);  // which counts; null: none
  bool over_output_limit(Connection& connection, Instant now);

  EventLoop& loop_;
  Node& node_;
  CommandStats* stats_;
  Options options_;
  boost::asio::ip::tcp::acceptor acceptor_;
  std::string local_address_;
  Readiness readiness_;
  std::unordered_map<uint64_t, std::shared_ptr<Connection>> connections_;
  std::vector<std::shared_ptr<Connection>> dirty_;
  std::vector<std::shared_ptr<Connection>> unread_;  // have more to read, next turn
  ClientNetMetrics metrics_;
  bool closed_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // a task that comes too late finds it gone
};

}  // namespace cairn::server
