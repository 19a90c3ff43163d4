// Which keys a table certainly does not have. Two kinds: blocked Bloom filters, whose probes of a key fall into one
// cache line, for what is written often; binary fuse filters, three times more precise at the same size but dearer to
// make, for what stays.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::storage {

enum class FilterKind : uint8_t { kBloom, kFuse };

// `hashes` are hash64 of the keys. Small sets get a Bloom filter whatever is asked for.
std::string build_filter(FilterKind kind, const std::vector<uint64_t>& hashes, uint32_t bits_per_key);

// A filter read from a file. Immutable; thread safe.
class Filter {
 public:
  Filter() = default;                  // knows nothing
  explicit Filter(std::string bytes);  // malformed or empty: likewise
  // False: certainly no such key.
  bool may_contain(uint64_t hash) const {
    switch (kind_) {
      case Kind::kBloom: return probe_bloom(hash);
      case Kind::kFuse: return probe_fuse(hash);
      case Kind::kNone: break;
    }
    return true;
  }
  void prefetch(uint64_t hash) const;  // what may_contain() will read

 private:
  enum class Kind : uint8_t { kNone, kBloom, kFuse };
  bool probe_bloom(uint64_t hash) const;
  bool probe_fuse(uint64_t hash) const;

  std::string bytes_;
  Kind kind_ = Kind::kNone;
  uint32_t probes_ = 0;
  uint64_t lines_ = 0;
  uint64_t seed_ = 0;
  uint32_t segment_ = 0;    // bytes, a power of two
  uint32_t positions_ = 0;  // of the first of the three bytes
};

}  // namespace cairn::storage
