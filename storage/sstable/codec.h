// The two compressions of blocks. Contexts of zstd belong to the thread and are used again. Thread safety: any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/compression.h"

namespace cairn::storage {

inline constexpr uint32_t kRawBlockMax = 1u << 30;

// Packs `raw` into `out`, whatever that held. False: it would not save an eighth, or that is what kNone means.
bool pack(Compression compression, std::string_view raw, std::string& out);
// May `packed` be `raw_bytes` long unpacked? Of bytes from anywhere: memory is only taken for what passes.
bool may_unpack(Compression compression, std::string_view packed, uint64_t raw_bytes);
// Exactly `raw_bytes` to `out`, or false: malformed. Requires: may_unpack().
bool unpack(Compression compression, std::string_view packed, char* out, uint32_t raw_bytes);
// As a packed block of zstd says by itself; 0: it says nothing.
uint64_t claimed_bytes(std::string_view packed);

}  // namespace cairn::storage
