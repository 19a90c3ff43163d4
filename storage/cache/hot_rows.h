// Rows that are read again and again, for those whose blocks would have to be searched every time.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace cairn::storage {

// What the SSTables of tablets hold for single keys. Memtables are asked before it, so that a write hides what is here
// by being applied, and nothing has to be taken out for it; what changes the tables themselves (a flush, a compaction,
// a clear, an installed snapshot) makes the tablet take a new `life`, and what was kept for the old one is never found
// again. A key enters when it is offered twice while not many others were; it leaves when others need its place and it
// was not asked for since they last did. Bounded by bytes. Thread safety: the owner's loop; what find() has handed out
// stays valid as long as its holder wants.
class HotRows {
 public:
  static constexpr size_t kRowBytesMax = 4u << 10;  // key and value: larger ones are not for it

  // `bytes_max` 0: takes nothing.
  explicit HotRows(uint64_t bytes_max) : bytes_max_(bytes_max) {}
  HotRows(const HotRows&) = delete;
  HotRows& operator=(const HotRows&) = delete;

  // Unique: of a tablet, as long as its tables stay what they are.
  uint64_t new_life() { return ++lives_; }

  struct Found {
    std::string_view value;
    std::shared_ptr<const void> pin;  // holds the value; null: not there
  };
  // `hash` = hash64(key).
  Found find(uint64_t life, std::string_view key, uint64_t hash);
  // Hint: find() follows.
  [[gnu::always_inline]] void prefetch(uint64_t hash) const {
    if (!sets_.empty()) __builtin_prefetch(&sets_[place_of(hash, sets_.size())]);
  }
  // Of a key that find() did not find and a table has.
  void offer(uint64_t life, std::string_view key, uint64_t hash, std::string_view value) {
    if (bytes_max_ == 0 || key.size() + value.size() > kRowBytesMax) return;
    if (sets_.empty()) make_sets();
    if (seen_before(life, hash)) insert(life, key, hash, value);
  }
  uint64_t bytes() const { return bytes_; }
  uint64_t bytes_max() const { return bytes_max_; }

 private:
  struct Row {
    uint64_t life = 0;
    uint32_t key_bytes = 0, value_bytes = 0;
    std::shared_ptr<const char[]> bytes;  // key, then value
    uint64_t size() const;
  };
  static constexpr size_t kWays = 8;
  static constexpr uint64_t kUsualRowBytes = 192;  // with all that it takes beside key and value
  // Eight rows whose keys' hashes end alike. A tag of 0: the place is empty.
  struct alignas(64) Set {
    std::array<uint32_t, kWays> tags{};
    uint8_t used = 0;  // bit i: row i, since the set last needed a place
    uint8_t hand = 0;
    std::array<Row, kWays> rows;
  };
  static uint32_t tag_of(uint64_t hash) { return static_cast<uint32_t>(hash >> 32) | 1; }
  static size_t place_of(uint64_t bits, size_t places) { return (bits & ~0u) * places >> 32; }  // by its low half
  void make_sets();  // nothing is taken for rows before there are some
  // Was it offered not long ago? From now on it was.
  bool seen_before(uint64_t life, uint64_t hash);
  void insert(uint64_t life, std::string_view key, uint64_t hash, std::string_view value);
  size_t place_in(Set& set);  // empties one for it if need be
  // The next of its rows that was not used lately; kWays: it has none.
  size_t evict_from(Set& set);

  uint64_t bytes_max_, bytes_ = 0, lives_ = 0;
  std::vector<Set> sets_;
  std::vector<uint16_t> seen_;  // by hash: what was last offered
  size_t sweep_ = 0;            // the next set to lose rows when all take too much
};

}  // namespace cairn::storage
