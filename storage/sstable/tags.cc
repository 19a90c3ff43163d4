#include "storage/sstable/tags.h"

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace cairn::storage {
namespace {

uint64_t lowest_bits(uint32_t n) { return ~0ull >> (64 - n); }

#if defined(__x86_64__)
__attribute__((target("avx2"))) uint64_t match_avx2(const uint8_t* tags, uint32_t n, uint8_t tag) {
  const __m256i wanted = _mm256_set1_epi8(static_cast<char>(tag));
  const auto half = [&](const uint8_t* at) __attribute__((target("avx2"))) {
    const __m256i have = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    return static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(have, wanted)));
  };
  uint64_t found = half(tags);
  if (n > 32) found |= uint64_t{half(tags + 32)} << 32;
  return found & lowest_bits(n);
}

__attribute__((target("avx512f,avx512bw"))) uint64_t match_avx512(const uint8_t* tags, uint32_t n, uint8_t tag) {
  const __mmask64 present = lowest_bits(n);
  const __m512i have = _mm512_maskz_loadu_epi8(present, tags);
  return _mm512_mask_cmpeq_epi8_mask(present, have, _mm512_set1_epi8(static_cast<char>(tag)));
}
#endif

MatchTags best() {
  if (const MatchTags found = match_tags_avx512()) return found;
  if (const MatchTags found = match_tags_avx2()) return found;
  return &match_tags_portable;
}

}  // namespace

// Eight at a time in a register: a byte of `x` is zero where the tag is the wanted one.
uint64_t match_tags_portable(const uint8_t* tags, uint32_t n, uint8_t tag) {
  constexpr uint64_t kLow = 0x7F7F7F7F7F7F7F7Full;
  const uint64_t wanted = tag * 0x0101010101010101ull;
  uint64_t found = 0;
  for (uint32_t i = 0; i < n; i += 8) {
    uint64_t x;
    std::memcpy(&x, tags + i, sizeof x);
    x ^= wanted;
    const uint64_t zeroes = ~(((x & kLow) + kLow) | x | kLow);
    found |= ((zeroes >> 7) * 0x0102040810204080ull >> 56) << i;  // the eight marks side by side
  }
  return found & lowest_bits(n);
}

#if defined(__x86_64__)
MatchTags match_tags_avx2() { return __builtin_cpu_supports("avx2") > 0 ? &match_avx2 : nullptr; }
MatchTags match_tags_avx512() {
  return __builtin_cpu_supports("avx512f") > 0 && __builtin_cpu_supports("avx512bw") > 0 ? &match_avx512 : nullptr;
}
#else
MatchTags match_tags_avx2() { return nullptr; }
MatchTags match_tags_avx512() { return nullptr; }
#endif

const MatchTags match_tags = best();

}  // namespace cairn::storage
