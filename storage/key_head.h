// Keys compared eight bytes at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace cairn::storage {

// The first eight bytes as a number that sorts like them; short keys are padded with zeroes. Different heads: the keys
// are in their order.
inline uint64_t key_head(std::string_view key) {
  uint64_t head = 0;
  if (key.size() >= sizeof head) {
    std::memcpy(&head, key.data(), sizeof head);
    return __builtin_bswap64(head);
  }
  for (size_t i = 0; i < key.size(); ++i) head |= uint64_t{static_cast<uint8_t>(key[i])} << (56 - 8 * i);
  return head;
}

// Like std::string_view::compare, without a call: keys are short.
inline int compare_keys(std::string_view a, std::string_view b) {
  const size_t shared = std::min(a.size(), b.size());
  size_t i = 0;
  for (; i + 8 <= shared; i += 8) {
    uint64_t x, y;
    std::memcpy(&x, a.data() + i, 8);
    std::memcpy(&y, b.data() + i, 8);
    if (x != y) return __builtin_bswap64(x) < __builtin_bswap64(y) ? -1 : 1;
  }
  for (; i < shared; ++i) {
    if (a[i] != b[i]) return static_cast<uint8_t>(a[i]) < static_cast<uint8_t>(b[i]) ? -1 : 1;
  }
  return a.size() == b.size() ? 0 : a.size() < b.size() ? -1 : 1;
}

// Like memcpy, without a call.
inline void copy_key(char* to, std::string_view key) {
  size_t i = 0;
  for (; i + 8 <= key.size(); i += 8) std::memcpy(to + i, key.data() + i, 8);
  for (; i < key.size(); ++i) to[i] = key[i];
}

// How many of `n` ascending numbers are below `head`. No branch depends on them.
inline uint32_t heads_below(const uint64_t* heads, uint32_t n, uint64_t head) {
  if (n == 0) return 0;
  const uint64_t* at = heads;
  while (n > 1) {
    const uint32_t half = n / 2;
    at = at[half - 1] < head ? at + half : at;
    n -= half;
  }
  return static_cast<uint32_t>(at - heads) + (*at < head ? 1 : 0);
}

// The first of the positions [low, high) for which `below` is false; `high` = none.
template <class Below>
uint32_t first_not_below(uint32_t low, uint32_t high, Below&& below) {
  for (uint32_t n = high - low; n > 0;) {
    const uint32_t half = n / 2;
    if (below(low + half)) {
      low += half + 1;
      n -= half + 1;
    } else {
      n = half;
    }
  }
  return low;
}

}  // namespace cairn::storage
