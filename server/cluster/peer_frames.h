// What travels inside transport frames (docs/formats/peer.md). Every decode is bounds-checked and total.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/types.h"
#include "storage/tablet.h"

namespace cairn::server {

inline constexpr uint64_t kFrameBytesMax = 80u << 20;  // above any entry; larger frames close the connection

enum class FrameKind : uint8_t {
  kHeartbeat = 1,
  kHeartbeatReply = 2,
  kConsensus = 16,
  kForward = 17,
  kForwardReply = 18,
  kSnapshotBegin = 32,
  kSnapshotChunk = 33,
  kSnapshotReply = 34,
  kSnapshotRequest = 35,
  kJoin = 48,
  kJoinReply = 49,
};
// First byte of a frame; 0 for an empty one.
inline uint8_t frame_kind(std::string_view frame) { return frame.empty() ? 0 : static_cast<uint8_t>(frame.front()); }

struct HeartbeatFrame {
  uint64_t sequence = 0;
  Instant sent_at = 0;            // sender's clock; only echoed
  Incarnation to_incarnation;     // of the receiver, as the sender knows it; 0 = unknown
  bool healthy = true;            // false: the sender's range loop or log stands still; do not renew support
  std::vector<NodeId> reachable;  // whom the sender hears
  std::string encode() const;
  static std::optional<HeartbeatFrame> decode(std::string_view frame);
};
struct HeartbeatReplyFrame {
  uint64_t sequence = 0;
  Instant sent_at = 0;         // echoed
  SupportEpoch epoch;          // under which the replier supports the receiver until its promise ends; 0 = not
  Incarnation to_incarnation;  // the incarnation of the receiver that is supported
  std::string encode() const;
  static std::optional<HeartbeatReplyFrame> decode(std::string_view frame);
};

// Header of a consensus message; the encoded message follows.
struct ConsensusFrame {
  RangeId range;
  ReplicaId from;
  ReplicaId to;
  SharedBytes message;
  static void encode_header(std::string& out, RangeId range, ReplicaId from, ReplicaId to);
  static std::optional<ConsensusFrame> decode(const SharedBytes& frame);
};

// A command for the leader of a range. The answer may come in any order.
struct ForwardFrame {
  uint64_t request = 0;  // of the sending node
  RangeId range;
  uint64_t session = 0;  // (sending node, session, range) is one first-in first-out stream
  uint64_t epoch = 0;    // after a refusal everything of the stream with this epoch or a lower one is refused too
  uint8_t proto = 2;
  uint16_t slot = 0;
  std::vector<std::string_view> argv;  // views into the frame
  std::string encode() const;
  static std::optional<ForwardFrame> decode(std::string_view frame);
};
struct ForwardReplyFrame {
  enum class Status : uint8_t { kReply = 0, kRefused = 1 };
  uint64_t request = 0;
  Status status = Status::kReply;
  NodeId leader;           // kRefused: who may know better; 0 = unknown
  std::string_view reply;  // kReply: RESP bytes
  std::string encode() const;
  static std::optional<ForwardReplyFrame> decode(std::string_view frame);
};

struct SnapshotBeginFrame {
  uint64_t transfer = 0;  // of the sending node
  RangeId range;
  ReplicaId from;
  ReplicaId to;
  Term term;  // of the sending leader
  storage::AppliedPosition position;
  std::string configuration;  // in force at position.index
  std::string manifest;
  std::vector<storage::SnapshotFile> files;
  std::string encode() const;
  static std::optional<SnapshotBeginFrame> decode(std::string_view frame);
};
struct SnapshotChunkFrame {
  uint64_t transfer = 0;
  uint32_t file = 0;
  uint64_t offset = 0;
  uint32_t crc = 0;  // crc32c of data
  std::string_view data;
  std::string encode() const;
  static std::optional<SnapshotChunkFrame> decode(std::string_view frame);
};
struct SnapshotReplyFrame {
  enum class Status : uint8_t { kContinue = 0, kInstalled = 1, kFailed = 2 };
  uint64_t transfer = 0;
  Status status = Status::kContinue;
  uint64_t bytes = 0;  // received so far (kContinue): the window moves
  std::string encode() const;
  static std::optional<SnapshotReplyFrame> decode(std::string_view frame);
};

// Of a replica whose files are damaged, to whoever leads its group: it wants a snapshot, which kSnapshotBegin begins.
// There is no answer otherwise; it asks again.
struct SnapshotRequestFrame {
  RangeId range;
  ReplicaId from;
  std::string encode() const;
  static std::optional<SnapshotRequestFrame> decode(std::string_view frame);
};

struct NodeAddresses {
  std::string peer, client, admin;  // "host:port" to advertise
  friend bool operator==(const NodeAddresses&, const NodeAddresses&) = default;
};
// Asks to become a member, or to change the addresses of a member.
struct JoinFrame {
  std::string uuid;     // 16 random bytes of the joining node's IDENTITY; group 0 deduplicates by it
  std::string cluster;  // 16 bytes; empty: any
  NodeAddresses addresses;
  std::string encode() const;
  static std::optional<JoinFrame> decode(std::string_view frame);
};
struct JoinReplyFrame {
  enum class Status : uint8_t { kAccepted = 0, kAskOther = 1, kRefused = 2 };
  Status status = Status::kRefused;
  std::string detail;  // kAskOther: peer address of who may lead group 0 (may be empty); kRefused: why
  std::string cluster;
  NodeId node;
  ReplicaId system_replica;
  std::vector<std::pair<NodeId, std::string>> peers;  // peer addresses of the members
  std::string encode() const;
  static std::optional<JoinReplyFrame> decode(std::string_view frame);
};

}  // namespace cairn::server
