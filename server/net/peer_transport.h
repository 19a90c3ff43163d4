// The real Transport: TCP connections to the other nodes, one per (node, channel), dialled by the sender.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/metrics.h"
#include "server/cluster/node_options.h"
#include "server/cluster/transport.h"
#include "server/net/peer_wire.h"
#include "server/runtime/event_loop.h"

namespace cairn::server {

struct PeerNetMetrics {
  Counter frames_sent, frames_received, bytes_sent, bytes_received, connects, disconnects, dropped, refused_handshakes;
};

// Thread safety: on its loop, but for what is said otherwise.
class PeerTransport final : public Transport {
 public:
  PeerTransport(EventLoop& loop, std::string secret, std::function<void(LogLevel, std::string_view)> log);
  ~PeerTransport() override;

  void set_events(TransportEvents* events) { events_ = events; }
  void set_identity(const std::string& cluster, PeerIdentity self);
  const PeerNetMetrics& metrics() const { return metrics_; }

  void set_address(NodeId node, const std::string& address) override;
  void send(NodeId to, Channel channel, std::string frame) override;
  void flush() override;
  uint64_t queued_bytes(NodeId to, Channel channel) const override;
  void call(const std::string& address, std::string request, CallDone done) override;

  // Takes over a connection that PeerListener has accepted and checked.
  void adopt(boost::asio::ip::tcp::socket socket, const PeerHello& hello);
  void close_all();

 private:
  struct Outgoing;
  struct Incoming;
  struct Call;
  using Key = std::pair<NodeId, Channel>;

  void dial(const Key& key);
  void dialled(const std::shared_ptr<Outgoing>& out);
  void lost(const std::shared_ptr<Outgoing>& out, bool refused);
  void write(const std::shared_ptr<Outgoing>& out);
  void watch(const std::shared_ptr<Outgoing>& out);
  void read(const std::shared_ptr<Incoming>& in);
  void close_forwards_of(NodeId peer);

  // Bytes, by channel; above: reconnect.
  static constexpr uint64_t kQueueMax[5] = {1u << 20, 128u << 20, 32u << 20, 0, 256u << 20};
  static constexpr uint64_t kConnectingQueueMax = 4u << 20;

  EventLoop& loop_;
  const std::string secret_;
  std::function<void(LogLevel, std::string_view)> log_;
  TransportEvents* events_ = nullptr;
  std::string cluster_;
  PeerIdentity self_;
  std::map<NodeId, std::string> addresses_;
  std::map<Key, std::shared_ptr<Outgoing>> outgoing_;
  std::set<std::shared_ptr<Incoming>> incoming_;
  std::set<std::shared_ptr<Outgoing>> dirty_;
  PeerNetMetrics metrics_;
  bool closed_ = false;
};

}  // namespace cairn::server
