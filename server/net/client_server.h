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
  };
  ClientServer(EventLoop& loop, Node& node, CommandStats* stats, const Options& options);
  ~ClientServer();

  Result<void> listen(const std::string& address);  // kInUse
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
  void flush(const std::shared_ptr<Connection>& connection);
  void close(const std::shared_ptr<Connection>& connection);
  void mark(const std::shared_ptr<Connection>& connection);

  EventLoop& loop_;
  Node& node_;
  CommandStats* stats_;
  const Options options_;
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
