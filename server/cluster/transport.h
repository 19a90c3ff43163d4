// Frames between nodes. The real one is server/net, the simulated one test/sim.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "base/types.h"

namespace cairn::server {

// Each channel of a node pair is its own connection, so that bulk data never delays liveness.
enum class Channel : uint8_t {
  kLink = 0,   // heartbeats and support; handled by the link loop
  kData = 1,   // consensus messages and forwarded commands
  kBulk = 2,   // snapshots
  kLarge = 4,  // forwarded commands and replies above kLargeFrameBytes: nothing small waits behind them
};
inline constexpr size_t kLargeFrameBytes = 256u << 10;
// What is lost on these is not sent again by whoever sent it: it has to be told.
inline bool carries_forwards(Channel channel) { return channel == Channel::kData || channel == Channel::kLarge; }

// Who is at the other end, checked in the handshake: cluster id, node id, boot incarnation.
struct PeerIdentity {
  NodeId node;
  Incarnation incarnation;
};

// Thread safety: on its loop. Two instances exist in a node: one on the link loop, one on the range loop.
class Transport {
 public:
  using CallDone = std::move_only_function<void(Result<std::string>)>;
  virtual ~Transport() = default;

  // Where a node is reached, "host:port". Unknown nodes are not connected to. Idempotent.
  virtual void set_address(NodeId node, const std::string& address) = 0;
  // Best effort, first-in first-out while the connection lives; queued while it is made. What is dropped (bound
  // reached, no connection) consensus repeats; of forwards on_disconnected or on_unsent tells
  // their senders. Nothing leaves
  // before flush().
  virtual void send(NodeId to, Channel channel, std::string frame) = 0;
  virtual void flush() = 0;
  // Bytes queued for a peer on a channel and not yet taken by the kernel.
  virtual uint64_t queued_bytes(NodeId to, Channel channel) const = 0;
  // One request to whoever listens at `address`, one answer. For joining, before node ids are known.
  virtual void call(const std::string& address, std::string request, CallDone done) = 0;
};

class TransportEvents {
 public:
  virtual ~TransportEvents() = default;
  virtual void on_frame(const PeerIdentity& from, Channel channel, SharedBytes frame) = 0;
  // An established connection of the channel was lost, in either direction: what was under way may be gone. `refused`:
  // reconnecting was actively refused, so no process listens.
  virtual void on_disconnected(NodeId peer, Channel channel, bool refused) = 0;
  // A channel that carries forwards: no connection could be made. Nothing that was queued since the last one was lost
  // has left; it was dropped.
  virtual void on_unsent(NodeId, Channel) {}
  // Serves call(). Must call `done` once.
  virtual void on_call(std::string request, Transport::CallDone done) = 0;
};

}  // namespace cairn::server
