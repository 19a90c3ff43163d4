#include "storage/cache/block_cache.h"

#include <catch2/catch.hpp>

#include "base/checksum.h"
#include "base/random.h"

namespace cairn::storage {
namespace {

std::shared_ptr<const Block> block_of(size_t bytes) {
  BlockBuilder builder;
  const std::string value(bytes, 'v');
  builder.add({"key", value, OpKind::kPut, 1, 1}, hash64("key"));
  auto block = Block::parse(builder.finish(), "test");
  return *block;
}

struct Fixture {
  explicit Fixture(uint64_t blocks) : cache(blocks * kBlock) {}
  static constexpr uint64_t kBlock = 1600;  // a little more than one takes
  BlockCache cache;
  std::shared_ptr<TableBlocks> table = std::make_shared<TableBlocks>(10'000);
  bool has(uint32_t ordinal) { return cache.find(*table, ordinal, BlockUse::kScan) != nullptr; }
  // As a source does it; true: it was there.
  bool use(uint32_t ordinal, BlockUse use = BlockUse::kPoint) {
    if (cache.find(*table, ordinal, use) != nullptr) return true;
    if (use == BlockUse::kPoint && !cache.wants(*table, ordinal)) {
      cache.passed_by(*table, ordinal);
    } else {
      cache.insert(table, ordinal, block_of(1000), use);
    }
    return false;
  }
};

}  // namespace

TEST_CASE("the cache holds what fits and no more") {
  Fixture f(100);
  for (uint32_t i = 0; i < 1000; ++i) f.use(i, BlockUse::kScan);
  uint64_t held = 0;
  for (uint32_t i = 0; i < 1000; ++i) held += f.has(i);
  CHECK(f.cache.bytes() <= 100 * Fixture::kBlock);
  CHECK(held >= 80);
  CHECK(f.cache.evictions() == 1000 - held);
  f.cache.insert(f.table, 5000, block_of(101 * Fixture::kBlock), BlockUse::kPoint);
  CHECK(!f.has(5000));
}

TEST_CASE("a full cache takes of point reads what comes back, and nothing that is read once") {
  Fixture f(100);
  for (uint32_t i = 0; i < 1000; ++i) f.use(i);
  CHECK(f.cache.evictions() == 0);
  CHECK(!f.has(900));
  f.use(950);
  CHECK(f.has(950));  // it passed by not long ago
  f.use(200);
  CHECK(!f.has(200));  // too long ago
  f.use(200);
  CHECK(f.has(200));
  f.cache.forget(*f.table);
  f.use(300);  // there is room again
  CHECK(f.has(300));
}

TEST_CASE("a block that is used again survives a stream of others, and a scan displaces nothing that is used") {
  Fixture f(100);
  for (uint32_t i = 0; i < 50; ++i) f.use(i);
  for (uint32_t i = 0; i < 50; ++i) REQUIRE(f.use(i));
  for (uint32_t i = 1000; i < 2000; ++i) f.use(i, BlockUse::kScan);
  for (uint32_t i = 1000; i < 2000; ++i) f.use(i, BlockUse::kScan);
  for (uint32_t i = 0; i < 50; ++i) REQUIRE(f.has(i));
}

TEST_CASE("what comes back soon after it left is kept in the main queue") {
  Fixture f(100);
  for (uint32_t i = 0; i < 80; ++i) f.use(i);
  for (uint32_t i = 0; i < 80; ++i) f.use(i);     // they will move on
  for (uint32_t i = 200; i < 300; ++i) f.use(i);  // pushes them there
  uint32_t gone = 200;
  while (f.has(gone)) ++gone;
  REQUIRE(gone < 300);
  f.use(gone);  // remembered
  for (uint32_t i = 400; i < 440; ++i) f.use(i, BlockUse::kScan);
  CHECK(f.has(gone));
}

TEST_CASE("blocks of a table that is forgotten go, those that are held stay alive") {
  Fixture f(100);
  f.use(1);
  f.use(2);
  const auto held = f.cache.find(*f.table, 1, BlockUse::kPoint)->shared_from_this();
  f.cache.forget(*f.table);
  CHECK(f.cache.bytes() == 0);
  CHECK(!f.has(1));
  CHECK(held->value(0) == std::string(1000, 'v'));
  f.use(3);
  f.table.reset();  // the table is closed, its block is not asked for any more
  auto other = std::make_shared<TableBlocks>(1000);
  for (uint32_t i = 0; i < 1000; ++i) f.cache.insert(other, i, block_of(1000), BlockUse::kPoint);
  CHECK(f.cache.bytes() <= 100 * Fixture::kBlock);
}

TEST_CASE("a block that is offered although it is there stays, and passing by does not let go of it") {
  Fixture f(2);
  f.use(1, BlockUse::kScan);
  f.use(2, BlockUse::kScan);
  const uint64_t bytes = f.cache.bytes();
  REQUIRE(!f.cache.wants(*f.table, 1));
  f.cache.offer(f.table, 1, block_of(1000));
  f.cache.passed_by(*f.table, 1);
  CHECK(f.has(1));
  CHECK(f.cache.bytes() == bytes);
  f.cache.forget(*f.table);
  CHECK(f.cache.bytes() == 0);
}

TEST_CASE("popular blocks are found more often than by the least recently used rule's share") {
  Fixture f(100);
  SeededRandom random(1);
  uint64_t hits = 0, all = 0;
  for (int i = 0; i < 50'000; ++i) {
    // Nine of ten to a tenth of the blocks, the others anywhere.
    const auto block = static_cast<uint32_t>(random.chance(0.9) ? random.below(90) : random.below(5000));
    hits += f.use(block);
    ++all;
  }
  CHECK(static_cast<double>(hits) > 0.85 * static_cast<double>(all));
}

}  // namespace cairn::storage
