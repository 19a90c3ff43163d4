#include "storage/cache/block_cache.h"
#include "storage/cache/cache_care.h"

#include <catch2/catch.hpp>

#include "base/checksum.h"
#include "base/random.h"
#include "storage/sstable/codec.h"

namespace cairn::storage {
namespace {

// Half of it repeats the other half.
std::string value_of(size_t bytes) {
  SeededRandom random(bytes);
  std::string value(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i)
    value[i] = i < bytes / 2 ? static_cast<char>(random.below(256)) : value[i - bytes / 2];
  return value;
}

std::shared_ptr<const Block> block_of(size_t bytes) {
  BlockBuilder builder;
  const std::string value = value_of(bytes);
  builder.add({"key", value, OpKind::kPut, 1, 1}, hash64("key"));
  auto block = Block::parse(builder.finish(), "test");
  return *block;
}

struct Fixture {
  explicit Fixture(uint64_t blocks) : cache(blocks * kBlock) {}
  static constexpr uint64_t kBlock = 1600;  // a little more than one takes
  BlockCache cache;
  std::shared_ptr<TableBlocks> table = std::make_shared<TableBlocks>(10'000);
  BlockForm form(uint32_t ordinal) {
    if (cache.find(*table, ordinal, BlockUse::kScan) != nullptr) return BlockForm::kUnpacked;
    return cache.find_packed(*table, ordinal, BlockUse::kScan) != nullptr ? BlockForm::kPacked : BlockForm::kNone;
  }
  bool has(uint32_t ordinal) { return form(ordinal) != BlockForm::kNone; }
  void forget(const std::shared_ptr<TableBlocks>& of) {  // as tablets do
    CacheCare care(cache);
    REQUIRE(care.forget(of));
    while (care.step()) {
    }
  }
  StoredBlock stored() {
    const std::string_view raw = block->raw();
    const bool smaller = compress && pack(Compression::kLz4, raw, packed);
    return {smaller ? Compression::kLz4 : Compression::kNone, static_cast<uint32_t>(raw.size()),
            smaller ? packed : raw};
  }
  // As a source does it; true: it was there.
  bool use(uint32_t ordinal, BlockUse use = BlockUse::kPoint) {
    if (cache.find(*table, ordinal, use) != nullptr) return true;
    if (const PackedBlock* found = cache.find_packed(*table, ordinal, use)) {
      REQUIRE(found->raw_bytes == block->raw().size());
      if (cache.unpacks(*table, ordinal)) {
        const auto again = cache.find_packed(*table, ordinal, BlockUse::kScan);
        cache.unpacked(table, ordinal, *Block::unpack(again->stored(), cache.memory(), "test"));
      }
      return true;
    }
    const BlockForm form = use == BlockUse::kPoint ? cache.wants(*table, ordinal) : BlockForm::kUnpacked;
    if (form == BlockForm::kNone) {
      cache.passed_by(*table, ordinal);
    } else if (form == BlockForm::kPacked || cache.full()) {
      cache.insert(table, ordinal, stored(), use);
    } else {
      cache.insert(table, ordinal, block, use);
    }
    return false;
  }
  uint64_t count(BlockForm wanted, uint32_t blocks) {
    uint64_t n = 0;
    for (uint32_t i = 0; i < blocks; ++i) n += form(i) == wanted;
    return n;
  }
  bool compress = true;
  std::string packed;
  std::shared_ptr<const Block> block = block_of(1000);
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
  for (uint32_t i = 0; i < 3000; ++i) f.use(i);
  CHECK(!f.has(2900));
  f.use(2950);
  CHECK(f.has(2950));  // it passed by not long ago
  f.use(1500);
  CHECK(!f.has(1500));  // too long ago
  f.use(1500);
  CHECK(f.has(1500));
  f.forget(f.table);
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
  for (uint32_t i = 200; i < 600; ++i) f.use(i);  // pushes them there
  uint32_t gone = 599;
  while (f.has(gone)) --gone;
  REQUIRE(gone > 550);
  f.use(gone);  // remembered
  for (uint32_t i = 5000; i < 5040; ++i) f.use(i, BlockUse::kScan);
  CHECK(f.has(gone));
}

TEST_CASE("blocks of a table that is forgotten go, those that are held stay alive") {
  Fixture f(100);
  f.use(1);
  f.use(2);
  const auto held = f.cache.find(*f.table, 1, BlockUse::kPoint)->shared_from_this();
  f.forget(f.table);
  CHECK(f.cache.bytes() == 0);
  CHECK(!f.has(1));
  CHECK(held->value(0) == value_of(1000));
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
  REQUIRE(!f.cache.full());
  f.cache.offer(f.table, 1, block_of(1000));
  f.cache.passed_by(*f.table, 1);
  CHECK(f.has(1));
  CHECK(f.cache.bytes() == bytes);
  f.forget(f.table);
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

TEST_CASE("a full cache packs what it has before it gives anything up, and holds half as many again") {
  Fixture f(200);
  uint32_t unpacked = 0;
  while (!f.cache.full()) f.use(unpacked++);
  CHECK(f.cache.packed_bytes() > 0);
  for (uint32_t i = unpacked; i < 2000; ++i) f.use(i);
  CHECK(f.cache.bytes() <= 200 * Fixture::kBlock);
  CHECK(f.cache.unpacked_bytes() * 20 < f.cache.packed_bytes());
  CHECK(f.count(BlockForm::kPacked, 2000) * 2 > 3 * unpacked);
}

TEST_CASE("what is used far more often than what goes is unpacked, and packed again when it is not any more") {
  Fixture f(200);
  SeededRandom random(3);
  // Half of the uses are of ten blocks, the others of twice as many as there is room for.
  const auto run = [&](uint32_t first) {
    for (int i = 0; i < 40'000; ++i) {
      f.use(static_cast<uint32_t>(random.chance(0.5) ? first + random.below(10) : 100 + random.below(600)));
    }
  };
  run(0);
  for (uint32_t i = 0; i < 10; ++i) CHECK(f.form(i) == BlockForm::kUnpacked);
  CHECK(f.cache.unpacked_bytes() < 30 * Fixture::kBlock);
  run(50);
  for (uint32_t i = 0; i < 10; ++i) CHECK(f.form(i) != BlockForm::kUnpacked);
  for (uint32_t i = 50; i < 60; ++i) CHECK(f.form(i) == BlockForm::kUnpacked);
  CHECK(f.cache.bytes() <= 200 * Fixture::kBlock);
}

TEST_CASE("blocks that are used alike stay packed, whether all of them fit or not") {
  for (const uint64_t blocks : {180u, 250u, 600u}) {
    Fixture f(200);
    SeededRandom random(4);
    for (int i = 0; i < 20'000; ++i) f.use(static_cast<uint32_t>(i) % 2000);  // all have been seen
    for (int i = 0; i < 100'000; ++i) f.use(static_cast<uint32_t>(random.below(blocks)));
    uint64_t hits = 0;
    for (int i = 0; i < 20'000; ++i) hits += f.use(static_cast<uint32_t>(random.below(blocks)));
    const double share = static_cast<double>(hits) / 20'000;
    INFO(blocks << " blocks: " << share);
    CHECK(share > std::min(0.9, 0.85 * 300 / static_cast<double>(blocks)));
    if (blocks == 600) CHECK(f.cache.unpacked_bytes() * 10 < f.cache.packed_bytes());
  }
}

TEST_CASE("packed blocks give back what was put in, compressed or not, after any order of calls") {
  for (const bool compress : {true, false}) {
    Fixture f(60);
    f.compress = compress;
    auto other = std::make_shared<TableBlocks>(500);
    SeededRandom random(5);
    for (int i = 0; i < 30'000; ++i) {
      const auto ordinal = static_cast<uint32_t>(random.below(200));
      switch (random.below(12)) {
        case 0: f.cache.insert(f.table, ordinal, f.stored(), BlockUse::kScan); break;
        case 1: f.cache.insert(other, ordinal, f.block, BlockUse::kPoint); break;
        case 2: f.cache.forget(*f.table, ordinal); break;
        case 3: f.use(ordinal, BlockUse::kScan); break;
        default: f.use(ordinal); break;
      }
      if (i % 5000 == 4999) {  // a table is closed, its blocks are not asked for any more
        other = std::make_shared<TableBlocks>(500);
      }
      if (i % 7000 == 6999) f.forget(f.table);
      REQUIRE(f.cache.bytes() <= 60 * Fixture::kBlock);
      const Block* const whole = f.cache.find(*f.table, ordinal, BlockUse::kScan);
      if (whole != nullptr) REQUIRE(whole->value(0) == f.block->value(0));
      if (const PackedBlock* packed = f.cache.find_packed(*f.table, ordinal, BlockUse::kScan)) {
        REQUIRE((*Block::unpack(packed->stored(), f.cache.memory(), "test"))->raw() == f.block->raw());
      }
    }
    f.forget(f.table);
    f.forget(other);
  }
}

TEST_CASE("the worth of an unpacked block follows what a read costs") {
  UseWorth worth;
  CHECK(!worth.is_hot(2));
  CHECK(worth.is_hot(3));
  for (int i = 0; i < 1000; ++i) worth.was_read(true);
  CHECK(!worth.is_hot(6));
  CHECK(worth.is_hot(UseWorth::kCountMax));
  for (int i = 0; i < 1000; ++i) worth.was_read(i % 50 == 0);
  CHECK(worth.is_hot(4));
  CHECK(!worth.is_hot(2));
  // A count of n stands for about 2^n - 1 uses.
  double uses = 0;
  for (int run = 0; run < 1000; ++run) {
    for (uint32_t count = 0; count < 5; ++uses) count = worth.counted(count);
  }
  CHECK(uses / 1000 > 26);
  CHECK(uses / 1000 < 36);
}

TEST_CASE("what tables bring and leave is taken in and let go of in order, a little at a time") {
  BlockCache cache(64 << 20);
  CacheCare care(cache);
  const auto table = std::make_shared<TableBlocks>(20'000);
  const auto held = [&] {
    int blocks = 0;
    for (uint32_t i = 0; i < 20'000; ++i) blocks += cache.find(*table, i, BlockUse::kScan) != nullptr;
    return blocks;
  };
  int begun = 0;
  for (uint32_t i = 0; i < 1000; ++i) begun += care.insert(table, i * 20, block_of(1000));
  CHECK(begun == 1);
  CHECK(held() == 0);
  int before = 0, steps = 0;
  while (before < 1000) {
    REQUIRE((care.step() || held() == 1000));
    REQUIRE(held() - before <= 8);
    before = held();
    ++steps;
  }
  CHECK(steps == 125);
  CHECK(!care.step());
  // A block that comes late for a table that ends goes with it.
  CHECK(care.insert(table, 1, block_of(1000)));
  CHECK(!care.forget(table));
  for (steps = 1; care.step(); ++steps) {
    REQUIRE(before - held() <= 64);
    before = held();
  }
  CHECK(held() == 0);
  CHECK(cache.bytes() == 0);
  CHECK(steps > 1001 / 64);
  CHECK(care.forget(table));
}

}  // namespace cairn::storage
