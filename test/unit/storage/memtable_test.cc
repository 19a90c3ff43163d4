#include <catch2/catch.hpp>

#include <chrono>
#include <map>

#include "base/checksum.h"
#include "base/random.h"
#include "storage/memtable/memtable.h"

namespace cairn::storage {

TEST_CASE("a memtable keeps the order of std::map for keys of every shape") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SeededRandom random(seed);
    Memtable table(1);
    std::map<std::string, std::string> model;
    for (uint64_t i = 1; i <= 3000; ++i) {
      std::string key(random.below(3) * 5, 'p');  // long shared prefixes, short keys, zero bytes
      for (uint64_t n = random.below(6); n > 0; --n) key.push_back(static_cast<char>(random.below(4)));
      if (random.chance(0.3)) key = "seq" + std::to_string(1'000'000 + i);
      const std::string value(random.below(30), 'v');
      table.put(key, hash64(key), value, i, i);
      model[key] = value;
    }
    REQUIRE(table.rows() == model.size());
    MemtableCursor cursor(table);
    CursorState state = cursor.seek({});
    for (const auto& [key, value] : model) {
      REQUIRE(state == CursorState::kRow);
      REQUIRE(cursor.row().key == key);
      REQUIRE(cursor.row().value == value);
      REQUIRE(table.find(key, hash64(key)) != nullptr);
      state = cursor.next();
    }
    REQUIRE(state == CursorState::kEnd);
    for (int i = 0; i < 300; ++i) {
      const std::string key(random.below(12), static_cast<char>('o' + random.below(3)));
      const auto it = model.lower_bound(key);
      state = cursor.seek(key);
      REQUIRE((state == CursorState::kRow) == (it != model.end()));
      if (it != model.end()) REQUIRE(cursor.row().key == it->first);
    }
  }
}

TEST_CASE("an inner node whose first separator is above the next ones stays in order when it is split") {
  Memtable table(1, true);
  std::map<std::string, uint64_t> model;
  uint64_t sequence = 0;
  const auto put = [&](char first, int number) {
    const std::string key = first + std::string(12, '-') + std::to_string(100'000 + number);
    table.put(key, hash64(key), "v", ++sequence, 1);
    model[key] = sequence;
  };
  for (int i = 0; i < 1500; ++i) put('b', i);     // the root's first separator is the lowest b
  for (int i = 0; i < 300; i += 2) put('a', i);   // its first leaf is split at lower keys
  for (int i = 1500; i < 6000; ++i) put('b', i);  // the root is split
  for (int i = 299; i > 0; i -= 2) put('a', i);
  MemtableCursor cursor(table);
  CursorState state = cursor.seek({});
  for (const auto& row : model) {
    REQUIRE(state == CursorState::kRow);
    REQUIRE(cursor.row().key == row.first);
    state = cursor.next();
  }
  REQUIRE(state == CursorState::kEnd);
}

TEST_CASE("a memtable that is scanned between writes shows every row in order each time") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SeededRandom random(seed);
    Memtable table(1, random.chance(0.3));
    std::map<std::string, uint64_t> model;
    for (uint64_t i = 1; i <= 2000; ++i) {
      const std::string key = std::to_string(random.below(800));
      table.put(key, hash64(key), "v", i, i);
      model[key] = i;
      if (!random.chance(0.01)) continue;
      MemtableCursor cursor(table);
      CursorState state = cursor.seek({});
      for (const auto& [expected, sequence] : model) {
        REQUIRE(state == CursorState::kRow);
        REQUIRE(cursor.row().key == expected);
        REQUIRE(cursor.row().sequence == sequence);
        state = cursor.next();
      }
      REQUIRE(state == CursorState::kEnd);
      CHECK(table.keeps_order());
    }
  }
}

TEST_CASE("a sealed memtable that was never scanned is put in order once, for all readers") {
  for (const size_t rows : {0, 1, 2, 3, 1000}) {
    Memtable table(1);
    std::map<std::string, uint64_t> model;
    SeededRandom random(rows + 1);
    for (uint64_t i = 1; model.size() < rows; ++i) {
      const std::string key = "k" + std::to_string(random.below(10 * rows));
      table.put(key, hash64(key), "v", i, i);
      model[key] = i;
    }
    table.seal();
    MemtableCursor first(table), second(table);
    CursorState one = first.seek({});
    for (auto at = model.begin(); at != model.end(); ++at) {
      REQUIRE(one == CursorState::kRow);
      REQUIRE(first.row().key == at->first);
      REQUIRE(first.row().sequence == at->second);
      REQUIRE(second.seek(at->first + '\0') == (std::next(at) == model.end() ? CursorState::kEnd : CursorState::kRow));
      one = first.next();
    }
    REQUIRE(one == CursorState::kEnd);
  }
}

