#include "storage/sstable/fuse_filter.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/codec.h"

namespace cairn::storage {
namespace {

constexpr int kTries = 32;  // one in some dozens fails
constexpr uint32_t kSegmentMax = 1u << 18;
constexpr size_t kKeysMax = 1u << 30;

// The paper's formulas for three places per key.
FuseShape shape_for(size_t keys) {
  const double n = static_cast<double>(keys);
  FuseShape shape;
  shape.segment = std::min(kSegmentMax, 1u << static_cast<uint32_t>(std::floor(std::log(n) / std::log(3.33) + 2.25)));
  const double factor = std::max(1.125, 0.875 + 0.25 * std::log(1e6) / std::log(n));
  const auto capacity = static_cast<uint32_t>(std::round(n * factor));
  const uint32_t all = (capacity + shape.segment - 1) / shape.segment;
  shape.segments = all > 3 ? all - 2 : 1;
  return shape;
}

// The peeling: a place that one key alone has fixes that key's print; without it, others become alone.
class Construction {
 public:
  Construction(const FuseShape& shape, const std::vector<uint64_t>& hashes) : shape_(shape) {
    places_.assign(shape.bytes(), {});
    order_.reserve(hashes.size());
    place_all(hashes);
  }
  bool peel(size_t keys) {
    std::vector<uint32_t> alone;
    for (uint32_t i = 0; i < places_.size(); ++i) {
      if (places_[i].keys == 1) alone.push_back(i);
    }
    while (!alone.empty()) {
      const uint32_t at = alone.back();
      alone.pop_back();
      if (places_[at].keys != 1) continue;
      const uint64_t mixed = places_[at].mixed;
      order_.emplace_back(mixed, at);
      for (const uint32_t place : FusePlaces(mixed, shape_.segment, shape_.positions()).place) {
        places_[place].mixed ^= mixed;
        if (--places_[place].keys == 1) alone.push_back(place);
      }
    }
    return order_.size() == keys;
  }
  // In reverse order of peeling nothing that was fixed changes again.
  void fill(std::string& array) const {
    for (auto it = order_.rbegin(); it != order_.rend(); ++it) {
      const FusePlaces at(it->first, shape_.segment, shape_.positions());
      uint8_t others = 0;
      for (const uint32_t place : at.place) {
        if (place != it->second) others ^= static_cast<uint8_t>(array[place]);
      }
      array[it->second] = static_cast<char>(at.print ^ others);
    }
  }

 private:
  struct Place {
    uint64_t mixed = 0;  // of all keys that have the place, xor
    uint32_t keys = 0;
  };
  // In the order of their first places, roughly: the array is large, and adjacent keys then touch what the cache holds.
  void place_all(const std::vector<uint64_t>& hashes) {
    const int shift = 64 - static_cast<int>(std::clamp<unsigned>(std::bit_width(shape_.segments), 1, 16));
    std::vector<uint32_t> starts((size_t{1} << (64 - shift)) + 1, 0);
    for (const uint64_t hash : hashes) ++starts[(fuse_mix(hash, shape_.seed) >> shift) + 1];
    for (size_t i = 1; i < starts.size(); ++i) starts[i] += starts[i - 1];
    std::vector<uint64_t> sorted(hashes.size());
    for (const uint64_t hash : hashes) {
      const uint64_t mixed = fuse_mix(hash, shape_.seed);
      sorted[starts[mixed >> shift]++] = mixed;
    }
    for (const uint64_t mixed : sorted) {
      for (const uint32_t place : FusePlaces(mixed, shape_.segment, shape_.positions()).place) {
        places_[place].mixed ^= mixed;
        ++places_[place].keys;
      }
    }
  }

  FuseShape shape_;
  std::vector<Place> places_;
  std::vector<std::pair<uint64_t, uint32_t>> order_;
};

std::string encode(const FuseShape& shape, const Construction& construction) {
  std::string array(shape.bytes(), '\0');
  construction.fill(array);
  std::string out;
  put_u8(out, kFuseFilterMark);
  put_u8(out, static_cast<uint8_t>(std::countr_zero(shape.segment)));
  put_u16(out, 0);
  put_u32(out, shape.segments);
  put_u64(out, shape.seed);
  return out + array;
}

}  // namespace

std::string build_fuse_filter(const std::vector<uint64_t>& hashes) {
  if (hashes.size() < 2 || hashes.size() > kKeysMax) return {};
  FuseShape shape = shape_for(hashes.size());
  for (int i = 0; i < kTries; ++i) {
    shape.seed = fuse_mix(static_cast<uint64_t>(i) + 1, hashes.size());
    Construction construction(shape, hashes);
    if (construction.peel(hashes.size())) return encode(shape, construction);
    if (i > 0) continue;
    // Two keys with one hash can never be peeled apart, and one of them is enough.
    std::vector<uint64_t> distinct = hashes;
    std::ranges::sort(distinct);
    distinct.erase(std::ranges::unique(distinct).begin(), distinct.end());
    if (distinct.size() < hashes.size()) return build_fuse_filter(distinct);
  }
  return {};
}

bool parse_fuse_header(std::string_view bytes, FuseShape& shape) {
  Decoder in(bytes);
  in.u8();
  const uint8_t log2 = in.u8();
  in.u16();
  shape.segments = in.u32();
  shape.seed = in.u64();
  if (!in.ok() || log2 > 18 || shape.segments == 0) return false;
  shape.segment = 1u << log2;
  return shape.bytes() == in.remaining() && shape.bytes() <= ~0u;
}

}  // namespace cairn::storage
