// How blocks of SSTables are compressed.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace cairn::storage {

// The values are on disk.
enum class Compression : uint8_t {
  kNone = 0,
  kLz4 = 1,   // fast both ways
  kZstd = 2,  // smaller, and slower to read: for what stays
};
inline constexpr Compression kCompressions[] = {Compression::kNone, Compression::kLz4, Compression::kZstd};
inline constexpr Compression kDefaultCompression = Compression::kLz4;
std::string_view to_string(Compression compression);                  // "none", "lz4", "zstd"
std::optional<Compression> parse_compression(std::string_view name);  // nullopt: no such compression

}  // namespace cairn::storage
