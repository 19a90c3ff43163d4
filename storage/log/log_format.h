// Bytes of a log segment: file header, batch header, records (docs/formats/log.md). Pure; no I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/codec.h"
#include "storage/log/shared_log.h"

namespace cairn::storage {

inline constexpr uint64_t kLogMagic = 0x474F4C4E52494143ull;  // "CAIRNLOG"
inline constexpr uint32_t kLogVersion = 1;
inline constexpr uint32_t kLogIncompatibleKnown = 0;  // feature bits this code understands
inline constexpr size_t kLogAlign = 4096;             // of the file header and of every batch
inline constexpr size_t kBatchHeaderBytes = 40;

inline constexpr uint64_t align_up(uint64_t n) { return (n + kLogAlign - 1) / kLogAlign * kLogAlign; }

struct SegmentHeader {
  uint32_t version = kLogVersion;
  uint32_t incompatible = 0;
  uint32_t compatible = 0;
  uint64_t sequence = 0;
  uint64_t bytes = 0;  // size of the file
};
std::string encode_segment_header(const SegmentHeader& header);             // kLogAlign bytes
std::optional<SegmentHeader> parse_segment_header(std::string_view bytes);  // nullopt: not a valid header
std::string segment_name(uint64_t sequence);                                // "0000000001.log"
std::optional<uint64_t> parse_segment_name(std::string_view name);

struct BatchHeader {
  uint32_t length = 0;   // header and records, without padding
  uint32_t records = 0;  // 0: only vouches for earlier batches (sync mark)
  uint16_t flags = 0;
  uint32_t segment_low = 0;   // low 32 bits of the segment's sequence: a recycled file's old batches differ
  uint32_t oldest_low = 0;    // the same of the oldest segment that recovery needed when this was written
  uint64_t sequence = 0;      // dense over the whole stream
  uint64_t synced_up_to = 0;  // batches up to this sequence were durable when this one was written
};
// Fills in the first kBatchHeaderBytes of `batch` (checksum included). `batch` is header.length long.
void encode_batch_header(char* batch, const BatchHeader& header);
// The batch that starts at `offset` of a whole segment, if it is intact and belongs to this segment.
std::optional<BatchHeader> parse_batch(std::string_view segment, uint64_t offset, uint32_t segment_low);

struct ScannedBatch {
  uint64_t offset;
  BatchHeader header;
};
struct SegmentScan {
  std::optional<SegmentHeader> header;
  std::vector<ScannedBatch> batches;  // every intact one in file order, also behind damage
  bool torn_end = false;              // something of this segment follows the last intact batch
};
SegmentScan scan_segment(std::string_view segment, uint64_t sequence);

enum class RecordKind : uint8_t {
  kAppend = 1,
  kPutSlot = 2,
  kTruncateFrom = 3,
  kHardState = 4,
  kSnapshotMark = 5,
  kCompactTo = 6,
  kGroupCreate = 7,
  kGroupTombstone = 8,
  kStartRewritten = 9,  // a start mark moved out of an old segment: drops entries at or below its index only
  kRewriteBegin = 10,   // reserved
  kRewriteCommit = 11,  // reserved
};

// One decoded record; views point into the batch. Which members count depends on the kind.
struct Record {
  RecordKind kind = RecordKind::kAppend;
  RangeId group = {};
  LogIndex index = {};
  Term ballot = {};
  uint8_t type = 0;
  uint64_t time_ms = 0;
  std::string_view bytes = {};  // payload, configuration or descriptor
  HardStateRecord hard_state = {};
  ReplicaId replica = {};
  uint64_t snapshot_id = 0;
};
// False (and in.ok() false) on malformed bytes.
bool decode_record(Decoder& in, Record& record);

// Writes records at a raw pointer; the caller has reserved record_bytes_max(payload) bytes. Returns the end.
inline constexpr size_t record_bytes_max(size_t payload) { return payload + 80; }
char* encode_record(char* at, const Record& record);

}  // namespace cairn::storage
