// Constants and small structures of SSTable files (docs/formats/sstable.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "storage/compaction/strategy.h"
#include "storage/memtable/prefix_tombstones.h"
#include "storage/sstable/codec.h"

namespace cairn::storage {

inline constexpr uint64_t kSstMagic = 0x5453534E52494143ull;  // "CAIRNSST"
inline constexpr uint32_t kSstVersion = 2;                    // 1 stays readable
// Incompatible features. Version 1 has none of them.
inline constexpr uint32_t kFeatureSearchColumns = 1;  // data blocks have heads and tags
inline constexpr uint32_t kFeatureSeparators = 2;     // the index has separators instead of last keys
inline constexpr uint32_t kFeatureFuseFilter = 4;
inline constexpr uint32_t kFeatureZstd = 8;         // some block is compressed with zstd
inline constexpr uint32_t kFeatureNoSequence = 16;  // of some row the properties alone say when it was written
inline constexpr uint32_t kSstIncompatibleKnown =
    kFeatureSearchColumns | kFeatureSeparators | kFeatureFuseFilter | kFeatureZstd | kFeatureNoSequence;
inline constexpr size_t kFooterBytes = 64;
inline constexpr size_t kTrailerBytes = 16;  // behind every stored block

struct BlockHandle {
  uint64_t offset = 0;
  uint32_t size = 0;  // stored bytes, trailer included; 0 = no such block
};

struct Footer {
  uint32_t version = kSstVersion;
  uint32_t features = 0;  // incompatible ones
  BlockHandle properties;
  BlockHandle index;
  uint64_t seed = 0;  // of all checksums: id of the table when it was written
};
std::string encode_footer(const Footer& footer);
Result<Footer> parse_footer(std::string_view bytes, const std::string& path);

// Of the checksum of a block.
inline uint64_t block_seed(uint64_t seed, uint64_t offset) { return seed * 0x9E3779B97F4A7C15ull ^ offset; }
// Stored block: payload | compression u8, 0 u8[3], raw length u32, xxh3-64 of all before, seeded by table and
// offset. `raw` stays as it is where that saves less than an eighth.
std::string seal_block(std::string_view raw, Compression compression, uint64_t seed, uint64_t offset);
// A stored block whose checksum is right.
struct StoredBlock {
  Compression compression = Compression::kNone;
  uint32_t raw_bytes = 0;
  std::string_view payload;  // kNone: raw_bytes long
};
// `path` is for the message.
Result<StoredBlock> check_block(std::string_view stored, uint64_t seed, uint64_t offset, const std::string& path);
// The unpacked block to `out`, which has room for raw_bytes. False: malformed.
bool unpack_block(const StoredBlock& block, char* out);
// Checks and unpacks.
Result<std::string> open_block(std::string_view stored, uint64_t seed, uint64_t offset, const std::string& path);

struct TableProperties {
  SstableInfo info;  // id, run and level are those at writing time; the manifest has the present ones
  uint64_t point_tombstones = 0;
  uint64_t raw_bytes = 0;
  uint32_t blocks = 0;
  BlockHandle filter;
  BlockHandle prefix_tombstones;
  std::string sketch;  // of the keys (key_sketch.h); empty: a small table, or one of an earlier writer
};
std::string encode_properties(const TableProperties& properties);
Result<TableProperties> parse_properties(std::string_view bytes, const std::string& path);

std::string encode_prefix_tombstones(const std::vector<PrefixTombstone>& list);
Result<PrefixTombstones> parse_prefix_tombstones(std::string_view bytes, const std::string& path);

Error corrupt(const std::string& path, std::string_view what);

}  // namespace cairn::storage
