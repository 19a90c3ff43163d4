// Frames between nodes: damage is found out at once, never waited for.
#include "server/net/peer_wire.h"

#include <catch2/catch.hpp>

#include "base/checksum.h"
#include "base/codec.h"

using namespace cairn;
using namespace cairn::server;

namespace {
std::string framed(std::string_view payload) {
  std::string out;
  append_frame(out, payload);
  return out;
}
// A header whose own checksum is right.
std::string header(uint32_t length, uint32_t crc) {
  std::string out;
  put_u32(out, length);
  put_u32(out, crc);
  put_u32(out, crc32c(out));
  return out;
}
}  // namespace

TEST_CASE("frames are found however the stream is cut") {
  const std::string stream = framed("first") + framed("") + framed(std::string(1000, 'x'));
  for (size_t piece = 1; piece <= stream.size(); ++piece) {
    FrameReader reader;
    std::vector<std::string> frames;
    for (size_t at = 0; at < stream.size(); at += piece) {
      reader.add(std::string_view(stream).substr(at, piece));
      while (const auto frame = reader.next()) frames.emplace_back(frame->view());
    }
    REQUIRE_FALSE(reader.failed());
    REQUIRE(frames == std::vector<std::string>{"first", "", std::string(1000, 'x')});
  }
}

TEST_CASE("every flipped bit of a frame is found without another byte") {
  const std::string good = framed("payload");
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    FrameReader reader;
    // In the header it is found before any of the payload has come.
    reader.add(bit / 8 < kFrameHeaderBytes ? std::string_view(bad).substr(0, kFrameHeaderBytes) : bad);
    REQUIRE_FALSE(reader.next());
    REQUIRE(reader.failed());
    reader.add(good);
    REQUIRE_FALSE(reader.next());  // for good
  }
}

TEST_CASE("a frame above the bound of its channel is refused before it is waited for") {
  CHECK(frame_bytes_max(static_cast<uint8_t>(Channel::kLink)) < frame_bytes_max(kCallChannel));
  CHECK(frame_bytes_max(kCallChannel) < frame_bytes_max(static_cast<uint8_t>(Channel::kData)));
  FrameReader reader(100);
  reader.add(framed(std::string(100, 'a')));
  CHECK(reader.next());
  reader.add(header(101, 0));
  CHECK_FALSE(reader.next());
  CHECK(reader.error() == "a frame of 101 bytes, above the channel's 100");
}

TEST_CASE("errors of frames say what was wrong") {
  FrameReader in_header;
  in_header.add(std::string(kFrameHeaderBytes, 'x'));
  CHECK_FALSE(in_header.next());
  CHECK(in_header.error() == "damaged frame header");
  FrameReader in_payload;
  in_payload.add(header(3, 7) + "abc");
  CHECK_FALSE(in_payload.next());
  CHECK(in_payload.error() == "damaged frame of 3 bytes");
}

TEST_CASE("a large frame is collected apart, whatever the pieces it comes in") {
  const std::string large(kLargeFrameBytes + 5000, 'l');
  std::string bytes;
  append_frame(bytes, "before");
  append_frame(bytes, large);
  append_frame(bytes, "after");
  for (const size_t piece : {size_t{1000}, size_t{65'537}, kLargeFrameBytes + 20, bytes.size()}) {
    FrameReader reader;
    std::vector<std::string> frames;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      reader.add(std::string_view(bytes).substr(at, piece));
      while (auto frame = reader.next()) frames.emplace_back(frame->view());
    }
    CHECK(frames == std::vector<std::string>{"before", large, "after"});
    CHECK_FALSE(reader.failed());
  }
  bytes[kLargeFrameBytes] ^= 1;
  FrameReader damaged;
  damaged.add(bytes);
  CHECK(damaged.next().has_value());
  while (damaged.next()) {
  }
  CHECK(damaged.failed());
}
