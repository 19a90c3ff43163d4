// Unpacking the beginning of a block.
#pragma once

#include <cstddef>
#include <string_view>

namespace cairn::storage {

// Unpacks LZ4 (its block format) in steps: who needs a row near the beginning does not pay for what lies behind it.
// Any input is safe. Not thread safe.
class Unpacker {
 public:
  static constexpr size_t kSlack = 32;  // bytes that may be read behind `packed`, and written behind `out`
  // Both must outlive the unpacker, each with kSlack bytes more. `bytes`: what the whole is unpacked.
  Unpacker(std::string_view packed, char* out, size_t bytes)
      : in_(packed.data()), in_end_(packed.data() + packed.size()), begin_(out), out_(out), end_(out + bytes) {}
  // At least out[0, bytes) is there afterwards. False: malformed, or there are fewer.
  bool up_to(size_t bytes);

 private:
  const char* in_;
  const char* in_end_;
  char* begin_;
  char* out_;
  char* end_;
};

}  // namespace cairn::storage
