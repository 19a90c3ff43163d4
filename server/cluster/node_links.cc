#include "server/cluster/node_links.h"

#include "base/assert.h"

namespace cairn::server {

NodeLinks::NodeLinks(NodeId self, Incarnation incarnation, const LinkOptions& options, Transport& transport,
                     std::function<void(const PeerReport&)> report, Instant now, bool first_life)
    : self_(self),
      incarnation_(incarnation),
      options_(options),
      transport_(transport),
      report_(std::move(report)),
      silent_until_(first_life ? now : now + options.promise),
      last_tick_(now) {
  CAIRN_ASSERT(options.suspicion >= options.promise);
}

void NodeLinks::set_peers(const std::vector<NodeId>& peers) {
  for (auto& [id, peer] : peers_) peer.member = false;
  for (NodeId id : peers) {
    if (id != self_) peers_[id].member = true;
  }
}

void NodeLinks::report(NodeId node, const Peer& peer) {
  PeerReport report;
  report.node = node;
  report.liveness.incarnation = peer.incarnation;
  report.liveness.granted = peer.granted;
  report.liveness.held = peer.held;
  report.liveness.held_until = peer.held_until;
  report.liveness.reachable = peer.reachable;
  report.reachable = peer.hears;
  report.write_delay_ps = peer.write_delay_ps;
  report_(report);
}

void NodeLinks::withdraw(Peer& peer) { peer.granted = {}; }

// A higher incarnation is a new life: the old one is dead, what it held and what was promised to it ended with it.
void NodeLinks::notice_incarnation(Peer& peer, Incarnation incarnation) {
  if (incarnation <= peer.incarnation) return;
  peer.incarnation = incarnation;
  peer.held = {};
  peer.held_until = 0;
  withdraw(peer);
}

void NodeLinks::on_frame(Instant now, const PeerIdentity& from, std::string_view frame) {
  const auto found = peers_.find(from.node);
  if (found == peers_.end() || !found->second.member) return;
  Peer& peer = found->second;
  if (from.incarnation < peer.incarnation) return;  // a message of a dead life
  notice_incarnation(peer, from.incarnation);
  peer.last_heard = now;
  peer.reachable = true;
  peer.refused = false;
  if (frame_kind(frame) == static_cast<uint8_t>(FrameKind::kHeartbeat)) {
    if (const auto heartbeat = HeartbeatFrame::decode(frame)) on_heartbeat(now, peer, from, *heartbeat);
  } else if (const auto reply = HeartbeatReplyFrame::decode(frame)) {
    on_reply(peer, from, *reply);
  }
  report(from.node, peer);
}

void NodeLinks::on_heartbeat(Instant now, Peer& peer, const PeerIdentity& from, const HeartbeatFrame& frame) {
  peer.hears = frame.reachable;
  peer.write_delay_ps = frame.write_delay_ps;
  HeartbeatReplyFrame reply;
  reply.sequence = frame.sequence;
  reply.sent_at = frame.sent_at;
  reply.to_incarnation = from.incarnation;
  if (now >= silent_until_ && frame.healthy && !relinquished_) {
    if (peer.granted.value == 0) {
      peer.last_epoch = peer.last_epoch.next();
      peer.granted = peer.last_epoch;
    }
    peer.promised_until = std::max(peer.promised_until, now + options_.promise);
    reply.epoch = peer.granted;
  }
  transport_.send(from.node, Channel::kLink, reply.encode());
  transport_.flush();
}

void NodeLinks::on_reply(Peer& peer, const PeerIdentity& from, const HeartbeatReplyFrame& frame) {
  (void)from;
  if (frame.to_incarnation != incarnation_ || frame.epoch.value == 0) return;
  if (frame.epoch < peer.held) return;  // an old answer
  // Counted from when the heartbeat left, shortened by the drift: it ends here before it ends there.
  const Instant until = frame.sent_at + options_.promise - options_.promise * options_.drift_ppm / 1'000'000;
  if (frame.epoch > peer.held) {
    peer.held = frame.epoch;
    peer.held_until = until;
  } else {
    peer.held_until = std::max(peer.held_until, until);
  }
}

void NodeLinks::on_disconnected(Instant now, NodeId node, bool refused) {
  (void)now;
  const auto found = peers_.find(node);
  if (found == peers_.end()) return;
  // A refused reconnect says that no process listens; the promise still has to end by itself.
  if (refused) found->second.refused = true;
}

void NodeLinks::tick(Instant now, bool healthy, uint64_t write_delay_ps) {
  // If this loop stood still, peers' heartbeats wait unread in our sockets: give them time before judging anybody.
  const bool paused = now > last_tick_ + options_.heartbeat + options_.pause_tolerance;
  last_tick_ = now;
  std::vector<NodeId> reachable;
  for (auto& [id, peer] : peers_) {
    if (peer.member && peer.reachable) reachable.push_back(id);
  }
  for (auto& [id, peer] : peers_) {
    if (!peer.member) continue;
    if (paused && peer.reachable) peer.last_heard = now;
    bool changed = false;
    const bool silent = now > peer.last_heard + options_.suspicion;
    if (peer.reachable && (silent || peer.refused)) {
      peer.reachable = false;
      changed = true;
    }
    if (peer.granted.value != 0 && now > peer.promised_until && (silent || peer.refused)) {
      withdraw(peer);
      changed = true;
    }
    if (changed) report(id, peer);
    if (relinquished_ || now < peer.last_heartbeat + options_.heartbeat) continue;
    peer.last_heartbeat = now;
    HeartbeatFrame heartbeat;
    heartbeat.sequence = ++sequence_;
    heartbeat.sent_at = now;
    heartbeat.to_incarnation = peer.incarnation;
    heartbeat.healthy = healthy;
    heartbeat.reachable = reachable;
    heartbeat.write_delay_ps = write_delay_ps;
    transport_.send(id, Channel::kLink, heartbeat.encode());
  }
  transport_.flush();
}

void NodeLinks::relinquish() { relinquished_ = true; }

}  // namespace cairn::server
