// The accepting side of connections between nodes.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <string>

#include "server/cluster/node_options.h"
#include "server/net/peer_wire.h"
#include "server/runtime/event_loop.h"

namespace cairn::server {

// Accepts peer connections on `listen`, checks the handshake and hands the socket to the transport of its channel.
class PeerListener {
 public:
  // `accept` runs on this listener's loop with the checked connection.
  PeerListener(EventLoop& loop, std::string secret,
               std::function<void(boost::asio::ip::tcp::socket, const PeerHello&)> accept,
               std::function<void(LogLevel, std::string_view)> log);
  Result<void> listen(const std::string& address);  // kInUse
  // Until it is set only calls are accepted.
  void set_identity(const std::string& cluster, PeerIdentity self);
  void close();

 private:
  struct Pending;
  void accept_next();
  void greet(const std::shared_ptr<Pending>& pending);
  void check(const std::shared_ptr<Pending>& pending);

  EventLoop& loop_;
  const std::string secret_;
  std::function<void(boost::asio::ip::tcp::socket, const PeerHello&)> accept_;
  std::function<void(LogLevel, std::string_view)> log_;
  boost::asio::ip::tcp::acceptor acceptor_;
  std::string cluster_;
  PeerIdentity self_;
  size_t pending_ = 0;
  static constexpr size_t kPendingMax = 256;
};

}  // namespace cairn::server
