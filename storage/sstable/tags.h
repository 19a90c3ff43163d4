// One byte of the hash of every key of a block, compared many at a time.
#pragma once

#include <cstdint>

namespace cairn::storage {

inline constexpr uint32_t kTagsAtOnce = 64;
inline constexpr uint32_t kTagPadding = 32;  // an array of tags is filled up to a multiple of this

inline uint8_t tag_of(uint64_t hash) { return static_cast<uint8_t>(hash); }

// Bit i: tags[i] is `tag`. 1 <= n <= kTagsAtOnce; the array is padded.
using MatchTags = uint64_t (*)(const uint8_t* tags, uint32_t n, uint8_t tag);
uint64_t match_tags_portable(const uint8_t* tags, uint32_t n, uint8_t tag);
// Null where the processor or the build lacks them.
MatchTags match_tags_avx2();
MatchTags match_tags_avx512();
extern const MatchTags match_tags;  // the best of them

}  // namespace cairn::storage
