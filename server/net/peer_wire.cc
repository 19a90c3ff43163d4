#include "server/net/peer_wire.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <utility>

#include "base/checksum.h"
#include "base/codec.h"

namespace cairn::server {
namespace {

constexpr uint32_t kMagic = 0x324E5243;  // "CRN2"
constexpr size_t kProofBytes = 32;
// Far above what is sent there: a heartbeat names nodes, joining sends and lists addresses.
constexpr uint64_t kLinkFrameBytesMax = 64u << 10;
constexpr uint64_t kCallFrameBytesMax = 1u << 20;

std::string proof(std::string_view role, std::string_view nonce, std::string_view body, std::string_view secret) {
  std::string text(role);
  put_bytes(text, nonce);
  text.append(body);
  std::string out(kProofBytes, '\0');
  unsigned length = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), reinterpret_cast<unsigned char*>(out.data()),
       &length);
  return out;
}

// Splits off and checks the proof behind a body.
std::optional<std::string_view> checked_body(std::string_view bytes, std::string_view role, std::string_view nonce,
                                             std::string_view secret) {
  if (bytes.size() < kProofBytes) return std::nullopt;
  const std::string_view body = bytes.substr(0, bytes.size() - kProofBytes);
  const std::string want = proof(role, nonce, body, secret);
  if (CRYPTO_memcmp(want.data(), bytes.data() + body.size(), kProofBytes) != 0) return std::nullopt;
  return body;
}

}  // namespace

std::string PeerHello::encode(std::string_view acceptor_nonce, std::string_view secret) const {
  std::string out;
  put_u32(out, kMagic);
  put_bytes(out, cluster);
  put_varint(out, from.node.value);
  put_varint(out, from.incarnation.value);
  put_varint(out, to.value);
  put_u8(out, channel);
  put_bytes(out, nonce);
  out += proof("connector", acceptor_nonce, out, secret);
  return out;
}

std::optional<PeerHello> PeerHello::decode(std::string_view bytes, std::string_view acceptor_nonce,
                                           std::string_view secret) {
  const auto body = checked_body(bytes, "connector", acceptor_nonce, secret);
  if (!body) return std::nullopt;
  Decoder in(*body);
  if (in.u32() != kMagic) return std::nullopt;
  PeerHello hello;
  hello.cluster = in.bytes();
  hello.from.node = in.number<NodeIdTag>();
  hello.from.incarnation = in.number<IncarnationTag>();
  hello.to = in.number<NodeIdTag>();
  hello.channel = in.u8();
  hello.nonce = in.bytes();
  if (!in.ok() || !in.at_end() || hello.channel > static_cast<uint8_t>(Channel::kLarge) ||
      hello.nonce.size() != kNonceBytes)
    return std::nullopt;
  return hello;
}

std::string PeerWelcome::encode(std::string_view connector_nonce, std::string_view secret) const {
  std::string out;
  put_u32(out, kMagic);
  put_u8(out, accepted ? 1 : 0);
  put_varint(out, from.node.value);
  put_varint(out, from.incarnation.value);
  put_bytes(out, reason);
  out += proof("acceptor", connector_nonce, out, secret);
  return out;
}

std::optional<PeerWelcome> PeerWelcome::decode(std::string_view bytes, std::string_view connector_nonce,
                                               std::string_view secret) {
  const auto body = checked_body(bytes, "acceptor", connector_nonce, secret);
  if (!body) return std::nullopt;
  Decoder in(*body);
  if (in.u32() != kMagic) return std::nullopt;
  PeerWelcome welcome;
  welcome.accepted = in.u8() != 0;
  welcome.from.node = in.number<NodeIdTag>();
  welcome.from.incarnation = in.number<IncarnationTag>();
  welcome.reason = in.bytes();
  if (!in.ok() || !in.at_end()) return std::nullopt;
  return welcome;
}

std::string random_nonce() {
  std::string nonce(kNonceBytes, '\0');
  RAND_bytes(reinterpret_cast<unsigned char*>(nonce.data()), static_cast<int>(nonce.size()));
  return nonce;
}

std::string with_length(std::string_view body) {
  std::string out;
  put_u32(out, static_cast<uint32_t>(body.size()));
  out.append(body);
  return out;
}

uint64_t frame_bytes_max(uint8_t channel) {
  if (channel == static_cast<uint8_t>(Channel::kLink)) return kLinkFrameBytesMax;
  if (channel == kCallChannel) return kCallFrameBytesMax;
  return kFrameBytesMax;
}

void append_frame_header(std::string& out, std::string_view payload) {
  const size_t start = out.size();
  put_u32(out, static_cast<uint32_t>(payload.size()));
  put_u32(out, crc32c(payload));
  put_u32(out, crc32c(std::string_view(out).substr(start)));
}

void append_frame(std::string& out, std::string_view payload) {
  append_frame_header(out, payload);
  out.append(payload);
}

Result<FrameHeader> read_frame_header(std::string_view bytes, uint64_t payload_max) {
  if (crc32c(bytes.substr(0, 8)) != get_fixed<uint32_t>(bytes.data() + 8)) {
    return Error{ErrorCode::kCorruption, "damaged frame header"};
  }
  const FrameHeader header{get_fixed<uint32_t>(bytes.data()), get_fixed<uint32_t>(bytes.data() + 4)};
  if (header.length > payload_max) {
    return Error{ErrorCode::kCorruption,
                 fmt::format("a frame of {} bytes, above the channel's {}", header.length, payload_max)};
  }
  return header;
}

Result<void> check_frame_payload(const FrameHeader& header, std::string_view payload) {
  if (payload.size() == header.length && crc32c(payload) == header.crc) return {};
  return Error{ErrorCode::kCorruption, fmt::format("damaged frame of {} bytes", header.length)};
}

std::optional<SharedBytes> FrameReader::fail(const Error& error) {
  error_ = error.message;
  return std::nullopt;
}

std::optional<SharedBytes> FrameReader::next() {
  if (failed()) return std::nullopt;
  if (large_) {
    if (payload_.size() < large_->length) return std::nullopt;
    if (const auto checked = check_frame_payload(*large_, payload_); !checked) return fail(checked.error());
    large_.reset();
    return SharedBytes(std::exchange(payload_, {}));
  }
  const std::string_view rest = std::string_view(buffer_).substr(at_);
  if (rest.size() >= kFrameHeaderBytes) {
    const auto header = read_frame_header(rest, payload_max_);
    if (!header) return fail(header.error());
    if (rest.size() - kFrameHeaderBytes >= header->length) {
      const std::string_view payload = rest.substr(kFrameHeaderBytes, header->length);
      if (const auto checked = check_frame_payload(*header, payload); !checked) return fail(checked.error());
      at_ += kFrameHeaderBytes + payload.size();
      SharedBytes frame{std::string(payload)};
      if (at_ == buffer_.size()) {
        buffer_.clear();
        at_ = 0;
      }
      return frame;
    }
    if (header->length > kLargeFrameBytes) {
      large_ = *header;
      payload_.reserve(header->length);
      payload_.append(rest.substr(kFrameHeaderBytes));
      buffer_.clear();
      at_ = 0;
      return std::nullopt;
    }
  }
  if (at_ > 0 && at_ > buffer_.size() / 2) {
    buffer_.erase(0, at_);
    at_ = 0;
  }
  return std::nullopt;
}

}  // namespace cairn::server
