// Arbitrary bytes as an SSTable, a data block, properties and a manifest edit: an error or a value, never a crash.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/checksum.h"
#include "base/codec.h"
#include "storage/io/memory_file_system.h"
#include "storage/sstable/sstable.h"
#include "storage/store_impl.h"

using namespace cairn;
using namespace cairn::storage;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (const auto block = Block::parse(std::string(input), "fuzz")) {
    std::string key;
    for (uint32_t i = 0; i < (*block)->rows(); ++i) {
      (void)(*block)->row(i);
      (*block)->key(i, key);
      (void)(*block)->lower_bound(key);
      (void)(*block)->find(key, hash64(key));
    }
  }
  const Filter filter{std::string(input)};
  filter.prefetch(size);
  (void)filter.may_contain(hash64(input));
  for (const bool last_keys : {false, true}) {
    const auto index = TableIndex::parse(input, last_keys, size > 0 ? data[0] : 0, ~0ull, "fuzz");  // up to 127 blocks
    if (index) (void)index->find(input);
  }
  (void)parse_properties(input, "fuzz");
  (void)parse_prefix_tombstones(input, "fuzz");
  (void)open_block(input, 1, 0, "fuzz");
  // As if its checksum were right, for that keeps all else out.
  const auto sealed = [&](Compression compression) {
    std::string stored(input.substr(0, PointReader::kStoredBytesMax - kTrailerBytes));
    auto raw = static_cast<uint32_t>(compression == Compression::kNone ? stored.size() : stored.size() * 3);
    if (compression == Compression::kZstd)
      raw = static_cast<uint32_t>(std::min<uint64_t>(claimed_bytes(stored), 1u << 20));
    put_u32(stored, static_cast<uint32_t>(compression));
    put_u32(stored, raw);
    put_u64(stored, hash64(stored, block_seed(1, 0)));
    return stored;
  };
  PointReader reader;
  for (const Compression compression : kCompressions) {
    const std::string stored = sealed(compression);
    std::ranges::copy(stored, reader.buffer(stored.size()).begin());
    const std::string_view key = input.substr(input.size() / 2);
    if (const auto rows = reader.open(stored.size(), 1, 0, "fuzz")) {
      if (const uint32_t row = (*rows)->find(key, hash64(key)); row < (*rows)->rows()) (void)(*rows)->row(row);
    }
  }
  (void)decode_snapshot_manifest(input);
  if (const auto edits = decode_edits(input)) {
    ManifestState state;
    (void)state.apply(*edits);
  }
  MemoryFileSystem fs;
  if (!write_file_atomic(fs, "/fuzz.sst", input)) return 0;
  (void)dump_sstable(fs, "/fuzz.sst", true);
  (void)dump_manifest(fs, "/fuzz.sst");
  return 0;
}
