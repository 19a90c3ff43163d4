#include <catch2/catch.hpp>

#include <map>
#include <optional>
#include <set>

#include "base/checksum.h"
#include "base/random.h"
#include "storage/io/faulty_file_system.h"
#include "storage/io/memory_file_system.h"
#include "storage/key_head.h"
#include "storage/sstable/sstable.h"
#include "storage/sstable/tags.h"

namespace cairn::storage {
namespace {

std::string random_key(Random& random) {
  std::string key(random.below(3), 'p');
  for (uint64_t n = random.below(12); n > 0; --n) key.push_back(static_cast<char>(random.below(4) * 85));
  return key;
}

void check_separator(const std::string& last, const std::string& next) {
  const std::string between = separator_between(last, next);
  INFO("between " << last << " and " << next);
  REQUIRE(between >= last);
  REQUIRE(between < next);
  REQUIRE(between.size() <= last.size());
}

// Every key of the rows and others beside them.
void check_block(const Block& block, const std::vector<std::string>& keys, Random& random) {
  REQUIRE(block.rows() == keys.size());
  for (uint32_t i = 0; i < keys.size(); ++i) {
    REQUIRE(block.lower_bound(keys[i]) == i);
    REQUIRE(block.find(keys[i], hash64(keys[i])) == i);
    REQUIRE(block.lower_bound(keys[i] + '\0') == i + 1);
    REQUIRE(block.find(keys[i] + '@', hash64(keys[i])) == keys.size());  // even with an equal tag
    const std::string other = random_key(random);
    const auto at = std::ranges::lower_bound(keys, other);
    REQUIRE(block.lower_bound(other) == static_cast<uint32_t>(at - keys.begin()));
    const bool there = at != keys.end() && *at == other;
    REQUIRE((block.find(other, hash64(other)) < keys.size()) == there);
  }
}

}  // namespace

TEST_CASE("every way to compare tags finds the same") {
  SeededRandom random(1);
  std::vector<MatchTags> ways{&match_tags_portable, match_tags};
  for (const MatchTags way : {match_tags_avx2(), match_tags_avx512()}) {
    if (way != nullptr) ways.push_back(way);
  }
  for (int round = 0; round < 20'000; ++round) {
    uint8_t tags[kTagsAtOnce];
    for (uint8_t& tag : tags) tag = static_cast<uint8_t>(random.below(4) * 85);
    const auto n = static_cast<uint32_t>(random.between(1, kTagsAtOnce));
    const auto tag = static_cast<uint8_t>(random.below(4) * 85);
    uint64_t expected = 0;
    for (uint32_t i = 0; i < n; ++i) expected |= uint64_t{tags[i] == tag} << i;
    for (const MatchTags way : ways) REQUIRE(way(tags, n, tag) == expected);
  }
}

TEST_CASE("heads are in the order of keys, and finding in them is exact") {
  SeededRandom random(2);
  for (int round = 0; round < 2000; ++round) {
    const std::string a = random_key(random), b = random_key(random);
    if (key_head(a) != key_head(b)) REQUIRE((key_head(a) < key_head(b)) == (a < b));
    std::vector<uint64_t> heads;
    for (uint64_t n = random.below(40); n > 0; --n) heads.push_back(random.below(30));
    std::ranges::sort(heads);
    const uint64_t wanted = random.below(32);
    REQUIRE(heads_below(heads.data(), static_cast<uint32_t>(heads.size()), wanted) ==
            static_cast<uint32_t>(std::ranges::lower_bound(heads, wanted) - heads.begin()));
  }
}

TEST_CASE("a stored block of any length opens to what was sealed") {
  for (const Compression compression : kCompressions) {
    for (size_t bytes = 1; bytes < 200; ++bytes) {
      const std::string raw(bytes, 'a');
      const auto opened = open_block(seal_block(raw, compression, 1, 2), 1, 2, "test");
      REQUIRE(opened);
      REQUIRE(*opened == raw);
    }
  }
}

TEST_CASE("a packed block that claims another length, or none, is refused before memory is taken for it") {
  const auto sealed = [](std::string stored, Compression compression, uint32_t raw_bytes) {
    put_u32(stored, static_cast<uint32_t>(compression));
    put_u32(stored, raw_bytes);
    put_u64(stored, hash64(stored, block_seed(1, 2)));
    return stored;
  };
  const std::string raw(100'000, 'a');
  for (const Compression compression : {Compression::kLz4, Compression::kZstd}) {
    std::string packed;
    REQUIRE(pack(compression, raw, packed));
    const auto opened = open_block(sealed(packed, compression, 100'000), 1, 2, "test");
    REQUIRE(opened);
    CHECK(*opened == raw);
    for (const uint32_t claimed : {0u, 1u, 99'999u, 100'001u, kRawBlockMax, kRawBlockMax + 1, ~0u}) {
      INFO(to_string(compression) << " claims " << claimed);
      CHECK_FALSE(open_block(sealed(packed, compression, claimed), 1, 2, "test"));
    }
    for (size_t cut = 0; cut < packed.size(); ++cut) {
      CHECK_FALSE(open_block(sealed(packed.substr(0, cut), compression, 100'000), 1, 2, "test"));
    }
    CHECK_FALSE(open_block(sealed(packed + packed, compression, 100'000), 1, 2, "test"));
    CHECK_FALSE(open_block(sealed(packed, static_cast<Compression>(3), 100'000), 1, 2, "test"));
  }
  SeededRandom random(5);
  std::string noise(4000, '\0');
  for (char& c : noise) c = static_cast<char>(random.below(256));
  std::string packed;
  for (const Compression compression : kCompressions) CHECK_FALSE(pack(compression, noise, packed));
}

TEST_CASE("a separator lies between its blocks and is no longer than a key") {
  check_separator("a", "b");
  check_separator("a", "c");
  check_separator("abc", "abd");
  check_separator("ab", "abc");
  check_separator("a\xff\xff", "b");
  check_separator("", "a");
  CHECK(separator_between("key/1234", "key/5678") == "key/2");
  CHECK(separator_between("key/1999", "key/2000") == "key/1:");
  SeededRandom random(3);
  for (int round = 0; round < 20'000; ++round) {
    const std::string a = random_key(random), b = random_key(random);
    if (a != b) check_separator(std::min(a, b), std::max(a, b));
  }
}

TEST_CASE("an index of any size names the block that may hold a key, where heads differ and where they are alike") {
  SeededRandom random(11);
  for (const uint32_t blocks : {1, 2, 31, 32, 33, 64, 65, 1000}) {
    for (const uint64_t few : {3, 1 << 20}) {  // eight bytes that many keys share, or that each has of its own
      std::set<std::string> keys;
      while (keys.size() < blocks) {
        std::string key = "all/" + std::to_string(1'000'000'000'000 + random.below(few)) + "/";
        keys.insert(key + std::to_string(random.below(1 << 20)));
      }
      IndexBuilder builder;
      for (auto it = keys.begin(); it != keys.end(); ++it) {
        const auto next = std::next(it);
        builder.add(*it, next == keys.end() ? std::string_view() : *next, 10);
      }
      const auto index = TableIndex::parse(builder.finish(blocks), false, blocks, ~0ull, "test");
      REQUIRE(index);
      REQUIRE(index->size() == blocks);
      uint32_t block = 0;
      for (const std::string& last : keys) {
        REQUIRE(index->find(last) == block);
        REQUIRE(index->handle(block).offset == block * 10);
        REQUIRE(index->handle(block).size == 10);
        ++block;
      }
      CHECK(index->find("all") == 0);
      CHECK(index->find("b") == blocks);
      CHECK(index->find(*keys.rbegin() + "~") == blocks);
    }
  }
}

TEST_CASE("a block finds its keys by tag and by head, whatever they look like") {
  SeededRandom random(4);
  for (int round = 0; round < 400; ++round) {
    std::vector<std::string> keys;
    const bool even = random.chance(0.3);
    for (uint64_t n = random.between(1, random.chance(0.2) ? 300 : 40); n > 0; --n) {
      keys.push_back(random_key(random));
      if (even) keys.back().resize(12, 'x');
    }
    std::ranges::sort(keys);
    keys.erase(std::ranges::unique(keys).begin(), keys.end());
    BlockBuilder builder;
    std::vector<Row> rows;
    const uint64_t value_size = random.below(20), kinds = random.below(3), sequences = random.below(3);
    std::vector<std::string> values;
    for (const std::string& key : keys)
      values.push_back(std::string(even ? value_size : random.below(20), key.empty() ? 'v' : key[0]));
    for (size_t i = 0; i < keys.size(); ++i) {
      const bool put = kinds == 0 || (kinds == 1 && random.chance(0.5));
      rows.push_back({keys[i], values[i], put ? OpKind::kPut : OpKind::kDelete, 7 + i * sequences * 300, 9});
      builder.add(rows.back(), hash64(keys[i]));
    }
    const auto block = Block::parse(builder.finish(), "test");
    REQUIRE(block);
    check_block(**block, keys, random);
    for (uint32_t i = 0; i < rows.size(); ++i) {
      const Row row = (*block)->row(i);
      REQUIRE(row.value == rows[i].value);
      REQUIRE(row.kind == rows[i].kind);
      REQUIRE(row.sequence == rows[i].sequence);
      REQUIRE(row.time_ms == 9);
    }
  }
}

TEST_CASE("a filter never denies a key it holds and seldom grants another") {
  for (const FilterKind kind : {FilterKind::kBloom, FilterKind::kFuse}) {
    for (const int keys : {1, 255, 256, 257, 1000, 10'000, 200'000}) {
      std::vector<uint64_t> hashes;
      for (int i = 0; i < keys; ++i) hashes.push_back(hash64(std::to_string(i)));
      const std::string bytes = build_filter(kind, hashes, 10);
      CHECK((static_cast<uint8_t>(bytes[0]) == 0x80) == (kind == FilterKind::kFuse && keys >= 256));
      const Filter filter{std::string(bytes)};
      for (const uint64_t hash : hashes) {
        filter.prefetch(hash);
        REQUIRE(filter.may_contain(hash));
      }
      int granted = 0;
      for (int i = keys; i < keys + 20'000; ++i) granted += filter.may_contain(hash64(std::to_string(i)));
      CHECK(granted < (static_cast<uint8_t>(bytes[0]) == 0x80 ? 130 : 400));
      if (keys == 10'000) CHECK(bytes.size() < 13'000);
      if (keys == 200'000) CHECK(bytes.size() < 251'000);
    }
  }
}

TEST_CASE("a filter of keys with equal hashes, and one that is cut off, stay safe") {
  std::vector<uint64_t> hashes;
  for (uint64_t i = 0; i < 1000; ++i) hashes.push_back(hash64(std::to_string(i / 2)));
  const std::string bytes = build_filter(FilterKind::kFuse, hashes, 10);
  const Filter filter{std::string(bytes)};
  for (const uint64_t hash : hashes) REQUIRE(filter.may_contain(hash));
  CHECK(Filter{std::string()}.may_contain(1));
  for (size_t n = 0; n < bytes.size(); n += 5) REQUIRE(Filter{bytes.substr(0, n)}.may_contain(hashes[0]));
}

namespace {

using Rows = std::map<std::string, std::string>;

// A small table with all there is in one: deletions, expiry, deleted prefixes, a filter of either kind.
Rows write_table(FileSystem& fs, FilterKind filter) {
  auto writer = SstableWriter::create(fs, "/1.sst", 1, {.block_bytes = 600, .filter = filter});
  REQUIRE(writer);
  Rows rows;
  for (int i = 1000; i < 1260; ++i) {
    const std::string key = "k" + std::to_string(i * 7), value(static_cast<size_t>(i % 3), 'v');
    const OpKind kind = i % 16 == 0 ? OpKind::kDelete : OpKind::kPut;
    REQUIRE((*writer)->add({key, value, kind, static_cast<uint64_t>(i), 5}));
    rows[key] = kind == OpKind::kPut ? value : "deleted";
  }
  (*writer)->add_prefix_tombstone({"old/", 3, 4});
  REQUIRE((*writer)->finish(1, 0));
  return rows;
}

// What lookups and a scan say; nothing if one of them notices damage.
std::optional<Rows> read_table(FileSystem& fs, const Rows& keys) {
  const auto table = Sstable::open(fs, "/1.sst", 1);
  if (!table) return std::nullopt;
  Rows rows;
  std::string key;
  for (uint32_t b = 0; b < (*table)->blocks(); ++b) {
    const auto block = (*table)->read_block(b);
    if (!block) return std::nullopt;
    for (uint32_t i = 0; i < (*block)->rows(); ++i) {
      (*block)->key(i, key);
      rows[key] = (*block)->kind(i) == OpKind::kPut ? (*block)->value(i) : "deleted";
      REQUIRE((*block)->find(key, hash64(key)) == i);
    }
  }
  for (const auto& [wanted, value] : keys) {
    REQUIRE((*table)->filter().may_contain(hash64(wanted)));
    const uint32_t b = (*table)->block_for(wanted);
    REQUIRE(b < (*table)->blocks());
  }
  return rows;
}

}  // namespace

TEST_CASE("every flipped bit of a table of either filter is noticed or harmless") {
  for (const FilterKind filter : {FilterKind::kBloom, FilterKind::kFuse}) {
    MemoryFileSystem fs;
    const Rows rows = write_table(fs, filter);
    REQUIRE(read_table(fs, rows) == rows);
    const uint64_t bits = read_file(fs, "/1.sst")->size() * 8;
    uint64_t noticed = 0;
    for (uint64_t bit = 0; bit < bits; ++bit) {
      REQUIRE(fs.flip_bit("/1.sst", bit));
      const auto got = read_table(fs, rows);
      if (got) REQUIRE(got == rows);
      noticed += !got;
      REQUIRE(fs.flip_bit("/1.sst", bit));
    }
    CHECK(noticed == bits);
  }
}

TEST_CASE("tables of unknown versions and features are refused, and version 1 has no features") {
  const auto opens = [](uint32_t version, uint32_t features) {
    Footer footer;
    footer.version = version;
    footer.features = features;
    const auto parsed = parse_footer(encode_footer(footer), "test");
    return parsed ? std::optional<ErrorCode>() : parsed.error().code;
  };
  CHECK(opens(2, kSstIncompatibleKnown) == std::nullopt);
  CHECK(opens(1, 0) == std::nullopt);
  CHECK(opens(1, 1) == ErrorCode::kUnsupported);
  CHECK(opens(2, 32) == ErrorCode::kUnsupported);
  CHECK(opens(3, 0) == ErrorCode::kUnsupported);
  CHECK(opens(0, 0) == ErrorCode::kUnsupported);
}

TEST_CASE("a read that failed leaves nothing behind that the next one would take for the file's") {
  MemoryFileSystem memory;
  FaultyFileSystem fs(memory);
  write_table(memory, FilterKind::kBloom);
  const auto table = Sstable::open(fs, "/1.sst", 1);
  REQUIRE(table);
  ReadAhead ahead;
  const Error broken{ErrorCode::kIoError, "broken"};
  fs.set_policy({.fail = [&](FileOp op,
                             const std::string&) { return op == FileOp::kRead ? std::optional(broken) : std::nullopt; },
                 .after_read = nullptr});
  const auto failed = (*table)->read_block(0, false, ahead);
  fs.set_policy({});
  REQUIRE(!failed);
  CHECK(failed.error().code == ErrorCode::kIoError);
  CHECK((*table)->read_block(0, false, ahead));
}

TEST_CASE("blocks that are read ahead are the blocks, in both directions") {
  MemoryFileSystem fs;
  auto writer = SstableWriter::create(fs, "/1.sst", 1, {.block_bytes = 512, .compression = Compression::kNone});
  REQUIRE(writer);
  for (int i = 10'000; i < 20'000; ++i) {
    const std::string key = std::to_string(i);
    REQUIRE((*writer)->add({key, std::string(100, 'v'), OpKind::kPut, 1, 1}));
  }
  REQUIRE((*writer)->finish(1, 0));
  const auto opened = Sstable::open(fs, "/1.sst", 1);
  REQUIRE(opened);
  const Sstable& table = **opened;
  ReadAhead up, down, jumps;
  SeededRandom random(5);
  const auto same = [&](uint32_t ordinal, bool back, ReadAhead& ahead) {
    const auto got = table.read_block(ordinal, back, ahead), wanted = table.read_block(ordinal);
    REQUIRE(got);
    REQUIRE((*got)->rows() == (*wanted)->rows());
    REQUIRE((*got)->suffix(0) == (*wanted)->suffix(0));
    REQUIRE((*got)->prefix() == (*wanted)->prefix());
    REQUIRE(ahead.bytes.size() <= ReadAhead::kBytesMax);
  };
  for (uint32_t i = 0; i < table.blocks(); ++i) {
    same(i, false, up);
    same(table.blocks() - 1 - i, true, down);
    same(static_cast<uint32_t>(random.below(table.blocks())), random.chance(0.5), jumps);
  }
  CHECK(up.window == ReadAhead::kBytesMax);
  CHECK(down.window == ReadAhead::kBytesMax);
  // A byte that changed is noticed by the block it belongs to, and by no other.
  REQUIRE(fs.flip_bit("/1.sst", (table.file_bytes() / 4) * 8));
  uint32_t bad = 0;
  ReadAhead ahead;
  for (uint32_t i = 0; i < table.blocks(); ++i) bad += !table.read_block(i, false, ahead);
  CHECK(bad == 1);
}

}  // namespace cairn::storage
