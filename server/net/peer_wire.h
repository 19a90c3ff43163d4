// Bytes on a peer connection: handshake and frames (docs/formats/peer.md).
//
//   acceptor -> connector   nonce, 16 bytes
//   connector -> acceptor   u32 length | hello
//   acceptor -> connector   u32 length | welcome
//   then frames             u32 length | u32 crc32c of the payload | u32 crc32c of these 8 bytes | payload
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/types.h"
#include "server/cluster/peer_frames.h"
#include "server/cluster/transport.h"

namespace cairn::server {

inline constexpr size_t kNonceBytes = 16;
inline constexpr Duration kHandshakeLimit = 5 * kSecond;
inline constexpr size_t kHelloBytesMax = 4096;  // nothing larger is read before the other side has proved itself
inline constexpr uint8_t kCallChannel = 3;      // one request, one answer, then the end

struct PeerHello {
  std::string cluster;  // 16 bytes, or empty on kCallChannel
  PeerIdentity from;
  NodeId to;  // 0 on kCallChannel
  uint8_t channel = 0;
  std::string nonce;  // for the acceptor's proof
  // HMAC-SHA256 over the acceptor's nonce and everything above, keyed with peer.secret.
  std::string encode(std::string_view acceptor_nonce, std::string_view secret) const;
  // nullopt: malformed, another version, or the wrong secret.
  static std::optional<PeerHello> decode(std::string_view bytes, std::string_view acceptor_nonce,
                                         std::string_view secret);
};

struct PeerWelcome {
  bool accepted = false;
  PeerIdentity from;
  std::string reason;  // if not accepted
  std::string encode(std::string_view connector_nonce, std::string_view secret) const;
  static std::optional<PeerWelcome> decode(std::string_view bytes, std::string_view connector_nonce,
                                           std::string_view secret);
};

std::string random_nonce();
std::string with_length(std::string_view body);  // behind its length, as hello and welcome are sent

inline constexpr size_t kFrameHeaderBytes = 12;

// The longest payload that a channel (of Channel, or kCallChannel) may carry; in bytes.
uint64_t frame_bytes_max(uint8_t channel);

struct FrameHeader {
  uint32_t length = 0;  // of the payload
  uint32_t crc = 0;     // crc32c of the payload
};
// `bytes` begins with kFrameHeaderBytes. kCorruption: damaged, or a payload above `payload_max`. A length is believed
// only after this: a damaged one would make the receiver wait for bytes that never come.
Result<FrameHeader> read_frame_header(std::string_view bytes, uint64_t payload_max);
// kCorruption: not the payload that the header announced.
Result<void> check_frame_payload(const FrameHeader& header, std::string_view payload);

void append_frame_header(std::string& out, std::string_view payload);  // which has to follow
void append_frame(std::string& out, std::string_view payload);

// Finds frames in a byte stream. Thread safety: none.
class FrameReader {
 public:
  explicit FrameReader(uint64_t payload_max = kFrameBytesMax) : payload_max_(payload_max) {}

  void add(std::string_view bytes) {
    if (large_) {
      const size_t part = std::min<size_t>(bytes.size(), large_->length - payload_.size());
      payload_.append(bytes.substr(0, part));
      bytes.remove_prefix(part);
    }
    buffer_.append(bytes);
  }
  // A whole frame's payload, or nullopt: more bytes are needed, or error() is set for good. An error is found as soon
  // as the header is there, so a caller asks for error() after every nullopt.
  std::optional<SharedBytes> next();
  bool failed() const { return !error_.empty(); }
  const std::string& error() const { return error_; }  // for people; empty: none

 private:
  std::optional<SharedBytes> fail(const Error& error);

  uint64_t payload_max_;
  std::string buffer_;
  size_t at_ = 0;
  std::optional<FrameHeader> large_;  // of the frame that comes first: it is collected apart, and copied once
  std::string payload_;
  std::string error_;
};

}  // namespace cairn::server
