// Redis Cluster's key slots.
#pragma once

#include <cstdint>
#include <string_view>

namespace cairn::sharding {

inline constexpr uint32_t kSlots = 16384;

// CRC-16/XMODEM of the key's hash tag, modulo 16384. The tag is what stands between the first '{' and the first '}'
// after it, if that is not empty (Redis Cluster specification, "Hash tags").
uint16_t key_slot(std::string_view user_key);

}  // namespace cairn::sharding
