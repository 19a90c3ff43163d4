// Blocked Bloom filter: all probes of a key fall into one cache line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::storage {

// Layout: probes u8, 0 u8[7], lines of 64 bytes. `hashes` are hash64 of the keys.
std::string build_filter(const std::vector<uint64_t>& hashes, uint32_t bits_per_key);

// False: certainly no such key. Malformed or empty filters say true.
bool filter_may_contain(std::string_view filter, uint64_t hash);

}  // namespace cairn::storage
