#include "storage/sstable/codec.h"

#include <lz4.h>
#include <zstd.h>

#include <array>
#include <cstring>
#include <memory>

#include "base/assert.h"

namespace cairn::storage {
namespace {

constexpr std::array<std::string_view, std::size(kCompressions)> kNames{"none", "lz4", "zstd"};
constexpr int kZstdLevel = 1;      // of 4 KiB blocks level 3 makes nothing smaller, and takes a fifth longer
constexpr size_t kPackedMin = 64;  // smaller blocks stay as they are

// A block of either cannot grow by more than this when it is unpacked. LZ4: a byte of length stands for 255; zstd: four
// bytes for a block of 128 KiB.
constexpr uint64_t kLz4GrowthMax = 256;
constexpr uint64_t kZstdGrowthMax = 32u << 10;

struct FreePacker {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};
struct FreeUnpacker {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

ZSTD_CCtx& packer() {
  thread_local const std::unique_ptr<ZSTD_CCtx, FreePacker> context(ZSTD_createCCtx());
  CAIRN_ASSERT_MSG(context != nullptr, "out of memory");
  return *context;
}

ZSTD_DCtx& unpacker() {
  thread_local const std::unique_ptr<ZSTD_DCtx, FreeUnpacker> context(ZSTD_createDCtx());
  CAIRN_ASSERT_MSG(context != nullptr, "out of memory");
  return *context;
}

size_t pack_lz4(std::string_view raw, std::string& out) {
  const int bound = LZ4_compressBound(static_cast<int>(raw.size()));
  out.resize(static_cast<size_t>(bound));
  return static_cast<size_t>(LZ4_compress_default(raw.data(), out.data(), static_cast<int>(raw.size()), bound));
}

size_t pack_zstd(std::string_view raw, std::string& out) {
  out.resize(ZSTD_compressBound(raw.size()));
  const size_t n = ZSTD_compressCCtx(&packer(), out.data(), out.size(), raw.data(), raw.size(), kZstdLevel);
  return ZSTD_isError(n) != 0 ? 0 : n;
}

}  // namespace

std::string_view to_string(Compression compression) { return kNames[static_cast<size_t>(compression)]; }

std::optional<Compression> parse_compression(std::string_view name) {
  for (const Compression compression : kCompressions) {
    if (to_string(compression) == name) return compression;
  }
  return std::nullopt;
}

bool pack(Compression compression, std::string_view raw, std::string& out) {
  if (compression == Compression::kNone || raw.size() < kPackedMin || raw.size() > kRawBlockMax) return false;
  const size_t n = compression == Compression::kLz4 ? pack_lz4(raw, out) : pack_zstd(raw, out);
  if (n == 0 || n > raw.size() - raw.size() / 8) return false;
  out.resize(n);
  return true;
}

bool may_unpack(Compression compression, std::string_view packed, uint64_t raw_bytes) {
  if (raw_bytes > kRawBlockMax) return false;
  switch (compression) {
    case Compression::kNone: return raw_bytes == packed.size();
    case Compression::kLz4: return raw_bytes / kLz4GrowthMax <= packed.size();
    case Compression::kZstd: return raw_bytes / kZstdGrowthMax <= packed.size() && claimed_bytes(packed) == raw_bytes;
  }
  return false;
}

bool unpack(Compression compression, std::string_view packed, char* out, uint32_t raw_bytes) {
  switch (compression) {
    case Compression::kNone: std::memcpy(out, packed.data(), packed.size()); return true;
    case Compression::kLz4:
      return LZ4_decompress_safe(packed.data(), out, static_cast<int>(packed.size()), static_cast<int>(raw_bytes)) ==
             static_cast<int>(raw_bytes);
    case Compression::kZstd:
      return ZSTD_decompressDCtx(&unpacker(), out, raw_bytes, packed.data(), packed.size()) == raw_bytes;
  }
  return false;
}

uint64_t claimed_bytes(std::string_view packed) {
  const unsigned long long bytes = ZSTD_getFrameContentSize(packed.data(), packed.size());
  return bytes == ZSTD_CONTENTSIZE_UNKNOWN || bytes == ZSTD_CONTENTSIZE_ERROR ? 0 : bytes;
}

}  // namespace cairn::storage
