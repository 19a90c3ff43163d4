#include "server/cluster/peer_frames.h"

#include "base/codec.h"

namespace cairn::server {
namespace {

constexpr uint64_t kListMax = 1u << 20;  // items of any list in a frame

std::string begin(FrameKind kind) {
  std::string out;
  put_u8(out, static_cast<uint8_t>(kind));
  return out;
}
bool expect(Decoder& in, FrameKind kind) { return in.u8() == static_cast<uint8_t>(kind) && in.ok(); }
// The number of items that follow, refused when they could not fit into what is left.
uint64_t count(Decoder& in) {
  const uint64_t n = in.varint();
  if (n > kListMax || n > in.remaining()) {
    in.fail();
    return 0;
  }
  return n;
}
template <class T>
std::optional<T> finish(Decoder& in, T value) {
  if (!in.ok() || !in.at_end()) return std::nullopt;
  return value;
}
void put_position(std::string& out, const storage::AppliedPosition& p) {
  put_varint(out, p.index.value);
  put_varint(out, p.term.value);
  put_varint(out, p.time_ms);
  put_varint(out, p.version_counter);
}
storage::AppliedPosition get_position(Decoder& in) {
  storage::AppliedPosition p;
  p.index = in.number<LogIndexTag>();
  p.term = in.number<TermTag>();
  p.time_ms = in.varint();
  p.version_counter = in.varint();
  return p;
}

}  // namespace

std::string HeartbeatFrame::encode() const {
  std::string out = begin(FrameKind::kHeartbeat);
  put_varint(out, sequence);
  put_u64(out, sent_at);
  put_varint(out, to_incarnation.value);
  put_u8(out, healthy ? 1 : 0);
  put_varint(out, reachable.size());
  for (NodeId node : reachable) put_varint(out, node.value);
  return out;
}
std::optional<HeartbeatFrame> HeartbeatFrame::decode(std::string_view frame) {
  Decoder in(frame);
  if (!expect(in, FrameKind::kHeartbeat)) return std::nullopt;
  HeartbeatFrame f;
  f.sequence = in.varint();
  f.sent_at = in.u64();
  f.to_incarnation = in.number<IncarnationTag>();
  f.healthy = in.u8() != 0;
  for (uint64_t n = count(in); n > 0; --n) f.reachable.push_back(in.number<NodeIdTag>());
  return finish(in, std::move(f));
}

std::string HeartbeatReplyFrame::encode() const {
  std::string out = begin(FrameKind::kHeartbeatReply);
  put_varint(out, sequence);
  put_u64(out, sent_at);
  put_varint(out, epoch.value);
  put_varint(out, to_incarnation.value);
  return out;
}
std::optional<HeartbeatReplyFrame> HeartbeatReplyFrame::decode(std::string_view frame) {
  Decoder in(frame);
  if (!expect(in, FrameKind::kHeartbeatReply)) return std::nullopt;
  HeartbeatReplyFrame f;
  f.sequence = in.varint();
  f.sent_at = in.u64();
  f.epoch = in.number<SupportEpochTag>();
  f.to_incarnation = in.number<IncarnationTag>();
  return finish(in, f);
}

void ConsensusFrame::encode_header(std::string& out, RangeId range, ReplicaId from, ReplicaId to) {
  put_u8(out, static_cast<uint8_t>(FrameKind::kConsensus));
  put_varint(out, range.value);
  put_varint(out, from.value);
  put_varint(out, to.value);
}
std::optional<ConsensusFrame> ConsensusFrame::decode(const SharedBytes& frame) {
  Decoder in(frame.view());
  if (!expect(in, FrameKind::kConsensus)) return std::nullopt;
  ConsensusFrame f;
  f.range = in.number<RangeIdTag>();
  f.from = in.number<ReplicaIdTag>();
  f.to = in.number<ReplicaIdTag>();
  if (!in.ok()) return std::nullopt;
  f.message = frame.slice(frame.size() - in.remaining(), in.remaining());
  return f;
}

std::string ForwardFrame::encode() const {
  std::string out = begin(FrameKind::kForward);
  size_t bytes = 64;
  for (std::string_view arg : argv) bytes += arg.size() + 5;
  out.reserve(bytes);
  put_varint(out, request);
  put_varint(out, range.value);
  put_varint(out, session);
  put_varint(out, epoch);
  put_u8(out, proto);
  put_u16(out, slot);
  put_varint(out, argv.size());
  for (std::string_view arg : argv) put_bytes(out, arg);
  return out;
}
std::optional<ForwardFrame> ForwardFrame::decode(std::string_view frame) {
  Decoder in(frame);
  if (!expect(in, FrameKind::kForward)) return std::nullopt;
  ForwardFrame f;
  f.request = in.varint();
  f.range = in.number<RangeIdTag>();
  f.session = in.varint();
  f.epoch = in.varint();
  f.proto = in.u8();
  f.slot = in.u16();
  const uint64_t n = count(in);
  f.argv.reserve(n);
  for (uint64_t i = 0; i < n; ++i) f.argv.push_back(in.bytes());
  if (f.argv.empty() || (f.proto != 2 && f.proto != 3) || f.slot >= 16384) return std::nullopt;
  return finish(in, std::move(f));
}

std::string ForwardReplyFrame::encode() const {
  std::string out = begin(FrameKind::kForwardReply);
  put_varint(out, request);
  put_u8(out, static_cast<uint8_t>(status));
  put_varint(out, leader.value);
  put_bytes(out, reply);
  return out;
}
std::optional<ForwardReplyFrame> ForwardReplyFrame::decode(std::string_view frame) {
  Decoder in(frame);
  if (!expect(in, FrameKind::kForwardReply)) return std::nullopt;
  ForwardReplyFrame f;
  f.request = in.varint();
  const uint8_t status = in.u8();
  if (status > 1) return std::nullopt;
  f.status = static_cast<Status>(status);
  f.leader = in.number<NodeIdTag>();
  f.reply = in.bytes();
  return finish(in, f);
}

std::string SnapshotBeginFrame::encode() const {
  std::string out = begin(FrameKind::kSnapshotBegin);
  put_varint(out, transfer);
  put_varint(out, range.value);
  put_varint(out, from.value);
  put_varint(out, to.value);
  put_varint(out, term.value);
  put_position(out, position);
  put_bytes(out, configuration);
  put_bytes(out, manifest);
  put_varint(out, files.size());
  for (const auto& file : files) {
    put_bytes(out, file.name);
    put_varint(out, file.bytes);
    put_u64(out, file.hash);
  }
  return out;
}
std::optional<SnapshotBeginFrame> SnapshotBeginFrame::decode(std::string_view frame) {
  Decoder in(frame);
  if (!expect(in, FrameKind::kSnapshotBegin)) return std::nullopt;
  SnapshotBeginFrame f;
  f.transfer = in.varint();
  f.range = in.number<RangeIdTag>();
  f.from = in.number<ReplicaIdTag>();
  f.to = in.number<ReplicaIdTag>();
  f.term = in.number<TermTag>();
  f.position = get_position(in);
  f.configuration = in.bytes();
  f.manifest = in.bytes();
  for (uint64_t n = count(in); n > 0 && in.ok(); --n) {
    storage::SnapshotFile file;
    file.name = in.bytes();
    file.bytes = in.varint();
    file.hash = in.u64();
    // Names become paths here: nothing but a plain file name is taken.
    if (file.name.empty() || file.name.find('/') != std::string::npos || file.name.front() == '.') return std::nullopt;
    f.files.push_back(std::move(file));
  }
  return finish(in, std::move(f));
}

std::string SnapshotChunkFrame::encode() const {
  std::string out = begin(FrameKind::kSnapshotChunk);
  out.reserve(data.size() + 48);
  put_varint(out, transfer);
  put_varint(out, file);
  put_varint(out, offset);
  put_u32(out, crc);
  put_bytes(out, data);
  return out;
}
std::optional<SnapshotChunkFrame> SnapshotChunkFrame::decode(std::string_view frame) {
  Decoder in(frame);
  if (!expect(in, FrameKind::kSnapshotChunk)) return std::nullopt;
  SnapshotChunkFrame f;
  f.transfer = in.varint();
  f.file = static_cast<uint32_t>(in.varint());
  f.offset = in.varint();
  f.crc = in.u32();
  f.data = in.bytes();
  return finish(in, f);
}

std::string SnapshotReplyFrame::encode() const {
  std::string out = begin(FrameKind::kSnapshotReply);
  put_varint(out, transfer);
  put_u8(out, static_cast<uint8_t>(status));
  put_varint(out, bytes);
  return out;
}
std::optional<SnapshotReplyFrame> SnapshotReplyFrame::decode(std::string_view frame) {
  Decoder in(frame);
  if (!expect(in, FrameKind::kSnapshotReply)) return std::nullopt;
  SnapshotReplyFrame f;
  f.transfer = in.varint();
  const uint8_t status = in.u8();
  if (status > 2) return std::nullopt;
  f.status = static_cast<Status>(status);
  f.bytes = in.varint();
  return finish(in, f);
}

std::string SnapshotRequestFrame::encode() const {
  std::string out = begin(FrameKind::kSnapshotRequest);
  put_varint(out, range.value);
  put_varint(out, from.value);
  return out;
}
std::optional<SnapshotRequestFrame> SnapshotRequestFrame::decode(std::string_view frame) {
  Decoder in(frame);
  if (!expect(in, FrameKind::kSnapshotRequest)) return std::nullopt;
  SnapshotRequestFrame f;
  f.range = in.number<RangeIdTag>();
  f.from = in.number<ReplicaIdTag>();
  return finish(in, f);
}

std::string JoinFrame::encode() const {
  std::string out = begin(FrameKind::kJoin);
  put_bytes(out, uuid);
  put_bytes(out, cluster);
  put_bytes(out, addresses.peer);
  put_bytes(out, addresses.client);
  put_bytes(out, addresses.admin);
  return out;
}
std::optional<JoinFrame> JoinFrame::decode(std::string_view frame) {
  Decoder in(frame);
  if (!expect(in, FrameKind::kJoin)) return std::nullopt;
  JoinFrame f;
  f.uuid = in.bytes();
  f.cluster = in.bytes();
  f.addresses.peer = in.bytes();
  f.addresses.client = in.bytes();
  f.addresses.admin = in.bytes();
  if (f.uuid.size() != 16 || (!f.cluster.empty() && f.cluster.size() != 16)) return std::nullopt;
  return finish(in, std::move(f));
}

std::string JoinReplyFrame::encode() const {
  std::string out = begin(FrameKind::kJoinReply);
  put_u8(out, static_cast<uint8_t>(status));
  put_bytes(out, detail);
  put_bytes(out, cluster);
  put_varint(out, node.value);
  put_varint(out, system_replica.value);
  put_varint(out, peers.size());
  for (const auto& [id, address] : peers) {
    put_varint(out, id.value);
    put_bytes(out, address);
  }
  return out;
}
std::optional<JoinReplyFrame> JoinReplyFrame::decode(std::string_view frame) {
  Decoder in(frame);
  if (!expect(in, FrameKind::kJoinReply)) return std::nullopt;
  JoinReplyFrame f;
  const uint8_t status = in.u8();
  if (status > 2) return std::nullopt;
  f.status = static_cast<Status>(status);
  f.detail = in.bytes();
  f.cluster = in.bytes();
  f.node = in.number<NodeIdTag>();
  f.system_replica = in.number<ReplicaIdTag>();
  for (uint64_t n = count(in); n > 0 && in.ok(); --n) {
    const NodeId id = in.number<NodeIdTag>();
    f.peers.emplace_back(id, in.bytes());
  }
  if (f.status == Status::kAccepted && (f.cluster.size() != 16 || f.node.value == 0)) return std::nullopt;
  return finish(in, std::move(f));
}

}  // namespace cairn::server
