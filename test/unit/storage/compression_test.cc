// Which tables are compressed with what.
#include <catch2/catch.hpp>

#include "storage/sstable/format.h"
#include "test/unit/storage/tablet_fixture.h"

namespace cairn::storage {
namespace {

struct Files {
  size_t all = 0, zstd = 0;
  uint64_t bytes = 0;
};

Files files_of(test::TabletFixture& f) {
  Files files;
  const auto names = f.fs.list("/data/sst");
  REQUIRE(names);
  for (const std::string& name : *names) {
    const std::string bytes = *read_file(f.fs, "/data/sst/" + name);
    const auto footer = parse_footer(std::string_view(bytes).substr(bytes.size() - kFooterBytes), name);
    REQUIRE(footer);
    ++files.all;
    files.zstd += (footer->features & kFeatureZstd) != 0 ? 1 : 0;
    files.bytes += bytes.size();
  }
  return files;
}

std::string value_of(uint64_t i) {
  std::string value;
  for (uint64_t word = 0; word < 20; ++word) value += "word" + std::to_string((i * 31 + word * word) % 50) + " ";
  return value;
}

struct Writer {
  test::TabletFixture& f;
  uint64_t index = 0;
  void flush_some() {
    for (uint64_t i = 0; i < 300; ++i) {
      WriteBatch batch;
      batch.put("key" + std::to_string(i), value_of(i));
      ++index;
      REQUIRE(f.tablet()->apply({{index}, {1}, index, index}, batch.bytes()));
    }
    f.tablet()->flush();
    f.machine.settle();
  }
  void compact() {
    std::optional<Result<void>> done;
    f.tablet()->compact([&](Result<void> result) { done = std::move(result); });
    f.machine.settle();
    REQUIRE(done);
    REQUIRE(*done);
  }
};

}  // namespace

TEST_CASE("zstd is for the oldest run, flushes have LZ4, and reads are the same") {
  test::TabletFixture f;
  f.options.memtable_bytes = f.options.memtable_budget_bytes = 16 << 20;
  f.options.block_bytes = 4 << 10;
  f.options.strategy = StrategyKind::kTwcs;  // leaves runs of a window alone
  f.options.compaction.twcs.window_ms = 1 << 30;
  f.options.compression = Compression::kZstd;
  REQUIRE(f.open());
  Writer writer{f};
  writer.flush_some();
  writer.flush_some();
  CHECK(files_of(f).all == 2);
  CHECK(files_of(f).zstd == 0);
  writer.compact();
  const Files with_zstd = files_of(f);
  CHECK(with_zstd.all == 1);
  CHECK(with_zstd.zstd == 1);

  f.tablet()->set_compression(Compression::kLz4);
  CHECK(f.tablet()->stats().compression == Compression::kLz4);
  writer.flush_some();
  CHECK(files_of(f).zstd == 1);  // what is there stays
  writer.compact();
  const Files with_lz4 = files_of(f);
  CHECK(with_lz4.zstd == 0);
  CHECK(with_zstd.bytes * 10 < with_lz4.bytes * 9);

  f.store->set_compression(Compression::kNone);
  writer.flush_some();
  writer.compact();
  CHECK(with_lz4.bytes < files_of(f).bytes);
  for (uint64_t i = 0; i < 300; ++i) CHECK(f.read(f.tablet(), "key" + std::to_string(i)) == value_of(i));

  f.options.compression = Compression::kZstd;
  REQUIRE(f.open());
  writer.flush_some();
  writer.compact();
  CHECK(files_of(f).zstd == 1);
  REQUIRE(f.open());
  for (uint64_t i = 0; i < 300; ++i) CHECK(f.read(f.tablet(), "key" + std::to_string(i)) == value_of(i));
}

}  // namespace cairn::storage
