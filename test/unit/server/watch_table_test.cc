#include "server/replica/watch_table.h"

#include <catch2/catch.hpp>

using cairn::server::WatchTable;

TEST_CASE("a watched key is unchanged until it is written") {
  WatchTable table;
  CHECK(table.changed_since("a", 5));  // nobody watched it
  table.watch("a", 5);
  CHECK_FALSE(table.changed_since("a", 5));
  table.changed("b", 6);
  CHECK_FALSE(table.changed_since("a", 5));
  table.changed("a", 5);  // by the evaluation that watched it
  CHECK_FALSE(table.changed_since("a", 5));
  table.changed("a", 7);
  CHECK(table.changed_since("a", 5));
  table.watch("a", 8);
  CHECK_FALSE(table.changed_since("a", 8));
  CHECK(table.changed_since("a", 5));
  CHECK(table.size() == 1);
  table.all_changed(9);
  CHECK(table.changed_since("a", 8));
  table.watch("a", 10);
  CHECK_FALSE(table.changed_since("a", 10));
  table.clear();
  CHECK(table.empty());
  CHECK(table.changed_since("a", 10));
}

TEST_CASE("keys that were forgotten count as changed, also once somebody watches them again") {
  WatchTable table;
  table.watch("old", 1);
  table.watch("kept", 2);
  for (size_t i = 0; i < WatchTable::kKeysMax; ++i) {
    table.watch("k" + std::to_string(i), 3);
    if (i % 1000 == 0) table.watch("kept", 3);
  }
  CHECK(table.size() == WatchTable::kKeysMax);
  CHECK(table.changed_since("old", 1));
  CHECK_FALSE(table.changed_since("kept", 2));
  table.watch("old", 4);
  CHECK(table.changed_since("old", 1));
  CHECK_FALSE(table.changed_since("old", 4));
  const std::string large(1 << 20, 'x');
  for (int i = 0; i < 20; ++i) table.watch(large + std::to_string(i), 5);
  CHECK(table.size() < 20);
  CHECK(table.changed_since("kept", 2));
}
