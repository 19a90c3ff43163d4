#include "storage/sstable/unpacker.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace cairn::storage {
namespace {

constexpr size_t kStep = 16;  // bytes copied at once; at most kStep - 1 too many
static_assert(kStep <= Unpacker::kSlack);
constexpr size_t kLong = 15;     // a length of this value goes on in further bytes
constexpr size_t kMatchMin = 4;  // a match is that much longer than its number
constexpr ptrdiff_t kOffsetBytes = 2;

[[gnu::always_inline]] inline void copy_in_steps(char* to, const char* from, const char* to_end) {
  do {
    std::memcpy(to, from, kStep);
    to += kStep;
    from += kStep;
  } while (to < to_end);
}

// The rest of a length of kLong. False: it is cut off.
[[gnu::always_inline]] inline bool extend(size_t& length, const char*& in, const char* in_end) {
  uint8_t more;
  do {
    if (in >= in_end) return false;
    more = static_cast<uint8_t>(*in++);
    length += more;
  } while (more == 0xFF);
  return true;
}

// Repeats what it makes: twice as much is there after every step.
void repeat_short(char* out, size_t offset, size_t length) {
  const char* const from = out - offset;
  while (length > 0) {
    const size_t step = std::min(static_cast<size_t>(out - from), length);
    std::memcpy(out, from, step);
    out += step;
    length -= step;
  }
}

}  // namespace

// A sequence is literals, then a match; the last one has no match.
bool Unpacker::up_to(size_t bytes) {
  if (bytes > static_cast<size_t>(end_ - begin_)) return false;
  const char* in = in_;
  char* out = out_;
  char* const wanted = begin_ + bytes;
  while (out < wanted) {
    if (in >= in_end_) return false;
    const auto token = static_cast<uint8_t>(*in++);
    size_t length = token >> 4;
    if (length == kLong && !extend(length, in, in_end_)) return false;
    if (length > static_cast<size_t>(in_end_ - in) || length > static_cast<size_t>(end_ - out)) return false;
    copy_in_steps(out, in, out + length);
    in += length;
    out += length;
    if (in == in_end_) {
      if (out != end_) return false;
      break;
    }
    if (in_end_ - in < kOffsetBytes) return false;
    const size_t offset = static_cast<uint8_t>(in[0]) | size_t{static_cast<uint8_t>(in[1])} << 8;
    in += kOffsetBytes;
    length = token & kLong;
    if (length == kLong && !extend(length, in, in_end_)) return false;
    length += kMatchMin;
    if (offset - 1 >= static_cast<size_t>(out - begin_) || length > static_cast<size_t>(end_ - out)) return false;
    if (offset >= kStep) {
      copy_in_steps(out, out - offset, out + length);
    } else {
      repeat_short(out, offset, length);
    }
    out += length;
  }
  in_ = in;
  out_ = out;
  return true;
}

}  // namespace cairn::storage
