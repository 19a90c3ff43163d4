#include "storage/sstable/filter.h"

#include <algorithm>

namespace cairn::storage {
namespace {

constexpr size_t kHeader = 8;
constexpr size_t kLine = 64;
constexpr uint32_t kProbesMax = 10;

size_t line_of(uint64_t hash, uint64_t lines) {
  return static_cast<size_t>(static_cast<unsigned __int128>(hash) * lines >> 64);
}

}  // namespace

std::string build_filter(const std::vector<uint64_t>& hashes, uint32_t bits_per_key) {
  if (hashes.empty() || bits_per_key == 0) return {};
  const uint64_t lines = std::max<uint64_t>(1, (hashes.size() * bits_per_key + 511) / 512);
  // 0.69 x bits per key is best for a plain Bloom filter; uneven lines make fewer probes better.
  const uint32_t probes = std::clamp<uint32_t>(bits_per_key * 6 / 10, 1, kProbesMax);
  std::string out(kHeader + lines * kLine, '\0');
  out[0] = static_cast<char>(probes);
  for (const uint64_t hash : hashes) {
    char* line = out.data() + kHeader + line_of(hash, lines) * kLine;
    uint64_t bits = hash * 0x9E3779B97F4A7C15ull;
    for (uint32_t i = 0; i < probes; ++i, bits = bits * 0x9E3779B97F4A7C15ull + 1) {
      const uint64_t bit = bits >> 55;
      line[bit / 8] = static_cast<char>(line[bit / 8] | 1 << (bit % 8));
    }
  }
  return out;
}

bool filter_may_contain(std::string_view filter, uint64_t hash) {
  if (filter.size() < kHeader + kLine) return true;
  const auto probes = static_cast<uint8_t>(filter[0]);
  if (probes > kProbesMax) return true;
  const char* line = filter.data() + kHeader + line_of(hash, (filter.size() - kHeader) / kLine) * kLine;
  uint64_t bits = hash * 0x9E3779B97F4A7C15ull;
  for (uint32_t i = 0; i < probes; ++i, bits = bits * 0x9E3779B97F4A7C15ull + 1) {
    const uint64_t bit = bits >> 55;
    if ((line[bit / 8] >> (bit % 8) & 1) == 0) return false;
  }
  return true;
}

}  // namespace cairn::storage
