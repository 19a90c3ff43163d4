#include "storage/log/log_format.h"

#include <charconv>
#include <cstdio>
#include <cstring>

#include "base/checksum.h"
#include "base/plant.h"

namespace cairn::storage {
namespace {

constexpr size_t kHeaderChecksumAt = 60;

char* write_varint(char* at, uint64_t value) {
  while (value >= 0x80) {
    *at++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *at++ = static_cast<char>(value);
  return at;
}
char* write_bytes(char* at, std::string_view bytes) {
  at = write_varint(at, bytes.size());
  if (!bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
  return at + bytes.size();
}

}  // namespace

std::string encode_segment_header(const SegmentHeader& header) {
  std::string out;
  put_u64(out, kLogMagic);
  put_u32(out, header.version);
  put_u32(out, header.incompatible);
  put_u32(out, header.compatible);
  put_u32(out, 0);
  put_u64(out, header.sequence);
  put_u64(out, header.bytes);
  out.resize(kHeaderChecksumAt, '\0');
  put_u32(out, crc32c(out));
  out.resize(kLogAlign, '\0');
  return out;
}

std::optional<SegmentHeader> parse_segment_header(std::string_view bytes) {
  if (bytes.size() < kLogAlign) return std::nullopt;
  Decoder in(bytes);
  if (in.u64() != kLogMagic) return std::nullopt;
  SegmentHeader header;
  header.version = in.u32();
  header.incompatible = in.u32();
  header.compatible = in.u32();
  in.u32();
  header.sequence = in.u64();
  header.bytes = in.u64();
  if (get_fixed<uint32_t>(bytes.data() + kHeaderChecksumAt) != crc32c(bytes.substr(0, kHeaderChecksumAt))) {
    return std::nullopt;
  }
  return header;
}

std::string segment_name(uint64_t sequence) {
  char name[32];
  std::snprintf(name, sizeof name, "%010llu.log", static_cast<unsigned long long>(sequence));
  return name;
}

std::optional<uint64_t> parse_segment_name(std::string_view name) {
  if (name.size() < 14 || !name.ends_with(".log")) return std::nullopt;
  name.remove_suffix(4);
  uint64_t sequence = 0;
  const auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), sequence);
  if (code != std::errc{} || end != name.data() + name.size() || sequence == 0) return std::nullopt;
  return sequence;
}

// crc u32 | length u32 | records u32 | flags u16 | 0 u16 | segment u32 | oldest u32 | sequence u64 | synced
// u64
void encode_batch_header(char* batch, const BatchHeader& header) {
  const auto put = [batch](size_t at, auto value) { std::memcpy(batch + at, &value, sizeof value); };
  put(4, header.length);
  put(8, header.records);
  put(12, header.flags);
  put(14, uint16_t{0});
  put(16, header.segment_low);
  put(20, header.oldest_low);
  put(24, header.sequence);
  put(32, header.synced_up_to);
  put(0, crc32c({batch + 4, header.length - 4}));
}

std::optional<BatchHeader> parse_batch(std::string_view segment, uint64_t offset, uint32_t segment_low) {
  if (offset + kBatchHeaderBytes > segment.size()) return std::nullopt;
  const char* batch = segment.data() + offset;
  BatchHeader header;
  header.length = get_fixed<uint32_t>(batch + 4);
  header.records = get_fixed<uint32_t>(batch + 8);
  header.flags = get_fixed<uint16_t>(batch + 12);
  header.segment_low = get_fixed<uint32_t>(batch + 16);
  header.oldest_low = get_fixed<uint32_t>(batch + 20);
  header.sequence = get_fixed<uint64_t>(batch + 24);
  header.synced_up_to = get_fixed<uint64_t>(batch + 32);
  if (header.length < kBatchHeaderBytes || header.length > segment.size() - offset) return std::nullopt;
  if (header.segment_low != segment_low && !CAIRN_PLANTED("recycled-ghost")) return std::nullopt;
  if (header.sequence == 0 || header.synced_up_to >= header.sequence) return std::nullopt;
  const bool intact = get_fixed<uint32_t>(batch) == crc32c({batch + 4, header.length - 4});
  if (!intact && !CAIRN_PLANTED("torn-batch-accepted")) return std::nullopt;
  return header;
}

SegmentScan scan_segment(std::string_view segment, uint64_t sequence) {
  SegmentScan scan;
  scan.header = parse_segment_header(segment);
  const auto low = static_cast<uint32_t>(sequence);
  uint64_t end = kLogAlign;
  for (uint64_t offset = kLogAlign; offset + kBatchHeaderBytes <= segment.size();) {
    if (const auto header = parse_batch(segment, offset, low)) {
      scan.batches.push_back({offset, *header});
      offset += align_up(header->length);
      end = offset;
    } else {
      offset += kLogAlign;
    }
  }
  if (end + kBatchHeaderBytes <= segment.size()) {
    scan.torn_end =
        get_fixed<uint32_t>(segment.data() + end + 16) == low && get_fixed<uint64_t>(segment.data() + end + 24) != 0;
  }
  return scan;
}

bool decode_record(Decoder& in, Record& record) {
  const uint8_t kind = in.u8();
  if (kind < 1 || kind > static_cast<uint8_t>(RecordKind::kStartRewritten)) in.fail();
  record.kind = static_cast<RecordKind>(kind);
  record.group = in.number<RangeIdTag>();
  switch (record.kind) {
    case RecordKind::kAppend:
    case RecordKind::kPutSlot:
      record.index = in.number<LogIndexTag>();
      record.ballot = in.number<TermTag>();
      record.type = in.u8();
      record.time_ms = in.varint();
      record.bytes = in.bytes();
      break;
    case RecordKind::kTruncateFrom: record.index = in.number<LogIndexTag>(); break;
    case RecordKind::kHardState:
      record.hard_state.term = in.number<TermTag>();
      record.hard_state.voted_for = in.number<NodeIdTag>();
      record.hard_state.voted_incarnation = in.number<IncarnationTag>();
      record.hard_state.commit = in.number<LogIndexTag>();
      break;
    case RecordKind::kSnapshotMark:
    case RecordKind::kStartRewritten:
    case RecordKind::kCompactTo:
      record.index = in.number<LogIndexTag>();
      record.ballot = in.number<TermTag>();
      record.snapshot_id = record.kind == RecordKind::kCompactTo ? 0 : in.varint();
      record.bytes = in.bytes();
      break;
    case RecordKind::kGroupCreate:
      record.replica = in.number<ReplicaIdTag>();
      record.bytes = in.bytes();
      break;
    case RecordKind::kGroupTombstone: record.replica = in.number<ReplicaIdTag>(); break;
    default: in.fail();
  }
  return in.ok();
}

char* encode_record(char* at, const Record& record) {
  *at++ = static_cast<char>(record.kind);
  at = write_varint(at, record.group.value);
  switch (record.kind) {
    case RecordKind::kAppend:
    case RecordKind::kPutSlot:
      at = write_varint(at, record.index.value);
      at = write_varint(at, record.ballot.value);
      *at++ = static_cast<char>(record.type);
      at = write_varint(at, record.time_ms);
      return write_bytes(at, record.bytes);
    case RecordKind::kTruncateFrom: return write_varint(at, record.index.value);
    case RecordKind::kHardState:
      at = write_varint(at, record.hard_state.term.value);
      at = write_varint(at, record.hard_state.voted_for.value);
      at = write_varint(at, record.hard_state.voted_incarnation.value);
      return write_varint(at, record.hard_state.commit.value);
    case RecordKind::kSnapshotMark:
    case RecordKind::kStartRewritten:
    case RecordKind::kCompactTo:
      at = write_varint(at, record.index.value);
      at = write_varint(at, record.ballot.value);
      if (record.kind != RecordKind::kCompactTo) at = write_varint(at, record.snapshot_id);
      return write_bytes(at, record.bytes);
    case RecordKind::kGroupCreate: at = write_varint(at, record.replica.value); return write_bytes(at, record.bytes);
    case RecordKind::kGroupTombstone: return write_varint(at, record.replica.value);
    default: return at;
  }
}

}  // namespace cairn::storage
