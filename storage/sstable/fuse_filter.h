// Binary fuse filters with fingerprints of eight bits: T. M. Graf, D. Lemire, "Binary Fuse Filters: Fast and Smaller
// Than Xor Filters", ACM Journal of Experimental Algorithmics 27 (2022). About nine bits per key; one key in 256 that
// is not in the set passes.
//
// Layout: mark u8, log2 of the segment's bytes u8, 0 u16, segments a key may begin in u32, seed u64, array.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::storage {

inline constexpr uint8_t kFuseFilterMark = 0x80;
inline constexpr size_t kFuseHeader = 16;

struct FuseShape {
  uint64_t seed = 0;
  uint32_t segment = 0;   // bytes, a power of two
  uint32_t segments = 0;  // that a key may begin in; two more follow
  uint32_t positions() const { return segments * segment; }
  uint64_t bytes() const { return (uint64_t{segments} + 2) * segment; }
};

inline uint64_t fuse_mix(uint64_t hash, uint64_t seed) {
  uint64_t x = hash + seed;
  x = (x ^ x >> 33) * 0xFF51AFD7ED558CCDull;
  x = (x ^ x >> 33) * 0xC4CEB9FE1A85EC53ull;
  return x ^ x >> 33;
}

// The three bytes of a key, in adjacent segments, and what they make together.
struct FusePlaces {
  FusePlaces(uint64_t mixed, uint32_t segment, uint32_t positions) {
    const auto first = static_cast<uint32_t>(static_cast<unsigned __int128>(mixed) * positions >> 64);
    const uint32_t mask = segment - 1;
    place[0] = first;
    place[1] = (first + segment) ^ (static_cast<uint32_t>(mixed >> 18) & mask);
    place[2] = (first + 2 * segment) ^ (static_cast<uint32_t>(mixed) & mask);
    print = static_cast<uint8_t>(mixed ^ mixed >> 32);
  }
  uint32_t place[3];
  uint8_t print;
};

// Empty if it cannot be made: too many keys have equal hashes, or there are too many keys.
std::string build_fuse_filter(const std::vector<uint64_t>& hashes);
// False: malformed.
bool parse_fuse_header(std::string_view bytes, FuseShape& shape);

}  // namespace cairn::storage
