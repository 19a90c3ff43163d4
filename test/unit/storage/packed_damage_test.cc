// Blocks whose stored bytes have changed, on the device or in the cache, one bit at a time.
#include <catch2/catch.hpp>

#include "base/checksum.h"
#include "storage/cache/block_cache.h"
#include "storage/io/memory_file_system.h"
#include "storage/sstable/point_reader.h"
#include "storage/sstable/sstable.h"
#include "storage/version/version.h"

namespace cairn::storage {
namespace {

const std::string kPath = "/1.sst";
const std::string kKey = "row/107";

std::string value_of(int i) { return "value of " + std::to_string(i) + std::string(20, '.'); }

// A table of one block, and a cache that is full of others: so it takes blocks as they are stored.
struct Fixture {
  MemoryFileSystem fs;
  std::shared_ptr<Sstable> table;
  BlockCache cache{64 << 10};
  std::shared_ptr<TableBlocks> others = std::make_shared<TableBlocks>(1000);
  PlainCachedReader files;
  PointReader reader;
  TabletStoreMetrics metrics;
  CachedSource source{cache, files, reader, metrics};

  explicit Fixture(Compression compression) {
    auto writer = SstableWriter::create(fs, kPath, 1, {.block_bytes = 64 << 10, .compression = compression});
    REQUIRE(writer);
    for (int i = 100; i < 116; ++i) {
      const std::string value = value_of(i);
      REQUIRE((*writer)->add({"row/" + std::to_string(i), value, OpKind::kPut, static_cast<uint64_t>(i), 1}));
    }
    REQUIRE((*writer)->finish(5, 0));
    auto opened = Sstable::open(fs, kPath, 1);
    REQUIRE(opened);
    table = std::move(*opened);
    REQUIRE(table->blocks() == 1);
    const auto block = table->read_block(0);
    REQUIRE(block);
    for (uint32_t i = 0; !cache.full(); ++i) cache.insert(others, i, *block, BlockUse::kPoint);
  }
  bool holds(BlockForm form) {
    return form == BlockForm::kPacked ? cache.find_packed(*table->cached(), 0, BlockUse::kScan) != nullptr
                                      : cache.find(*table->cached(), 0, BlockUse::kScan) != nullptr;
  }
  // From memory and what the kernel has; nullopt: somebody who waits has to read it.
  std::optional<std::string> get() {
    const auto rows = source.load_rows(*table, 0);
    REQUIRE(rows);
    if (*rows == nullptr) return std::nullopt;
    const uint32_t row = (*rows)->find(kKey, hash64(kKey));
    return row == (*rows)->rows() ? std::string("none") : std::string((*rows)->value(row));
  }
  // Point reads until the cache has the block as it is stored.
  void pack() {
    for (int i = 0; i < 4 && !holds(BlockForm::kPacked); ++i) REQUIRE(get() == value_of(107));
    REQUIRE(holds(BlockForm::kPacked));
  }
};

}  // namespace

TEST_CASE("a stored block of which any bit has changed on the device is neither served nor kept") {
  const Compression compression = GENERATE(Compression::kNone, Compression::kLz4, Compression::kZstd);
  Fixture f(compression);
  f.pack();
  const BlockHandle handle = f.table->handle(0);
  std::string stored(handle.size, '\0');
  REQUIRE(f.table->file().read_at(handle.offset, stored));
  REQUIRE((static_cast<Compression>(stored[stored.size() - kTrailerBytes]) == compression));
  for (uint64_t bit = handle.offset * 8; bit < (handle.offset + handle.size) * 8; ++bit) {
    INFO("bit " << bit);
    f.cache.forget(*f.table->cached(), 0);
    REQUIRE(f.fs.flip_bit(kPath, bit));
    for (int i = 0; i < 3; ++i) REQUIRE(f.get() == std::nullopt);
    const auto scanned = f.source.load(*f.table, 0, BlockUse::kScan);
    REQUIRE((scanned && *scanned == nullptr));
    REQUIRE_FALSE((f.holds(BlockForm::kPacked) || f.holds(BlockForm::kUnpacked)));
    // Whoever waits for the device is told.
    DiskSource disk(0);
    const auto loaded = disk.load(*f.table, 0, BlockUse::kPoint);
    REQUIRE((!loaded && loaded.error().code == ErrorCode::kCorruption));
    REQUIRE(f.fs.flip_bit(kPath, bit));
  }
  CHECK(f.get() == value_of(107));
}

// Hits are not checked again: memory is trusted, but never so that reading it could go wrong.
TEST_CASE("a packed block of which any bit has changed in the cache unpacks to a block or to an error, and then goes") {
  const Compression compression = GENERATE(Compression::kNone, Compression::kLz4, Compression::kZstd);
  Fixture f(compression);
  uint64_t bits = 0, refused = 0;
  f.pack();
  const uint64_t all = f.cache.find_packed(*f.table->cached(), 0, BlockUse::kScan)->payload_bytes * 8ull;
  for (uint64_t bit = 0; bit < all; ++bit, ++bits) {
    INFO("bit " << bit);
    f.pack();
    const PackedBlock* packed = f.cache.find_packed(*f.table->cached(), 0, BlockUse::kScan);
    const_cast<char*>(packed->payload())[bit / 8] ^= static_cast<char>(1 << bit % 8);
    const auto unpacked = f.table->unpack(packed->stored(), f.cache.memory());
    if (unpacked) {  // to other rows; every one of them lies within the block
      std::string key;
      for (uint32_t row = 0; row < (*unpacked)->rows(); ++row) {
        (*unpacked)->key(row, key);
        REQUIRE(key.size() + (*unpacked)->value(row).size() <= (*unpacked)->raw().size());
      }
    } else {
      ++refused;
      REQUIRE(unpacked.error().code == ErrorCode::kCorruption);
      REQUIRE(f.get() == value_of(107));  // read again
    }
    f.cache.forget(*f.table->cached(), 0);
  }
  CHECK(bits == all);
  CHECK(refused > 0);
}

}  // namespace cairn::storage
