// Files written by earlier versions stay readable, and today's writer still makes them byte for byte.
// With CAIRN_REWRITE=1 the files in test/data/golden are written anew.
#include <catch2/catch.hpp>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "base/checksum.h"
#include "manifest_tables.h"
#include "storage/log/shared_log.h"
#include "storage/sstable/ingest_file.h"
#include "storage/sstable/sstable.h"
#include "storage/store_impl.h"
#include "storage/version/manifest.h"
#include "table_rows.h"
#include "tablet_fixture.h"

namespace cairn::storage {
namespace {

std::string golden_path(const std::string& name) { return std::string(CAIRN_TEST_DATA) + "/golden/" + name; }

// Unless `whole`, without trailing zeroes, so that preallocated files stay small in the repository.
void check_golden(const std::string& name, std::string bytes, bool whole = false) {
  while (!whole && !bytes.empty() && bytes.back() == '\0') bytes.pop_back();
  if (std::getenv("CAIRN_REWRITE") != nullptr) std::ofstream(golden_path(name), std::ios::binary) << bytes;
  std::ifstream file(golden_path(name), std::ios::binary);
  REQUIRE(file);
  const std::string stored((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  CHECK(stored == bytes);
}

std::string golden_text(const std::string& name) {
  std::ifstream file(golden_path(name), std::ios::binary);
  return {(std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>()};
}

// Looks every row of a table up by its key, as lookups do.
uint64_t rows_found(FileSystem& fs, const std::string& path) {
  const auto table = Sstable::open(fs, path, 1);
  REQUIRE(table);
  uint64_t found = 0;
  test::for_each_row(**table, [&](const std::string& key, const Block& block, uint32_t number, uint32_t row) {
    REQUIRE((*table)->filter().may_contain(hash64(key)));
    REQUIRE((*table)->block_for(key) == number);
    REQUIRE(block.lower_bound(key) == row);
    REQUIRE(block.find(key, hash64(key)) == row);
    REQUIRE(block.find(key + "x", hash64(key)) == block.rows());
    ++found;
  });
  return found;
}

}  // namespace

TEST_CASE("the golden log segment is what the writer makes, and reads as it did") {
  test::Machine machine;
  MemoryFileSystem fs;
  InlineDurableWriter writer;
  LogRecovery recovery;
  const auto environment = [&] {
    return SharedLog::Environment{.fs = &fs,
                                  .writer = &writer,
                                  .background = &machine.background,
                                  .loop = &machine.loop,
                                  .clock = &machine.clock,
                                  .on_durable = nullptr,
                                  .on_fatal = nullptr};
  };
  const SharedLogOptions options{.first_segment_bytes = 32 << 10, .segment_bytes = 32 << 10};
  {
    auto log = SharedLog::open(environment(), "/log/0", options, &recovery);
    REQUIRE(log);
    (*log)->create_group({3}, {7}, "descriptor");
    (*log)->hard_state({3}, {{2}, {1}, {4}, {0}});
    (*log)->append({3}, {{1}, {2}, 1, 1'700'000'000'000, SharedBytes(std::string("first"))});
    (*log)->append({3}, {{2}, {2}, 1, 1'700'000'000'001, SharedBytes(std::string("second"))});
    (*log)->flush();
    (*log)->truncate_from({3}, {2});
    (*log)->put_slot({4}, {{9}, {3}, 2, 5, SharedBytes(std::string("slot"))});
    (*log)->compact_to({3}, {{1}, {2}, "configuration"});
    (*log)->snapshot_mark({5}, {{{10}, {1}, "other"}, 42});
    (*log)->tombstone_group({6}, {8});
    (*log)->flush();
  }
  check_golden("log-v1.log", *read_file(fs, "/log/0/0000000001.log"));
  check_golden("log-v1.txt", *dump_log_segment(fs, "/log/0/0000000001.log"));
  MemoryFileSystem other;
  fs.set_capacity(~0ull);
  REQUIRE(other.create_dirs("/log/0"));
  std::string stored = golden_text("log-v1.log");
  stored.resize(32 << 10, '\0');
  REQUIRE(write_file_atomic(other, "/log/0/0000000001.log", stored));
  CHECK(*dump_log_segment(other, "/log/0/0000000001.log") == golden_text("log-v1.txt"));
}

TEST_CASE("the golden SSTable is what the writer makes, and reads as it did") {
  MemoryFileSystem fs;
  auto writer = SstableWriter::create(fs, "/1.sst", 1, {.block_bytes = 256});
  REQUIRE(writer);
  for (int i = 100; i < 140; ++i) {
    const std::string key = "row/" + std::to_string(i);
    const std::string value = i % 7 == 0 ? "" : "value of " + key + std::string(static_cast<size_t>(i % 5) * 10, '.');
    Row row{key, value, i % 7 == 0 ? OpKind::kDelete : OpKind::kPut, static_cast<uint64_t>(i) << kOrdinalBits,
            1'700'000'000'000};
    REQUIRE((*writer)->add(row));
  }
  (*writer)->add_prefix_tombstone({"old/", 90ull << kOrdinalBits, 1'600'000'000'000});
  REQUIRE((*writer)->finish(5, 0));
  check_golden("sstable-v2.sst", *read_file(fs, "/1.sst"));
  check_golden("sstable-v2.txt", *dump_sstable(fs, "/1.sst", true));
  CHECK(rows_found(fs, "/1.sst") == 40);
}

// In the first block no row has a sequence, in the last every one, in between both kinds meet.
TEST_CASE("the golden SSTable of rows without sequences is what the writer makes, and says what they count as") {
  MemoryFileSystem fs;
  auto writer = SstableWriter::create(fs, "/1.sst", 1, {.block_bytes = 256});
  REQUIRE(writer);
  for (int i = 100; i < 140; ++i) {
    const std::string key = "row/" + std::to_string(i);
    const std::string value = "value of " + key;
    const uint64_t sequence = static_cast<uint64_t>(i) << kOrdinalBits;
    const Row row{key, value, OpKind::kPut, i < 120 ? kNoSequence : sequence, 1'700'000'000'000};
    const SequenceRange came_from = i < 110 ? SequenceRange{sequence, sequence} : SequenceRange{105 << 20, 999 << 20};
    REQUIRE((i < 120 ? (*writer)->add(row, came_from) : (*writer)->add(row)));
  }
  REQUIRE((*writer)->finish(5, 0));
  check_golden("sstable-v2-nosequence.sst", *read_file(fs, "/1.sst"));
  check_golden("sstable-v2-nosequence.txt", *dump_sstable(fs, "/1.sst", true));
  CHECK(rows_found(fs, "/1.sst") == 40);
  const auto table = Sstable::open(fs, "/1.sst", 1);
  REQUIRE(table);
  CHECK((*table)->info().min_sequence.value == 100 << 20);
  CHECK((*table)->info().max_sequence.value == 999 << 20);
  const std::string bytes = golden_text("sstable-v2-nosequence.sst");
  const auto footer = parse_footer(std::string_view(bytes).substr(bytes.size() - kFooterBytes), "test");
  REQUIRE(footer);
  CHECK((footer->features & kFeatureNoSequence) != 0);
}

// The bytes are the library's; what is in them is not.
TEST_CASE("the golden SSTable with blocks of zstd reads as it did, and says that it has them") {
  if (std::getenv("CAIRN_REWRITE") != nullptr) {
    MemoryFileSystem fs;
    auto writer = SstableWriter::create(fs, "/1.sst", 1, {.block_bytes = 1024, .compression = Compression::kZstd});
    REQUIRE(writer);
    for (int i = 100; i < 140; ++i) {
      const std::string key = "row/" + std::to_string(i);
      const std::string value = "value of " + key + std::string(static_cast<size_t>(i % 5) * 10, '.');
      REQUIRE((*writer)->add({key, value, OpKind::kPut, static_cast<uint64_t>(i) << kOrdinalBits, 1'700'000'000'000}));
    }
    REQUIRE((*writer)->finish(5, 0));
    std::ofstream(golden_path("sstable-v2-zstd.sst"), std::ios::binary) << *read_file(fs, "/1.sst");
  }
  MemoryFileSystem fs;
  const std::string bytes = golden_text("sstable-v2-zstd.sst");
  REQUIRE(write_file_atomic(fs, "/1.sst", bytes));
  check_golden("sstable-v2-zstd.txt", *dump_sstable(fs, "/1.sst", true));
  CHECK(rows_found(fs, "/1.sst") == 40);
  const auto footer = parse_footer(std::string_view(bytes).substr(bytes.size() - kFooterBytes), "test");
  REQUIRE(footer);
  CHECK((footer->features & kFeatureZstd) != 0);
}

TEST_CASE("SSTables of version 1 read as they did") {
  MemoryFileSystem fs;
  REQUIRE(write_file_atomic(fs, "/1.sst", golden_text("sstable-v1.sst")));
  CHECK(*dump_sstable(fs, "/1.sst", true) == golden_text("sstable-v1.txt"));
  CHECK(rows_found(fs, "/1.sst") == 40);
  REQUIRE(write_file_atomic(fs, "/2.sst", golden_text("sstable-v1-expiry.sst")));
  CHECK(rows_found(fs, "/2.sst") == 1100);
}

TEST_CASE("the golden manifest is what the writer makes, and reads as it did") {
  MemoryFileSystem fs;
  auto manifest = Manifest::open(fs, "/m");
  REQUIRE(manifest);
  TabletEdit create;
  create.life = (*manifest)->new_life();
  create.created = RangeId{12};
  REQUIRE((*manifest)->commit({create}));
  TabletEdit flush;
  flush.life = create.life;
  SstableInfo info;
  info.id = 77;
  info.run = 1;
  info.smallest = "a";
  info.largest = "z";
  info.bytes = 4096;
  info.entries = 20;
  info.tombstones = 2;
  info.min_sequence = {1 << 20};
  info.max_sequence = {9 << 20};
  flush.added = {info};
  flush.flushed = AppliedPosition{{9}, {2}, 1000, 5};
  REQUIRE((*manifest)->commit({flush}));
  TabletEdit clear;
  clear.life = create.life;
  clear.clear_sequence = 10 << 20;
  clear.flushed = AppliedPosition{{10}, {2}, 1001, 5};
  REQUIRE((*manifest)->commit({clear}));
  check_golden("manifest-v1.bin", *read_file(fs, "/m/MANIFEST-0000000001"));
  check_golden("manifest-v1.txt", *dump_manifest(fs, "/m/MANIFEST-0000000001"));
}

TEST_CASE("the golden SSTable of rows that expire is what the writer makes") {
  MemoryFileSystem fs;
  const RowExpiry expiry = [](std::string_view, std::string_view value) -> uint64_t {
    return value.starts_with("dies") ? 1'700'000'000'000 + value.size() : 0;
  };
  auto writer = SstableWriter::create(fs, "/1.sst", 1, {.block_bytes = 8 << 10, .expiry = expiry});
  REQUIRE(writer);
  std::vector<std::string> keys;
  for (int i = 1000; i < 2100; ++i) keys.push_back(std::to_string(i));
  for (size_t i = 0; i < keys.size(); ++i) {
    REQUIRE((*writer)->add({keys[i], i % 2 == 0 ? "dies" : "stays for ever", OpKind::kPut, i << kOrdinalBits, 1000}));
  }
  REQUIRE((*writer)->finish(5, 0));
  check_golden("sstable-v2-expiry.sst", *read_file(fs, "/1.sst"));
  auto table = Sstable::open(fs, "/1.sst", 1);
  REQUIRE(table);
  CHECK((*table)->info().expiring == 550);
  CHECK((*table)->info().max_expiry_ms == 1'700'000'000'004);
  CHECK((*table)->properties().sketch.size() == 2048);
}

TEST_CASE("the golden manifest with a trimmed table is what the writer makes") {
  MemoryFileSystem fs;
  auto manifest = Manifest::open(fs, "/m");
  REQUIRE(manifest);
  TabletEdit trim;
  trim.life = test::add_table(**manifest, "z");
  trim.trimmed = {{test::kTableId, "m"}};
  REQUIRE((*manifest)->commit({trim}));
  check_golden("manifest-v1-trimmed.bin", *read_file(fs, "/m/MANIFEST-0000000002"));
  check_golden("manifest-v1-trimmed.txt", *dump_manifest(fs, "/m/MANIFEST-0000000002"));
}

namespace {

constexpr uint64_t kSplitId = (1ull << 48) + 1, kIngestedId = kSplitId + 1;
const std::string kManifestPath = "/data/shard-1/MANIFEST-0000000002";

std::string table_path(uint64_t id) { return sstable_path("/data/sst", id); }

void write_tables(FileSystem& fs) {
  REQUIRE(fs.create_dirs("/data/sst"));
  REQUIRE(write_file_atomic(fs, table_path(kSplitId), golden_text("sstable-v2.sst")));
  REQUIRE(write_file_atomic(fs, table_path(kIngestedId), golden_text("sstable-v2-ingested.sst")));
}

// What a split and a compaction have left of sstable-v2.sst.
SstableInfo split_info(FileSystem& fs) {
  const auto table = Sstable::open(fs, table_path(kSplitId), kSplitId);
  REQUIRE(table);
  SstableInfo info = (*table)->info();
  info.id = kSplitId;
  info.run = 1 << 16;
  info.smallest = "row/103";
  info.largest = "row/119";
  info.begin = "row/1";
  info.end = "row/120";
  info.shared = info.trimmed = true;
  return info;
}
SstableInfo ingested_info(FileSystem& fs) {
  const auto table = Sstable::open(fs, table_path(kIngestedId), kIngestedId);
  REQUIRE(table);
  SstableInfo info = (*table)->info();
  info.id = kIngestedId;
  info.run = 2 << 16;
  info.min_sequence.value = info.max_sequence.value = 140ull << kOrdinalBits;
  info.min_time_ms = info.max_time_ms = 1400;
  info.ingested = true;
  return info;
}

}  // namespace

TEST_CASE("the golden file to be taken in is what the writer makes") {
  MemoryFileSystem fs;
  auto file = IngestFile::create(fs, "/1.sst", {.block_bytes = 64});
  REQUIRE(file);
  REQUIRE((*file)->remove("row/104"));
  REQUIRE((*file)->put("row/110", "taken in"));
  REQUIRE((*file)->put("row/112", "taken in"));
  REQUIRE((*file)->put("row/200", "taken in"));
  REQUIRE((*file)->finish());
  check_golden("sstable-v2-ingested.sst", *read_file(fs, "/1.sst"), true);
  check_golden("sstable-v2-ingested.txt", *dump_sstable(fs, "/1.sst", true));
  CHECK(rows_found(fs, "/1.sst") == 4);
}

TEST_CASE(
    "the golden manifest with tables of a split and ready-made ones is what the writer makes, and opens as it did") {
  test::TabletFixture f;
  write_tables(f.fs);
  {
    auto manifest = Manifest::open(f.fs, "/data/shard-1");
    REQUIRE(manifest);
    TabletEdit split;
    split.life = (*manifest)->new_life();
    split.created = RangeId{12};
    split.flushed = AppliedPosition{{139}, {2}, 1390, 5};
    split.add(split_info(f.fs));
    REQUIRE((*manifest)->commit({split}));
    check_golden("manifest-v1-split.bin", *read_file(f.fs, kManifestPath), true);
    TabletEdit ingest;
    ingest.life = split.life;
    ingest.flushed = AppliedPosition{{140}, {2}, 1400, 5};
    ingest.add(ingested_info(f.fs));
    REQUIRE((*manifest)->commit({ingest}));
  }
  const std::string path = "/data/shard-1/MANIFEST-0000000003";
  check_golden("manifest-v1-ingested.bin", *read_file(f.fs, path), true);
  check_golden("manifest-v1-ingested.txt", *dump_manifest(f.fs, path));
  // The stored one, without what was made just now.
  REQUIRE(f.fs.remove(path));
  REQUIRE(write_file_atomic(f.fs, path, golden_text("manifest-v1-ingested.bin")));
  REQUIRE(f.open());
  Tablet* tablet = f.store->find({12});
  REQUIRE(tablet != nullptr);
  CHECK(tablet->applied() == AppliedPosition{{140}, {2}, 1400, 5});
  const auto tables = tablet->tables();
  REQUIRE(tables.size() == 2);
  CHECK((tables[0].ingested && !tables[0].bounded() && tables[0].max_sequence.value == 140ull << kOrdinalBits));
  CHECK((tables[1].shared && tables[1].trimmed && tables[1].begin == "row/1" && tables[1].end == "row/120"));
  std::map<std::string, std::string> expected;
  for (int i = 103; i < 120; ++i) {
    const std::string key = "row/" + std::to_string(i);
    if (i % 7 != 0) expected[key] = "value of " + key + std::string(static_cast<size_t>(i % 5) * 10, '.');
  }
  expected.erase("row/104");
  for (const char* key : {"row/110", "row/112", "row/200"}) expected[key] = "taken in";
  CHECK(f.everything(tablet) == expected);
  CHECK(f.read(tablet, "row/112") == "taken in");
  CHECK(f.read(tablet, "row/104") == std::nullopt);
  CHECK(f.read(tablet, "row/102") == std::nullopt);
  CHECK(f.read(tablet, "row/120") == std::nullopt);
}

TEST_CASE("the golden snapshot manifest is what the writer makes, and reads as it did") {
  MemoryFileSystem fs;
  write_tables(fs);
  const std::vector<SnapshotTable> tables = {{{"1.sst", 4096, 77}, split_info(fs)},
                                             {{"2.sst", 512, 78}, ingested_info(fs)}};
  check_golden("snapshot-v1.bin", encode_snapshot_manifest(tables), true);
  const auto read = decode_snapshot_manifest(golden_text("snapshot-v1.bin"));
  REQUIRE(read);
  REQUIRE(read->size() == 2);
  CHECK(((*read)[0].file.name == "1.sst" && (*read)[0].file.hash == 77 && (*read)[0].file.bytes == 4096));
  CHECK(((*read)[0].info.begin == "row/1" && (*read)[0].info.end == "row/120" && !(*read)[0].info.ingested));
  CHECK(((*read)[0].info.smallest == "row/103" && (*read)[0].info.largest == "row/119"));
  CHECK(((*read)[1].info.ingested && !(*read)[1].info.bounded()));
  CHECK((*read)[1].info.max_sequence.value == 140ull << kOrdinalBits);
}

TEST_CASE("a written batch has the bytes of its page") {
  WriteBatch batch;
  batch.put("k", "v1");
  batch.remove("gone");
  batch.remove_prefix("p/");
  batch.clear_all();
  CHECK(batch.bytes() == std::string("\x01\x01k\x02v1\x02\x04gone\x03\x02p/\x04\x00", 18));
}

}  // namespace cairn::storage
