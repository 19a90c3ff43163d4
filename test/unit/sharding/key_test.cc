#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "base/random.h"
#include "sharding/key_encoding.h"
#include "sharding/slot.h"

using namespace cairn;
using namespace cairn::sharding;

TEST_CASE("slots are those of the Redis Cluster specification") {
  CHECK(key_slot("123456789") == (0x31C3 & 16383));
  CHECK(key_slot("foo") == 12182);
  CHECK(key_slot("{user1000}.following") == key_slot("{user1000}.followers"));
  CHECK(key_slot("foo{}{bar}") == key_slot(std::string("foo{}{bar}")));
  CHECK(key_slot("foo{{bar}}zap") == key_slot("{bar"));
  CHECK(key_slot("foo{bar}{zap}") == key_slot("bar"));
  CHECK(key_slot("") == 0);
}

TEST_CASE("row keys decode to what they encode, and rows of a key are contiguous") {
  SeededRandom random(7);
  std::vector<std::pair<std::string, std::string>> rows;  // row key, user key
  for (int i = 0; i < 2000; ++i) {
    std::string user_key;
    const uint64_t length = random.below(6);
    for (uint64_t k = 0; k < length; ++k)
      user_key.push_back(static_cast<char>(random.below(3) == 0 ? 0 : random.below(256)));
    const uint16_t slot = key_slot(user_key);
    std::string meta, element;
    append_meta_key(meta, {3}, slot, user_key);
    append_element_key(element, {3}, slot, user_key, 77, user_key + "f");
    const auto m = decode_row_key(meta);
    REQUIRE(m);
    CHECK((m->user_key == user_key && m->kind == RowKind::kMeta && m->slot == slot && m->keyspace.value == 3));
    CHECK(is_meta_row(meta));
    const auto e = decode_row_key(element);
    REQUIRE(e);
    CHECK((e->user_key == user_key && e->version == 77 && e->element == user_key + "f"));
    CHECK(!is_meta_row(element));
    CHECK(slot_bound({3}, slot) <= meta);
    CHECK(element < slot_bound({3}, slot + 1u));
    rows.emplace_back(meta, user_key);
    rows.emplace_back(element, user_key);
  }
  std::sort(rows.begin(), rows.end());
  std::vector<std::string> seen;
  for (const auto& [row, user_key] : rows) {
    if (!seen.empty() && seen.back() == user_key) continue;
    REQUIRE(std::find(seen.begin(), seen.end(), user_key) == seen.end());
    seen.push_back(user_key);
  }
}

TEST_CASE("foreign bytes are no row keys") {
  CHECK(!decode_row_key(""));
  CHECK(!decode_row_key(std::string(11, '\0')));
  std::string meta;
  append_meta_key(meta, {0}, 1, "k");
  CHECK(!decode_row_key(meta + "x"));
  CHECK(!decode_row_key(std::string_view(meta).substr(0, meta.size() - 1)));
}
