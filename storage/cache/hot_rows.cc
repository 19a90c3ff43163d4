#include "storage/cache/hot_rows.h"

#include <algorithm>
#include <utility>

namespace cairn::storage {
namespace {

constexpr uint64_t kSeenPerSet = 16;     // offers remembered: twice as many as there are rows
constexpr uint64_t kCountersBytes = 32;  // what a shared array takes beside its bytes

}  // namespace

void HotRows::make_sets() {
  const uint64_t sets = std::max<uint64_t>(1, bytes_max_ / (kWays * kUsualRowBytes));
  sets_ = std::vector<Set>(sets);
  seen_.resize(sets * kSeenPerSet);
  bytes_ = sets * (sizeof(Set) - kWays * sizeof(Row) + kSeenPerSet * sizeof(uint16_t));  // that are taken for good
}

uint64_t HotRows::Row::size() const { return sizeof(Row) + kCountersBytes + key_bytes + value_bytes; }

HotRows::Found HotRows::find(uint64_t life, std::string_view key, uint64_t hash) {
  if (sets_.empty()) return {};
  Set& set = sets_[place_of(hash, sets_.size())];
  const uint32_t tag = tag_of(hash);
  for (size_t way = 0; way < kWays; ++way) {
    if (set.tags[way] != tag) continue;
    const Row& row = set.rows[way];
    if (row.life != life || key != std::string_view(row.bytes.get(), row.key_bytes)) continue;
    set.used = static_cast<uint8_t>(set.used | 1u << way);
    return {{row.bytes.get() + row.key_bytes, row.value_bytes}, row.bytes};
  }
  return {};
}

bool HotRows::seen_before(uint64_t life, uint64_t hash) {
  uint16_t& seen = seen_[place_of(hash >> 16, seen_.size())];
  const auto print = static_cast<uint16_t>((hash >> 48 ^ life) | 1);
  return std::exchange(seen, print) == print;
}

void HotRows::insert(uint64_t life, std::string_view key, uint64_t hash, std::string_view value) {
  Set& set = sets_[place_of(hash, sets_.size())];
  const size_t way = place_in(set);
  auto bytes = std::make_shared_for_overwrite<char[]>(key.size() + value.size());
  std::ranges::copy(key, bytes.get());
  std::ranges::copy(value, bytes.get() + key.size());
  Row& row = set.rows[way];
  row.life = life;
  row.key_bytes = static_cast<uint32_t>(key.size());
  row.value_bytes = static_cast<uint32_t>(value.size());
  row.bytes = std::move(bytes);
  set.tags[way] = tag_of(hash);
  bytes_ += row.size();
  // Rows may be larger than usual.
  for (size_t n = 0; bytes_ > bytes_max_ && n < kWays * sets_.size(); ++n, sweep_ = (sweep_ + 1) % sets_.size()) {
    evict_from(sets_[sweep_]);
  }
}

size_t HotRows::place_in(Set& set) {
  for (size_t way = 0; way < kWays; ++way) {
    if (set.tags[way] == 0) return way;
  }
  return evict_from(set);
}

size_t HotRows::evict_from(Set& set) {
  for (size_t n = 0; n < 2 * kWays; ++n) {  // the first round takes the marks of use away
    const size_t way = std::exchange(set.hand, static_cast<uint8_t>((set.hand + 1) % kWays));
    const auto mark = static_cast<uint8_t>(1u << way);
    if (set.tags[way] == 0) continue;
    if ((set.used & mark) != 0) {
      set.used = static_cast<uint8_t>(set.used & ~mark);
      continue;
    }
    bytes_ -= set.rows[way].size();
    set.rows[way] = {};
    set.tags[way] = 0;
    return way;
  }
  return kWays;
}

}  // namespace cairn::storage
