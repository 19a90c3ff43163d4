#pragma once

#include <cstdint>
#include <string_view>

namespace cairn {

// CRC-32C (Castagnoli, RFC 3720 appendix B.4), continuing from `seed` (0 for a fresh sum). Hardware where present.
uint32_t crc32c(std::string_view bytes, uint32_t seed = 0);

// xxh3-64 with the library's default secret. Fixed for ever: stored keys contain it.
uint64_t hash64(std::string_view bytes);
uint64_t hash64(std::string_view bytes, uint64_t seed);

// The low 32 bits of hash64: the hash32 of stored keys.
inline uint32_t hash32(std::string_view bytes) { return static_cast<uint32_t>(hash64(bytes)); }

}  // namespace cairn
