#include "storage/cache/hot_rows.h"

#include <catch2/catch.hpp>
#include <map>
#include <string>

#include "base/checksum.h"
#include "tablet_fixture.h"

namespace cairn::storage {
namespace {

using test::TabletFixture;

std::string key(uint64_t i) { return "key" + std::to_string(i); }

struct Rows {
  explicit Rows(uint64_t bytes) : hot(bytes) {}
  HotRows hot;
  bool has(uint64_t life, uint64_t i) { return hot.find(life, key(i), hash64(key(i))).pin != nullptr; }
  void offer(uint64_t life, uint64_t i, std::string_view value) { hot.offer(life, key(i), hash64(key(i)), value); }
};

// A tablet beside a map, and reads that come back to the same few keys.
struct Model : TabletFixture {
  explicit Model(uint64_t seed) : TabletFixture(seed), random(seed) {
    options.hot_row_bytes = random.chance(0.5) ? 1 << 20 : 8 << 10;
    options.block_cache_bytes = random.chance(0.5) ? 1 << 20 : 4 << 10;
    options.memtable_bytes = 4 << 10;
    fs.set_cold(random.chance(0.3));
  }
  ~Model() { store.reset(); }
  std::string some_key() {
    return std::string(1, static_cast<char>('a' + random.below(3))) + key(random.below(random.chance(0.7) ? 5 : 60));
  }
  void write() {
    WriteBatch batch;
    const uint64_t what = random.below(1000);
    const std::string name = some_key();
    if (what < 3) {
      batch.clear_all();
      rows.clear();
    } else if (what < 20) {
      const std::string prefix = name.substr(0, 1 + random.below(5));
      batch.remove_prefix(prefix);
      std::erase_if(rows, [&](const auto& row) { return row.first.starts_with(prefix); });
    } else if (what < 200) {
      batch.remove(name);
      rows.erase(name);
    } else {
      const std::string value = std::to_string(index) + std::string(random.below(200), '=');
      batch.put(name, value);
      rows[name] = value;
    }
    REQUIRE(tablet()->apply(test::at(++index), batch.bytes()));
  }
  void look() {
    const std::string name = some_key();
    const auto found = rows.find(name);
    INFO(name << " at " << index);
    REQUIRE(read(tablet(), name) == (found == rows.end() ? std::nullopt : std::optional(found->second)));
  }
  SeededRandom random;
  std::map<std::string, std::string> rows;
  uint64_t index = 0;
};

}  // namespace

TEST_CASE("a row is kept from its second offer on, for the life that it was offered for") {
  Rows rows(64 << 10);
  const uint64_t life = rows.hot.new_life(), next = rows.hot.new_life();
  REQUIRE(life != next);
  rows.offer(life, 1, "one");
  CHECK(!rows.has(life, 1));
  rows.offer(life, 1, "one");
  REQUIRE(rows.has(life, 1));
  CHECK(rows.hot.find(life, key(1), hash64(key(1))).value == "one");
  CHECK(!rows.has(next, 1));
  CHECK(!rows.has(life, 2));
  rows.offer(life, 2, "");
  rows.offer(life, 2, "");
  REQUIRE(rows.has(life, 2));
  CHECK(rows.hot.find(life, key(2), hash64(key(2))).value.empty());
}

TEST_CASE("without memory for them no rows are kept, and large ones never") {
  Rows none(0), some(64 << 10);
  for (int i = 0; i < 3; ++i) {
    none.offer(1, 1, "one");
    some.offer(1, 1, std::string(HotRows::kRowBytesMax, 'x'));
  }
  CHECK(!none.has(1, 1));
  CHECK(none.hot.bytes() == 0);
  CHECK(!some.has(1, 1));
}

TEST_CASE("kept rows stay within their bytes, and what was handed out outlives them") {
  SeededRandom random(4);
  for (const uint64_t bytes : {1 << 10, 16 << 10, 256 << 10}) {
    Rows rows(bytes);
    HotRows::Found held;
    std::string expected;
    uint64_t kept = 0;
    for (uint64_t i = 0; i < 5000; ++i) {
      const std::string value(random.chance(0.1) ? random.below(4000) : random.below(100),
                              static_cast<char>('a' + i % 26));
      rows.offer(1, i, value);
      rows.offer(1, i, value);
      REQUIRE(rows.hot.bytes() <= std::max<uint64_t>(bytes, 1 << 10));
      if (!rows.has(1, i)) continue;
      ++kept;
      if (held.pin) continue;
      held = rows.hot.find(1, key(i), hash64(key(i)));
      expected = value;
    }
    REQUIRE(held.pin);
    CHECK(held.value == expected);
    CHECK(kept > 1000);
  }
}

TEST_CASE("rows that are asked for survive a stream of others that are offered twice") {
  Rows rows(64 << 10);
  for (uint64_t i = 0; i < 20; ++i) {
    rows.offer(1, i, "value");
    rows.offer(1, i, "value");
  }
  uint64_t there = 0;
  for (uint64_t i = 1000; i < 6000; ++i) {
    rows.offer(1, i, "value");
    rows.offer(1, i, "value");
    there = 0;
    for (uint64_t hot = 0; hot < 20; ++hot) there += rows.has(1, hot);
  }
  CHECK(there == 20);
}

TEST_CASE("reads that hot rows answer are those of the tablet, whatever is written, flushed, compacted and replaced") {
  uint64_t hits = 0;
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Model m(seed);
    REQUIRE(m.open());
    for (int step = 0; step < 600; ++step) {
      const uint64_t what = m.random.below(100);
      if (what < 20) m.write();
      if (what == 30) m.tablet()->flush();
      if (what == 31) m.tablet()->compact([](Result<void>) {});
      if (what == 32) m.machine.settle();
      if (what == 33 && m.random.chance(0.2)) {
        REQUIRE(m.store->drop({1}));
        REQUIRE(m.tablet() != nullptr);
        m.rows.clear();
        m.index = 0;
      }
      if (what > 33) {
        for (int n = 0; n < 8; ++n) m.look();
      }
    }
    hits += m.store->metrics().hot_row_hits.get();
  }
  CHECK(hits > 300);
}

}  // namespace cairn::storage
