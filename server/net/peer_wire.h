// Bytes on a peer connection: handshake and frames (docs/formats/peer.md).
//
//   acceptor -> connector   nonce, 16 bytes
//   connector -> acceptor   u32 length | hello
//   acceptor -> connector   u32 length | welcome
//   then frames             u32 length | u32 crc32c of the payload | payload
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/types.h"
#include "server/cluster/transport.h"

namespace cairn::server {

inline constexpr size_t kNonceBytes = 16;
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

void append_frame(std::string& out, std::string_view payload);

// Finds frames in a byte stream.
class FrameReader {
 public:
  void add(std::string_view bytes) { buffer_.append(bytes); }
  // A whole frame's payload, or nullopt: more bytes are needed, or failed() is true for good.
  std::optional<SharedBytes> next();
  bool failed() const { return failed_; }

 private:
  std::string buffer_;
  size_t at_ = 0;
  bool failed_ = false;
};

}  // namespace cairn::server
