#include "storage/sstable/unpacker.h"

#include <lz4.h>

#include <catch2/catch.hpp>
#include <string>

#include "base/checksum.h"
#include "base/random.h"
#include "storage/sstable/point_reader.h"

namespace cairn::storage {
namespace {

std::string packed(const std::string& raw) {
  std::string out(static_cast<size_t>(LZ4_compressBound(static_cast<int>(raw.size()))), '\0');
  const int n =
      LZ4_compress_default(raw.data(), out.data(), static_cast<int>(raw.size()), static_cast<int>(out.size()));
  out.resize(static_cast<size_t>(n));
  return out;
}

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

// Unpacks in buffers with nothing but the slack behind them, so that sanitizers see what goes beyond.
struct Unpacked {
  Unpacked(std::string_view from, size_t bytes) : in(from), out(bytes + Unpacker::kSlack, '\0') {
    size = in.size();
    in.resize(size + Unpacker::kSlack);
  }
  Unpacker unpacker(size_t bytes) { return {std::string_view(in).substr(0, size), out.data(), bytes}; }
  std::string in, out;
  size_t size;
};

}  // namespace

TEST_CASE("a block unpacks in steps to what LZ4 packed") {
  SeededRandom random(1);
  for (int i = 0; i < 300; ++i) {
    const std::string raw = text(random, 1 + random.below(20'000));
    const std::string stored = packed(raw);
    Unpacked buffers(stored, raw.size());
    Unpacker unpacker = buffers.unpacker(raw.size());
    for (size_t at = 0; at < raw.size();) {
      at = std::min(raw.size(), at + 1 + random.below(3000));
      REQUIRE(unpacker.up_to(at));
      REQUIRE(std::string_view(buffers.out).substr(0, at) == std::string_view(raw).substr(0, at));
    }
    CHECK(!unpacker.up_to(raw.size() + 1));
  }
}

TEST_CASE("what is cut off, too long or damaged unpacks to an error or to something, and touches nothing else") {
  SeededRandom random(2);
  uint64_t refused = 0;
  for (int i = 0; i < 2000; ++i) {
    const std::string raw = text(random, 1 + random.below(2000));
    std::string stored = packed(raw);
    size_t bytes = raw.size();
    const uint64_t damage = random.below(3);
    if (damage == 0) stored.resize(random.below(stored.size()));
    if (damage == 1) bytes -= std::min<size_t>(bytes, 1 + random.below(100));
    if (damage == 2) {
      for (int n = 0; n < 3; ++n) stored[random.below(stored.size())] = static_cast<char>(random.next());
    }
    Unpacked buffers(stored, bytes);
    const bool good = bytes > 0 && buffers.unpacker(bytes).up_to(bytes);
    refused += !good;
    if (damage == 0) REQUIRE(!good);
  }
  CHECK(refused > 700);
}

TEST_CASE("a point reader finds in a stored block what the whole block holds") {
  SeededRandom random(3);
  PointReader reader;
  for (const size_t value_bytes : {0, 10, 100, 3000, 40'000}) {
    for (const bool even : {true, false}) {
      for (const bool compress : {true, false}) {
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
        const std::string stored = seal_block(raw, compress, 7, 4096);
        if (stored.size() > PointReader::kStoredBytesMax) continue;
        keys.push_back("key1000.missing");
        for (const std::string& key : keys) {
          const uint64_t hash = hash64(key);
          std::ranges::copy(stored, reader.buffer(stored.size()).begin());
          const auto found = reader.open(stored.size(), 7, 4096, "test", key, hash);
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
        const auto refused = reader.open(bad.size(), 7, 4096, "test", keys[0], hash64(keys[0]));
        CHECK((!refused && refused.error().code == ErrorCode::kCorruption));
      }
    }
  }
}

}  // namespace cairn::storage
