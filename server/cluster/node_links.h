// Liveness between nodes: one link per node pair, shared by all groups (docs/consensus.md, "Elections" and "Reads",
// says what they rely on).
//
// A node asks its peers for support with every heartbeat. A supporter promises, for `promise` from the receipt, not to
// let any of its replicas vote against groups led from the supported node. Support has an epoch; it ends only by
// withdrawal, which is irrevocable: the next grant has a higher epoch.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/types.h"
#include "consensus/replicated_log.h"
#include "server/cluster/peer_frames.h"
#include "server/cluster/transport.h"

namespace cairn::server {

struct LinkOptions {
  Duration heartbeat = 50 * kMillisecond;         // between heartbeats to one peer
  Duration promise = 400 * kMillisecond;          // how long one grant of support lasts from its receipt
  Duration suspicion = 800 * kMillisecond;        // silence after which support is withdrawn; >= promise
  Duration pause_tolerance = 200 * kMillisecond;  // a tick later than this was a pause of our own: judge nobody by it
  uint32_t drift_ppm = 10'000;                    // bound on the relative drift of two monotonic clocks
};

// What the range loop is told about one peer; consensus::PeerLiveness plus whom that peer hears.
struct PeerReport {
  NodeId node;
  consensus::PeerLiveness liveness;
  std::vector<NodeId> reachable;
  uint64_t write_delay_ps = 0;  // see HeartbeatFrame
};

// Pure apart from the transport it sends through: no clock, no threads. Thread safety: on the link loop.
class NodeLinks {
 public:
  // `report` is called whenever something about a peer changed, also for plain renewals; the owner posts it to the
  // range loop in order. `first_life`: the data directory is new, so no promise of an earlier life can exist.
  NodeLinks(NodeId self, Incarnation incarnation, const LinkOptions& options, Transport& transport,
            std::function<void(const PeerReport&)> report, Instant now, bool first_life);

  void set_peers(const std::vector<NodeId>& peers);
  void on_frame(Instant now, const PeerIdentity& from, std::string_view frame);
  void on_disconnected(Instant now, NodeId peer, bool refused);
  // Sends heartbeats, withdraws support, notices silence. Call every options.heartbeat / 2 or so. `healthy`: the range
  // loop and the log of this node have made progress within the last two seconds. `write_delay_ps`: see HeartbeatFrame.
  void tick(Instant now, bool healthy, uint64_t write_delay_ps = 0);
  // The last act of an orderly stop: peers may elect at once.
  void relinquish();

 private:
  struct Peer {
    bool member = false;
    Incarnation incarnation;
    // our support for the peer
    SupportEpoch granted;     // 0 = none
    SupportEpoch last_epoch;  // highest ever granted
    Instant promised_until = 0;
    bool refused = false;  // its listener is gone
    // the peer's support for us
    SupportEpoch held;
    Instant held_until = 0;
    Instant last_heard = 0;
    Instant last_heartbeat = 0;
    bool reachable = false;
    std::vector<NodeId> hears;
    uint64_t write_delay_ps = 0;
  };

  void on_heartbeat(Instant now, Peer& peer, const PeerIdentity& from, const HeartbeatFrame& frame);
  void on_reply(Peer& peer, const PeerIdentity& from, const HeartbeatReplyFrame& frame);
  void notice_incarnation(Peer& peer, Incarnation incarnation);
  void withdraw(Peer& peer);
  void report(NodeId node, const Peer& peer);

  const NodeId self_;
  const Incarnation incarnation_;
  const LinkOptions options_;
  Transport& transport_;
  std::function<void(const PeerReport&)> report_;
  std::map<NodeId, Peer> peers_;
  Instant silent_until_;  // after boot nobody is supported: the last life may have promised
  Instant last_tick_;
  uint64_t sequence_ = 0;
  bool relinquished_ = false;
};

}  // namespace cairn::server
