// Manifests with a table that nothing lies behind.
#pragma once

#include <catch2/catch.hpp>

#include <string>

#include "storage/version/manifest.h"

namespace cairn::storage::test {

inline constexpr uint64_t kTableId = 77;

// Gives range 12 a tablet with that table, from "a" to `largest`. Returns its life.
inline uint64_t add_table(Manifest& manifest, const std::string& largest) {
  TabletEdit create;
  create.life = manifest.new_life();
  create.created = RangeId{12};
  SstableInfo info;
  info.id = kTableId;
  info.run = 1 << 16;
  info.smallest = "a";
  info.largest = largest;
  create.added = {info};
  REQUIRE(*manifest.commit({create}));
  return create.life;
}

}  // namespace cairn::storage::test
