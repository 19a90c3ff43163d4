#include "storage/sstable/format.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/codec.h"

namespace cairn::storage {
namespace {

// Tags of properties. New ones may appear; unknown ones are skipped.
enum Property : uint64_t {
  kId = 1,
  kRun,
  kLevel,
  kSmallest,
  kLargest,
  kEntries,
  kPointTombstones,
  kPrefixTombstoneCount,
  kMinSequence,
  kMaxSequence,
  kMinTime,
  kMaxTime,
  kRawBytes,
  kBlocks,
  kFilter,
  kPrefixTombstones,
  kExpiring,
  kMinExpiry,
  kMaxExpiry,
  kSketch,
  kDenseTombstones,
};

void put_number(std::string& out, Property tag, uint64_t value) {
  std::string bytes;
  put_varint(bytes, value);
  put_varint(out, tag);
  put_bytes(out, bytes);
}
void put_text(std::string& out, Property tag, std::string_view value) {
  put_varint(out, tag);
  put_bytes(out, value);
}
void put_handle(std::string& out, Property tag, const BlockHandle& handle) {
  std::string bytes;
  put_varint(bytes, handle.offset);
  put_varint(bytes, handle.size);
  put_text(out, tag, bytes);
}

}  // namespace

Error corrupt(const std::string& path, std::string_view what) {
  return Error{ErrorCode::kCorruption, path + ": " + std::string(what)};
}

std::string encode_footer(const Footer& footer) {
  std::string out;
  put_u64(out, kSstMagic);
  put_u32(out, footer.version);
  put_u32(out, footer.features);
  put_u32(out, 0);  // compatible features
  put_u32(out, footer.properties.size);
  put_u64(out, footer.properties.offset);
  put_u64(out, footer.index.offset);
  put_u32(out, footer.index.size);
  put_u32(out, 0);
  put_u64(out, footer.seed);
  put_u64(out, hash64(out));
  return out;
}

Result<Footer> parse_footer(std::string_view bytes, const std::string& path) {
  if (bytes.size() != kFooterBytes) return corrupt(path, "shorter than a footer");
  Decoder in(bytes);
  if (in.u64() != kSstMagic) return corrupt(path, "not an SSTable: bad magic number");
  if (get_fixed<uint64_t>(bytes.data() + kFooterBytes - 8) != hash64(bytes.substr(0, kFooterBytes - 8))) {
    return corrupt(path, "footer checksum differs");
  }
  Footer footer;
  footer.version = in.u32();
  footer.features = in.u32();
  const uint32_t known = footer.version == 1 ? 0 : kSstIncompatibleKnown;
  if (footer.version < 1 || footer.version > kSstVersion || (footer.features & ~known) != 0) {
    return Error{ErrorCode::kUnsupported, path + ": version " + std::to_string(footer.version) + ", features " +
                                              std::to_string(footer.features)};
  }
  in.u32();
  footer.properties.size = in.u32();
  footer.properties.offset = in.u64();
  footer.index.offset = in.u64();
  footer.index.size = in.u32();
  in.u32();
  footer.seed = in.u64();
  return footer;
}

std::string seal_block(std::string_view raw, Compression compression, uint64_t seed, uint64_t offset) {
  std::string out;
  const Compression kind = pack(compression, raw, out) ? compression : Compression::kNone;
  if (kind == Compression::kNone) out.assign(raw);
  put_u8(out, static_cast<uint8_t>(kind));
  out.append(3, '\0');
  put_u32(out, static_cast<uint32_t>(raw.size()));
  put_u64(out, hash64(out, block_seed(seed, offset)));
  return out;
}

Result<StoredBlock> check_block(std::string_view stored, uint64_t seed, uint64_t offset, const std::string& path) {
  const auto bad = [&](const char* why) {
    return corrupt(path, "block at offset " + std::to_string(offset) + std::string(why));
  };
  if (stored.size() < kTrailerBytes) return bad(" is cut off");
  const char* trailer = stored.data() + stored.size() - kTrailerBytes;
  if (get_fixed<uint64_t>(trailer + 8) != hash64(stored.substr(0, stored.size() - 8), block_seed(seed, offset)))
    return bad(": checksum differs");
  StoredBlock block;
  block.compression = static_cast<Compression>(trailer[0]);
  block.raw_bytes = get_fixed<uint32_t>(trailer + 4);
  block.payload = stored.substr(0, stored.size() - kTrailerBytes);
  if (!may_unpack(block.compression, block.payload, block.raw_bytes)) return bad(": unknown compression or length");
  return block;
}

bool unpack_block(const StoredBlock& block, char* out) {
  return unpack(block.compression, block.payload, out, block.raw_bytes);
}

Result<std::string> open_block(std::string_view stored, uint64_t seed, uint64_t offset, const std::string& path) {
  CAIRN_TRY(const StoredBlock block, check_block(stored, seed, offset, path));
  std::string raw = unfilled_string(block.raw_bytes);
  if (!unpack_block(block, raw.data())) {
    return corrupt(path, "block at offset " + std::to_string(offset) + ": does not unpack");
  }
  return raw;
}

std::string encode_properties(const TableProperties& p) {
  std::string out;
  put_number(out, kId, p.info.id);
  put_number(out, kRun, p.info.run);
  put_number(out, kLevel, p.info.level);
  put_text(out, kSmallest, p.info.smallest);
  put_text(out, kLargest, p.info.largest);
  put_number(out, kEntries, p.info.entries);
  put_number(out, kPointTombstones, p.point_tombstones);
  put_number(out, kPrefixTombstoneCount, p.info.tombstones - p.point_tombstones);
  put_number(out, kMinSequence, p.info.min_sequence.value);
  put_number(out, kMaxSequence, p.info.max_sequence.value);
  put_number(out, kMinTime, p.info.min_time_ms);
  put_number(out, kMaxTime, p.info.max_time_ms);
  put_number(out, kRawBytes, p.raw_bytes);
  put_number(out, kBlocks, p.blocks);
  put_handle(out, kFilter, p.filter);
  put_handle(out, kPrefixTombstones, p.prefix_tombstones);
  if (p.info.expiring > 0) {
    put_number(out, kExpiring, p.info.expiring);
    put_number(out, kMinExpiry, p.info.min_expiry_ms);
    put_number(out, kMaxExpiry, p.info.max_expiry_ms);
  }
  if (p.info.dense_tombstones > 0) put_number(out, kDenseTombstones, p.info.dense_tombstones);
  if (!p.sketch.empty()) put_text(out, kSketch, p.sketch);
  return out;
}

Result<TableProperties> parse_properties(std::string_view bytes, const std::string& path) {
  TableProperties p;
  uint64_t prefix_count = 0;
  Decoder in(bytes);
  while (in.ok() && !in.at_end()) {
    const uint64_t tag = in.varint();
    const std::string_view field = in.bytes();
    Decoder value(field);
    switch (tag) {
      case kId: p.info.id = value.varint(); break;
      case kRun: p.info.run = value.varint(); break;
      case kLevel: p.info.level = static_cast<uint32_t>(value.varint()); break;
      case kSmallest: p.info.smallest = field; break;
      case kLargest: p.info.largest = field; break;
      case kEntries: p.info.entries = value.varint(); break;
      case kPointTombstones: p.point_tombstones = value.varint(); break;
      case kPrefixTombstoneCount: prefix_count = value.varint(); break;
      case kMinSequence: p.info.min_sequence = value.number<SequenceNumberTag>(); break;
      case kMaxSequence: p.info.max_sequence = value.number<SequenceNumberTag>(); break;
      case kMinTime: p.info.min_time_ms = value.varint(); break;
      case kMaxTime: p.info.max_time_ms = value.varint(); break;
      case kRawBytes: p.raw_bytes = value.varint(); break;
      case kBlocks: p.blocks = static_cast<uint32_t>(value.varint()); break;
      case kFilter:
      case kPrefixTombstones: {
        BlockHandle& handle = tag == kFilter ? p.filter : p.prefix_tombstones;
        handle.offset = value.varint();
        handle.size = static_cast<uint32_t>(value.varint());
        break;
      }
      case kExpiring: p.info.expiring = value.varint(); break;
      case kMinExpiry: p.info.min_expiry_ms = value.varint(); break;
      case kMaxExpiry: p.info.max_expiry_ms = value.varint(); break;
      case kSketch: p.sketch = field; break;
      case kDenseTombstones: p.info.dense_tombstones = value.varint(); break;
      default: break;
    }
    if (!value.ok()) return corrupt(path, "malformed property " + std::to_string(tag));
  }
  if (!in.ok()) return corrupt(path, "malformed properties");
  p.info.tombstones = p.point_tombstones + prefix_count;
  return p;
}

std::string encode_prefix_tombstones(const std::vector<PrefixTombstone>& list) {
  std::string out;
  put_varint(out, list.size());
  for (const auto& t : list) {
    put_bytes(out, t.prefix);
    put_varint(out, t.sequence);
    put_varint(out, t.time_ms);
  }
  return out;
}

Result<PrefixTombstones> parse_prefix_tombstones(std::string_view bytes, const std::string& path) {
  PrefixTombstones list;
  Decoder in(bytes);
  for (uint64_t n = in.varint(); n > 0 && in.ok(); --n) {
    const std::string_view prefix = in.bytes();
    const uint64_t sequence = in.varint();
    const uint64_t time_ms = in.varint();
    if (in.ok()) list.add(prefix, sequence, time_ms);
  }
  if (!in.ok() || !in.at_end()) return corrupt(path, "malformed prefix tombstones");
  return list;
}

}  // namespace cairn::storage
