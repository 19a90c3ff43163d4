// Bytes of a peer connection: the frame reader finds the same frames however the stream is cut, no decoder crashes on
// a payload, and what a decoder accepts encodes to something it reads the same way.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/cluster/peer_frames.h"
#include "server/net/peer_wire.h"
#include "test/fuzz/check.h"

using namespace cairn;
using fuzz::check;
using namespace cairn::server;

namespace {

// Decoding, encoding and decoding again must end where the first round ended.
template <class Frame>
void round_trip(std::string_view bytes, const char* what) {
  const auto frame = Frame::decode(bytes);
  if (!frame) return;
  const std::string encoded = frame->encode();
  const auto again = Frame::decode(encoded);
  check(again.has_value(), what);
  check(again->encode() == encoded, what);
}

void decode_all(std::string_view payload) {
  round_trip<HeartbeatFrame>(payload, "heartbeat");
  round_trip<HeartbeatReplyFrame>(payload, "heartbeat reply");
  round_trip<ForwardFrame>(payload, "forward");
  round_trip<ForwardReplyFrame>(payload, "forward reply");
  round_trip<SnapshotBeginFrame>(payload, "snapshot begin");
  round_trip<SnapshotChunkFrame>(payload, "snapshot chunk");
  round_trip<SnapshotReplyFrame>(payload, "snapshot reply");
  round_trip<SnapshotRequestFrame>(payload, "snapshot request");
  round_trip<JoinFrame>(payload, "join");
  round_trip<JoinReplyFrame>(payload, "join reply");
  if (const auto frame = ConsensusFrame::decode(SharedBytes{std::string(payload)})) {
    std::string encoded;
    ConsensusFrame::encode_header(encoded, frame->range, frame->from, frame->to);
    encoded += frame->message.view();
    const auto again = ConsensusFrame::decode(SharedBytes{encoded});
    check(again && again->range == frame->range && again->from == frame->from && again->to == frame->to &&
              again->message.view() == frame->message.view(),
          "consensus");
  }
}

std::vector<std::string> frames_of(std::string_view stream, size_t piece, bool& failed) {
  FrameReader reader;
  std::vector<std::string> frames;
  for (size_t at = 0; at < stream.size(); at += piece) {
    reader.add(stream.substr(at, piece));
    while (const auto frame = reader.next()) frames.emplace_back(frame->view());
  }
  failed = reader.failed();
  return frames;
}

// Where the reader stands after exactly these bytes: 0 = asks for more, 1 = has a frame, 2 = failed.
int state_after(std::string_view stream) {
  FrameReader reader;
  reader.add(stream);
  if (reader.next()) return 1;
  return reader.failed() ? 2 : 0;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1 || size > 1 << 16) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  const size_t piece = 1 + data[0] % 32;

  decode_all(input);
  const std::string nonce(kNonceBytes, 'n');
  (void)PeerHello::decode(input, nonce, "secret");
  (void)PeerWelcome::decode(input, nonce, "secret");

  // As a raw stream, and as the payload of a good frame with the raw bytes behind it.
  std::string framed;
  append_frame(framed, input);
  framed.append(input);
  for (const std::string_view stream : {input, std::string_view(framed)}) {
    bool failed_whole = false, failed_cut = false;
    const auto whole = frames_of(stream, stream.size() + 1, failed_whole);
    const auto cut = frames_of(stream, piece, failed_cut);
    check(whole == cut && failed_whole == failed_cut, "frames depend on the cuts");
    for (const std::string& frame : whole) decode_all(frame);
  }

  // A single wrong bit of a whole frame is found out without a further byte, in the header even before the payload.
  std::string damaged;
  append_frame(damaged, input);
  const size_t bit = (data[0] * 251 + input.size()) % (damaged.size() * 8);
  damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
  check(state_after(damaged) == 2, "a damaged frame makes the reader wait");
  if (bit / 8 < kFrameHeaderBytes) {
    check(state_after(std::string_view(damaged).substr(0, kFrameHeaderBytes)) == 2, "a damaged header is believed");
  }
  return 0;
}
