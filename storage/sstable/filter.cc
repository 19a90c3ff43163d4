#include "storage/sstable/filter.h"

#include <algorithm>

#include "base/codec.h"
#include "storage/sstable/fuse_filter.h"

namespace cairn::storage {
namespace {

constexpr size_t kHeader = 8;
constexpr size_t kLine = 64;
constexpr uint32_t kProbesMax = 10;
constexpr uint64_t kStep = 0x9E3779B97F4A7C15ull;
constexpr size_t kFuseKeysMin = 256;  // below it the array would be mostly slack

size_t line_of(uint64_t hash, uint64_t lines) {
  return static_cast<size_t>(static_cast<unsigned __int128>(hash) * lines >> 64);
}

std::string build_bloom(const std::vector<uint64_t>& hashes, uint32_t bits_per_key) {
  const uint64_t lines = std::max<uint64_t>(1, (hashes.size() * bits_per_key + 511) / 512);
  // 0.69 x bits per key is best for a plain Bloom filter; uneven lines make fewer probes better.
  const uint32_t probes = std::clamp<uint32_t>(bits_per_key * 6 / 10, 1, kProbesMax);
  std::string out(kHeader + lines * kLine, '\0');
  out[0] = static_cast<char>(probes);
  for (const uint64_t hash : hashes) {
    char* line = out.data() + kHeader + line_of(hash, lines) * kLine;
    uint64_t bits = hash * kStep;
    for (uint32_t i = 0; i < probes; ++i, bits = bits * kStep + 1) {
      const uint64_t bit = bits >> 55;
      line[bit / 8] = static_cast<char>(line[bit / 8] | 1 << (bit % 8));
    }
  }
  return out;
}

}  // namespace

std::string build_filter(FilterKind kind, const std::vector<uint64_t>& hashes, uint32_t bits_per_key) {
  if (hashes.empty() || bits_per_key == 0) return {};
  if (kind == FilterKind::kFuse && hashes.size() >= kFuseKeysMin) {
    if (std::string fuse = build_fuse_filter(hashes); !fuse.empty()) return fuse;
  }
  return build_bloom(hashes, bits_per_key);
}

Filter::Filter(std::string bytes) : bytes_(std::move(bytes)) {
  if (bytes_.size() < kHeader + kLine) return;
  const auto first = static_cast<uint8_t>(bytes_[0]);
  if (first == kFuseFilterMark) {
    FuseShape shape;
    if (!parse_fuse_header(bytes_, shape)) return;
    seed_ = shape.seed;
    segment_ = shape.segment;
    positions_ = shape.positions();
    kind_ = Kind::kFuse;
  } else if (first <= kProbesMax) {
    probes_ = first;
    lines_ = (bytes_.size() - kHeader) / kLine;
    kind_ = Kind::kBloom;
  }
}

bool Filter::probe_bloom(uint64_t hash) const {
  const char* line = bytes_.data() + kHeader + line_of(hash, lines_) * kLine;
  uint64_t bits = hash * kStep;
  for (uint32_t i = 0; i < probes_; ++i, bits = bits * kStep + 1) {
    const uint64_t bit = bits >> 55;
    if ((line[bit / 8] >> (bit % 8) & 1) == 0) return false;
  }
  return true;
}

bool Filter::probe_fuse(uint64_t hash) const {
  const FusePlaces at(fuse_mix(hash, seed_), segment_, positions_);
  const char* array = bytes_.data() + kFuseHeader;
  return static_cast<uint8_t>(array[at.place[0]] ^ array[at.place[1]] ^ array[at.place[2]]) == at.print;
}

void Filter::prefetch(uint64_t hash) const {
  if (kind_ == Kind::kBloom) {
    const char* line = bytes_.data() + kHeader + line_of(hash, lines_) * kLine;
    __builtin_prefetch(line);
    __builtin_prefetch(line + kLine - 1);  // the array need not begin with a line of the cache
  } else if (kind_ == Kind::kFuse) {
    const FusePlaces at(fuse_mix(hash, seed_), segment_, positions_);
    for (const uint32_t place : at.place) __builtin_prefetch(bytes_.data() + kFuseHeader + place);
  }
}

}  // namespace cairn::storage
