#include "storage/memtable/slot_table.h"

#include <catch2/catch.hpp>
#include <unordered_map>

#include "base/random.h"

namespace cairn::storage {
namespace {

// Rows are numbers; the slot table finds them by what `hash_of` makes of them. Returns the most bytes that one row
// took.
template <class HashOf>
uint64_t check_against_map(uint32_t rows, HashOf hash_of) {
  SlotTable table;
  CHECK(!table.reserved());
  table.prefetch(1);
  table.reserve();
  std::unordered_map<uint32_t, uint32_t> hashes;  // of rows that are there
  uint64_t largest_step = 0;
  for (uint32_t row = 1; row <= rows; ++row) {
    const uint32_t hash = hash_of(row);
    const auto same = [&](uint32_t ref) { return ref == row; };
    REQUIRE(table.find(hash, same).ref == 0);
    const uint64_t before = table.bytes();
    table.place(hash, same) = {hash, row};
    table.added(hash);
    largest_step = std::max(largest_step, table.bytes() - before);
    hashes[row] = hash;
  }
  for (const auto& [row, hash] : hashes) {
    const auto& slot = table.find(hash, [row = row](uint32_t ref) { return ref == row; });
    REQUIRE(slot.ref == row);
    REQUIRE(slot.hash == hash);
  }
  CHECK(table.find(hash_of(rows + 1), [](uint32_t) { return false; }).ref == 0);
  CHECK(table.bytes() >= rows * sizeof(SlotTable::Slot));
  return largest_step;
}

}  // namespace

TEST_CASE("a slot table finds every row, and grows in small steps") {
  SeededRandom random(1);
  std::vector<uint32_t> hashes;
  for (int i = 0; i < 200'001; ++i) hashes.push_back(static_cast<uint32_t>(random.next()));
  for (const uint32_t rows : {1u, 11u, 12u, 13u, 3072u, 3073u, 10'000u, 200'000u}) {
    CHECK(check_against_map(rows, [&](uint32_t row) { return hashes[row - 1]; }) <= 64u << 10);
  }
}

TEST_CASE("a slot table bears hashes that begin or end alike") {
  check_against_map(20'000, [](uint32_t row) { return row; });            // one half of every split stays empty
  check_against_map(20'000, [](uint32_t row) { return row << 12; });      // every row has the same home
  check_against_map(4'000, [](uint32_t) { return 0xABCDEF01u; });         // nothing tells them apart
  check_against_map(20'000, [](uint32_t row) { return row << 16 | 7; });  // only the directory does
}

}  // namespace cairn::storage
