// Every row of an SSTable, block by block.
#pragma once

#include <catch2/catch.hpp>
#include <string>

#include "storage/sstable/sstable.h"

namespace cairn::storage::test {

// Calls visit(key, block, number of the block, number of the row in it).
template <class Visit>
void for_each_row(const Sstable& table, Visit visit) {
  std::string key;
  for (uint32_t b = 0; b < table.blocks(); ++b) {
    const auto block = table.read_block(b);
    REQUIRE(block);
    for (uint32_t row = 0; row < (*block)->rows(); ++row) {
      (*block)->key(row, key);
      visit(key, **block, b, row);
    }
  }
}

}  // namespace cairn::storage::test
