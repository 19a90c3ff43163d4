#include "base/checksum.h"

#if defined(__x86_64__)
#include <xxh_x86dispatch.h>  // the same sums, with the widest registers that the processor has
#else
#include <xxhash.h>
#endif

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace cairn {
namespace {

constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = (c & 1) ? (c >> 1) ^ 0x82F63B78u : c >> 1;
    table[i] = c;
  }
  return table;
}
constexpr auto kTable = make_table();

uint32_t crc32c_portable(const char* p, size_t n, uint32_t crc) {
  for (size_t i = 0; i < n; ++i) crc = kTable[(crc ^ static_cast<uint8_t>(p[i])) & 0xFF] ^ (crc >> 8);
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t crc32c_hardware(const char* p, size_t n, uint32_t crc32) {
  uint64_t crc = crc32;
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    crc = _mm_crc32_u64(crc, word);
  }
  auto narrow = static_cast<uint32_t>(crc);
  for (; n > 0; --n, ++p) narrow = _mm_crc32_u8(narrow, static_cast<uint8_t>(*p));
  return narrow;
}
const bool kHasHardware = __builtin_cpu_supports("sse4.2") > 0;
#endif

}  // namespace

uint32_t crc32c(std::string_view bytes, uint32_t seed) {
  const uint32_t start = ~seed;
#if defined(__x86_64__)
  if (kHasHardware) return ~crc32c_hardware(bytes.data(), bytes.size(), start);
#endif
  return ~crc32c_portable(bytes.data(), bytes.size(), start);
}

uint64_t hash64(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }
uint64_t hash64(std::string_view bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

}  // namespace cairn
