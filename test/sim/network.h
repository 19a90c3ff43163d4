// The simulated network: connections between nodes with delays, cuts, resets, and datagram-like faults for messages
// that have to stand them.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "server/cluster/transport.h"
#include "test/sim/world.h"

namespace cairn::sim {

using server::Channel;
using server::PeerIdentity;

struct NetworkFaults {
  double drop = 0;  // of link and consensus messages
  double duplicate = 0;
  double reorder = 0;   // delivered later than what follows
  double corrupt = 0;   // one bit of the frame on the wire
  double truncate = 0;  // the stream ends inside the frame
  Duration delay_mean = 200 * kMicrosecond;
};

class Network;

// The Transport of one loop of one life of a node.
class SimTransport final : public server::Transport {
 public:
  SimTransport(Network& network, std::string address, SimExecutor& loop, std::shared_ptr<Process> process)
      : network_(network), address_(std::move(address)), loop_(loop), process_(std::move(process)) {}
  void set_events(server::TransportEvents* events) { events_ = events; }
  void set_identity(const std::string& cluster, PeerIdentity self) {
    cluster_ = cluster;
    self_ = self;
  }
  void set_address(NodeId node, const std::string& address) override { addresses_[node] = address; }
  void send(NodeId to, Channel channel, std::string frame) override;
  void flush() override {}
  uint64_t queued_bytes(NodeId, Channel) const override { return 0; }
  void call(const std::string& address, std::string request, CallDone done) override;

 private:
  friend class Network;
  Network& network_;
  const std::string address_;
  SimExecutor& loop_;
  std::shared_ptr<Process> process_;
  server::TransportEvents* events_ = nullptr;
  std::string cluster_;
  PeerIdentity self_;
  std::map<NodeId, std::string> addresses_;
};

class Network {
 public:
  explicit Network(World& world) : world_(world) {}

  // A process listens: transports of its two loops. Removed when it dies.
  void attach(const std::string& address, SimTransport* data, SimTransport* link);
  void detach(const std::string& address);

  NetworkFaults faults;
  // Sees every frame of the data channel as it leaves a process.
  std::function<void(const std::string& from, std::string_view frame)> on_send;
  // Directed cuts and delays between addresses; empty = healthy.
  void cut(const std::string& from, const std::string& to) { cuts_.insert({from, to}); }
  void heal(const std::string& from, const std::string& to) { cuts_.erase({from, to}); }
  void heal_all() {
    cuts_.clear();
    slow_.clear();
    slow_data_.clear();
  }
  // `data_only`: the link channel is as fast as ever, so liveness sees nothing of it.
  void slow(const std::string& from, const std::string& to, Duration extra, bool data_only = false) {
    (data_only ? slow_data_ : slow_)[{from, to}] = extra;
  }
  void reset(const std::string& a, const std::string& b);  // all connections between two
  bool reaches(const std::string& from, const std::string& to) const { return cuts_.count({from, to}) == 0; }
  std::map<std::string, uint64_t> fired;  // faults that hit a message, by name

 private:
  friend class SimTransport;
  struct Key {
    std::string from, to;
    Channel channel;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Connection {
    uint64_t generation = 0;
    Instant last_delivery = 0;
    Instant stuck_since = 0;       // 0 = flowing
    std::deque<std::string> held;  // cut: TCP would send these again
    NodeId to_node, from_node;
  };
  struct Host {
    SimTransport* data = nullptr;
    SimTransport* link = nullptr;
    uint64_t life = 0;
  };

  void send(SimTransport& from, NodeId to, Channel channel, std::string frame);
  void deliver(const Key& key, uint64_t generation, uint64_t from_life, PeerIdentity from, NodeId to, std::string frame,
               Instant at);
  void break_connection(const Key& key, bool refused);
  void check_stuck(const Key& key, uint64_t generation);
  bool survives_wire(const std::string& frame);
  Duration delay(const std::string& from, const std::string& to, bool link = true);
  SimTransport* transport(const Host& host, Channel channel) {
    return channel == Channel::kLink ? host.link : host.data;
  }

  World& world_;
  std::map<std::string, Host> hosts_;
  std::map<Key, Connection> connections_;
  std::set<std::pair<std::string, std::string>> cuts_;
  std::map<std::pair<std::string, std::string>, Duration> slow_, slow_data_;
  uint64_t next_life_ = 1;
};

}  // namespace cairn::sim