TEST_CASE("an updated row takes no more memory while it fits, and an idle memtable takes none") {
  Memtable table(1);
  CHECK(table.bytes() == 0);
  table.put("counter", hash64("counter"), "100", 1, 1);
  const uint64_t bytes = table.bytes();
  for (uint64_t i = 2; i < 1000; ++i) table.put("counter", hash64("counter"), std::to_string(i).substr(0, 3), i, i);
  CHECK(table.bytes() == bytes);
  CHECK(table.rows() == 1);
}

TEST_CASE("memory of large memtables is used again, and touched before it is needed") {
  const auto slabs = std::make_shared<SlabPool>(uint64_t{64} << 20);
  const std::string value(1000, 'v');
  const auto fill = [&](Memtable& table) {
    for (uint64_t i = 1; table.bytes() < 8u << 20; ++i) {
      const std::string key = "key" + std::to_string(i);
      table.put(key, hash64(key), value, i, i);
    }
    for (uint64_t i = 1; i <= table.rows(); ++i) {
      const std::string key = "key" + std::to_string(i);
      REQUIRE(table.find(key, hash64(key))->sequence == i);
    }
  };
  CHECK_FALSE(slabs->lacks());  // nobody wants any
  {
    Memtable small(1, false, slabs);
    small.put("k", hash64("k"), value, 1, 1);
    CHECK_FALSE(slabs->lacks());
    Memtable large(2, false, slabs);
    fill(large);
    REQUIRE(slabs->lacks());
    while (slabs->lacks()) slabs->touch_one();
    Memtable next(3, false, slabs);
    fill(next);
    CHECK(next.rows() >= large.rows() * 9 / 10);
  }
  CHECK_FALSE(slabs->lacks());
  SlabPool::Slab slab = slabs->take();
  CHECK_FALSE(slabs->lacks());  // many are left of the tables that are gone
  CHECK(reinterpret_cast<uintptr_t>(slab.get()) % SlabPool::kSlabBytes == 0);
  slabs->give(std::move(slab));
}

TEST_CASE("the newest deleted prefix above a key is found, nested ones too") {
  PrefixTombstones list;
  list.add("a/", 10, 1);
  list.add("a/b/", 20, 2);
  list.add("c", 5, 3);
  CHECK(list.covering("a/x") == 10);
  CHECK(list.covering("a/b/x") == 20);
  CHECK(list.covering("a/c") == 10);
  CHECK(list.covering("b") == 0);
  CHECK(list.covering("c") == 5);
  CHECK(list.covering("cat") == 5);
  list.add("a/", 30, 4);
  CHECK(list.covering("a/b/x") == 30);
  CHECK(list.size() == 2);
}

TEST_CASE("memtable speed", "[.bench]") {
  using Now = std::chrono::steady_clock;
  Memtable table(1);
  std::vector<std::string> keys;
  SeededRandom random(1);
  for (int i = 0; i < 100'000; ++i) {
    const uint64_t number = random.next();
    std::string key(2, '\0');
    key[0] = static_cast<char>(number & 63);
    key[1] = static_cast<char>(number >> 8);
    keys.push_back(key + "M" + "user:" + std::to_string(number % 1'000'000'000));
  }
  const std::string value(64, 'v');
  const auto measure = [&](const char* what, auto&& body) {
    const auto begin = Now::now();
    for (size_t i = 0; i < keys.size(); ++i) body(i);
    const auto ns =
        std::chrono::duration<double, std::nano>(Now::now() - begin).count() / static_cast<double>(keys.size());
    WARN(what << ": " << ns << " ns");
  };
  uint64_t sum = 0;
  measure("put new", [&](size_t i) { table.put(keys[i], hash64(keys[i]), value, i + 1, 1); });
  measure("put again", [&](size_t i) { table.put(keys[i], hash64(keys[i]), value, i + 200'000, 1); });
  measure("get random", [&](size_t i) {
    const auto& key = keys[i * 7919 % keys.size()];
    sum += table.find(key, hash64(key))->value_size;
  });
  measure("get hot", [&](size_t i) {
    const auto& key = keys[i % 16];
    sum += table.find(key, hash64(key))->value_size;
  });
  measure("seek", [&](size_t i) { sum += table.lower_bound(keys[i * 7919 % keys.size()]).entry()->key_size; });
  CHECK(sum > 0);
}

}  // namespace cairn::storage
