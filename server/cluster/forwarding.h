// Commands of this node's connections that cannot run here at once: forwarded to the leader, or waiting for one, or for
// this node to know their range. First-in first-out per (connection, range), retries included.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/metrics.h"
#include "base/types.h"
#include "server/cluster/peer_frames.h"
#include "server/cluster/transport.h"
#include "server/replica/command_call.h"

namespace cairn::server {

struct ForwardingMetrics {
  Counter forwarded;  // sent to another node
  Counter refused;    // answered: not the leader
  Counter expired;    // no leader, or no range, within cluster.wait_for_leader
  Counter lost;       // the connection went while the outcome was unknown
};

class ForwardingHost {
 public:
  virtual ~ForwardingHost() = default;
  virtual Instant now() const = 0;
  // This node leads the range and runs the command now. True: `reply` holds the answer; false: it comes by deliver().
  virtual bool leads(RangeId range) = 0;
  virtual bool execute_here(RangeId range, const CommandCall& call, std::string& reply) = 0;
  // Who should get a command of the range; 0 = unknown, this node = it is about to lead (wait).
  virtual NodeId leader_of(RangeId range) = 0;
  virtual void learn_leader(RangeId range, NodeId leader) = 0;
  // `large`: over a connection of its own, so that nothing small waits behind it.
  virtual void send_forward(NodeId to, std::string frame, bool large) = 0;
  virtual void deliver(const ReplyTarget& target, std::string_view reply) = 0;
  // Brings a command that waited for its range to where it runs; `deadline` goes with it. False: its range is still
  // unknown. May deliver replies before it returns.
  virtual bool route(const CommandCall& call, Instant deadline) = 0;
  // Call Forwarding::pump_all() after `delay`.
  virtual void pump_later(Duration delay) = 0;
};

// Thread safety: on the range loop.
class Forwarding {
 public:
  Forwarding(ForwardingHost& host, Duration wait_for_leader) : host_(host), wait_for_leader_(wait_for_leader) {}
  void set_wait_for_leader(Duration wait) { wait_for_leader_ = wait; }

  // True if commands of this connection for this range are under way or waiting: a new one has to queue behind them.
  bool busy(uint64_t session, RangeId range) const {
    return !streams_.empty() && streams_.find({session, range}) != streams_.end();
  }
  // `deadline`: earlier than cluster.wait_for_leader from now, for a command that has waited before.
  void add(uint64_t session, RangeId range, const CommandCall& call, Instant deadline = kNever);
  // Commands whose range this node does not know yet (it is starting, or the cluster has none): one queue for each
  // connection. While it is not empty, whatever else the connection sends has to queue behind.
  bool unrouted(uint64_t session) const {
    if (unrouted_.empty()) return false;
    const auto found = unrouted_.find(session);
    return found != unrouted_.end() && !found->second.empty();
  }
  void add_unrouted(uint64_t session, const CommandCall& call);
  void route_all();  // the ranges may be known now
  void on_reply(NodeId from, const ForwardReplyFrame& frame);
  // The connection to `peer` is gone or it no longer answers.
  void peer_lost(NodeId peer);
  // Of what waits for an answer of `peer`, nothing of the large commands, or nothing but these, has left: it is tried
  // again, writes too, until its time is over.
  void peer_unsent(NodeId peer, bool large);
  void session_closed(uint64_t session);
  // Tries everything that waits and answers what waited too long.
  void pump_all();
  void fail_all(std::string_view error);  // shutdown
  size_t waiting() const { return requests_.size() + waiting_; }
  const ForwardingMetrics& metrics() const { return metrics_; }

 private:
  struct Item {
    OwnedCommand command;
    Instant deadline = 0;
    uint64_t request = 0;  // 0 = waiting; otherwise sent to `peer`
    NodeId peer;
    bool large() const { return command.size() > kLargeFrameBytes; }
  };
  struct Stream {
    uint64_t epoch = 1;
    size_t sent = 0;
    bool pumping =
        false;  // a reply that pump() delivers may bring the next command of the stream: the outer call takes it
    bool refused = false;  // some item came back: everything sent has to come back before anything is sent again
    std::deque<Item> items;
  };
  using Key = std::pair<uint64_t, RangeId>;

  void give_back(NodeId peer, const std::function<bool(const Item&)>& unsent);
  void pump(const Key& key);
  bool send_next(const Key& key, Stream& stream, std::vector<std::string_view>& argv);
  void expire_unrouted();

  ForwardingHost& host_;
  Duration wait_for_leader_;
  std::map<Key, Stream> streams_;
  std::map<uint64_t, std::deque<Item>> unrouted_;
  std::map<uint64_t, Key> requests_;
  uint64_t next_request_ = 1;
  size_t waiting_ = 0;
  ForwardingMetrics metrics_;
};

// The receiving side's memory of refusals: after one, the rest of the stream is refused up to that epoch, so that
// nothing overtakes what was refused.
class RefusedStreams {
 public:
  bool refused(NodeId node, uint64_t session, RangeId range, uint64_t epoch);
  void refuse(NodeId node, uint64_t session, RangeId range, uint64_t epoch);
  void forget(NodeId node);

 private:
  static constexpr size_t kMax = 100'000;
  struct Key {
    NodeId node;
    uint64_t session;
    RangeId range;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  std::map<Key, uint64_t> epochs_;
};

}  // namespace cairn::server
