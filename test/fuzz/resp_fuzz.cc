// Any bytes, cut anywhere, into a session: no crash, no broken reply, and the output does not depend on the
// cuts.
//
// The first byte seeds the cuts and chooses the variant (password, whole keyspace, small limits); the rest is
// the client.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/random.h"
#include "server/resp/reply_parser.h"
#include "test/fuzz/check.h"
#include "test/support/session_harness.h"

using namespace cairn;
using fuzz::check;

namespace {

struct Outcome {
  std::string output;
  bool closed = false;
};

Outcome feed(std::string_view input, uint8_t variant, Random* cuts) {
  server::SessionLimits limits;
  limits.parser.command_bytes_max = (variant & 1) ? 200 : 1 << 20;
  limits.parser.inline_bytes_max = (variant & 1) ? 100 : 64 * 1024;
  test::SessionHarness h(limits, (variant & 2) ? "pw" : "");
  h.sink.is_whole = (variant & 4) != 0;
  h.sink.rows.cold = (variant & 8) != 0;
  h.sink.rows.knows_exploded = (variant & 16) != 0;
  Outcome out;
  size_t at = 0;
  while (at < input.size()) {
    const size_t n = cuts == nullptr ? input.size() : 1 + cuts->below(cuts->below(3) == 0 ? 200 : 7);
    const std::string_view piece = input.substr(at, n);
    at += piece.size();
    if (cuts != nullptr) h.sink.late = cuts->below(2) == 0;
    h.session->on_input(piece);
    if (cuts != nullptr) {  // late replies in any order
      while (!h.sink.queue.empty() && cuts->below(3) != 0) h.hand_over(cuts->below(h.sink.queue.size()));
    } else {
      h.hand_over_all();
    }
    if (cuts == nullptr || cuts->below(2) == 0) out.output += h.take();
  }
  h.hand_over_all();
  out.output += h.take();
  out.closed = h.session->wants_close();
  check(h.session->outstanding_commands() == 0, "a reply is missing");
  check(h.session->pending_bytes() == 0, "bytes are left over");
  std::string_view rest = out.output;
  while (!rest.empty()) {
    size_t length = 0;
    check(server::reply_length(rest, length) == server::ReplyState::kComplete, "a reply is malformed");
    rest.remove_prefix(length);
  }
  return out;
}

// What depends on sizes of buffers by design.
bool shows_buffers(std::string_view input) {
  for (size_t i = 0; i + 6 <= input.size(); ++i) {
    const char* p = input.data() + i;
    if ((p[0] | 32) == 'c' && (p[1] | 32) == 'l' && (p[2] | 32) == 'i' && (p[3] | 32) == 'e' && (p[4] | 32) == 'n' &&
        (p[5] | 32) == 't') {
      return true;
    }
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1 || size > 1 << 16) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  SeededRandom cuts(data[0]);
  const Outcome whole = feed(input, data[0], nullptr);
  const Outcome split = feed(input, data[0], &cuts);
  check(whole.closed == split.closed, "closing depends on the cuts");
  if (!shows_buffers(input)) check(whole.output == split.output, "the output depends on the cuts");
  return 0;
}
