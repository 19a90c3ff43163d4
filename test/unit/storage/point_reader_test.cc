#include "storage/sstable/point_reader.h"

#include <catch2/catch.hpp>
#include <string>

#include "base/checksum.h"
#include "base/random.h"

#include "storage/sstable/format.h"

namespace cairn::storage {
namespace {

// Literals and repetitions of all lengths and distances.
std::string text(Random& random, size_t bytes) {
  std::string out;
  while (out.size() < bytes) {
    const uint64_t n = 1 + random.below(random.chance(0.1) ? 700 : 40);
    if (out.empty() || random.chance(0.5)) {
      for (uint64_t i = 0; i < n; ++i) out.push_back(static_cast<char>(random.next()));
    } else {
      const uint64_t distance = 1 + random.below(std::min<uint64_t>(out.size(), random.chance(0.5) ? 20 : 5000));
      for (uint64_t i = 0; i < n; ++i) out.push_back(out[out.size() - distance]);
    }
  }
  out.resize(bytes);
  return out;
}

}  // namespace

TEST_CASE("a point reader finds in a stored block what the whole block holds") {
  SeededRandom random(3);
  PointReader reader;
  for (const size_t value_bytes : {0, 10, 100, 3000, 40'000}) {
    for (const bool even : {true, false}) {
      for (const Compression compression : kCompressions) {
        BlockBuilder builder;
        std::vector<std::string> keys;
        for (int i = 0; i < 60 && builder.raw_bytes() < 40'000; ++i) {
          keys.push_back("key" + std::to_string(1000 + i) + std::string(even ? 0 : random.below(5), 'x'));
          std::string value = text(random, value_bytes + 1 + (even ? 0 : random.below(50)));
          const OpKind kind = !even && i % 7 == 0 ? OpKind::kDelete : OpKind::kPut;
          if (kind == OpKind::kDelete) value.clear();
          builder.add({keys.back(), value, kind, 100 + static_cast<uint64_t>(i), 5}, hash64(keys.back()));
        }
        const std::string raw = builder.finish();
        const auto whole = *Block::parse(raw, "test");
        const std::string stored = seal_block(raw, compression, 7, 4096);
        if (stored.size() > PointReader::kStoredBytesMax) continue;
        keys.push_back("key1000.missing");
        for (const std::string& key : keys) {
          const uint64_t hash = hash64(key);
          std::ranges::copy(stored, reader.buffer(stored.size()).begin());
          const auto found = reader.open(stored.size(), 7, 4096, "test");
          REQUIRE(found);
          CHECK(reader.holds(*found));
          const uint32_t row = (*found)->find(key, hash);
          REQUIRE(row == whole->find(key, hash));
          if (row == whole->rows()) continue;
          CHECK((*found)->value(row) == whole->value(row));
          CHECK((*found)->kind(row) == whole->kind(row));
          CHECK((*found)->sequence(row) == whole->sequence(row));
        }
        std::string bad = stored;
        bad[bad.size() / 2] ^= 1;
        std::ranges::copy(bad, reader.buffer(bad.size()).begin());
        const auto refused = reader.open(bad.size(), 7, 4096, "test");
        CHECK((!refused && refused.error().code == ErrorCode::kCorruption));
      }
    }
  }
}

TEST_CASE("what a point reader keeps outlives what it reads afterwards, and the reader") {
  struct Kept {
    std::string expected;
    std::string_view value;
    std::shared_ptr<const void> pin;
  };
  SeededRandom random(9);
  std::vector<Kept> all;
  {
    PointReader reader;
    for (int i = 0; i < 2000; ++i) {
      const size_t bytes = i % 50 == 0 ? random.below(20'000) : random.below(700);
      std::string value = text(random, bytes);
      std::string_view view = value;
      const auto pin = reader.keep(view);
      REQUIRE(pin != nullptr);
      all.push_back({std::move(value), view, pin});
      if (all.size() > 100) all.erase(all.begin() + static_cast<ptrdiff_t>(random.below(all.size())));
    }
  }
  for (const Kept& kept : all) REQUIRE(kept.value == kept.expected);
}

}  // namespace cairn::storage
