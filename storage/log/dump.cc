#include <cstdio>

#include "storage/log/log_format.h"

namespace cairn::storage {
namespace {

std::string number(uint64_t n) { return std::to_string(n); }

std::string describe(const Record& record) {
  const std::string group = " group " + number(record.group.value);
  const std::string bytes = ", " + number(record.bytes.size()) + " bytes";
  const std::string place = " index " + number(record.index.value) + " ballot " + number(record.ballot.value);
  switch (record.kind) {
    case RecordKind::kAppend:
    case RecordKind::kPutSlot:
      return (record.kind == RecordKind::kAppend ? "append" : "put_slot") + group + place + " type " +
             number(record.type) + " time " + number(record.time_ms) + bytes;
    case RecordKind::kTruncateFrom: return "truncate_from" + group + " index " + number(record.index.value);
    case RecordKind::kHardState:
      return "hard_state" + group + " term " + number(record.hard_state.term.value) + " vote " +
             number(record.hard_state.voted_for.value) + "/" + number(record.hard_state.voted_incarnation.value) +
             " commit " + number(record.hard_state.commit.value);
    case RecordKind::kSnapshotMark:
      return "snapshot_mark" + group + place + " snapshot " + number(record.snapshot_id) + bytes;
    case RecordKind::kStartRewritten:
      return "start_rewritten" + group + place + " snapshot " + number(record.snapshot_id) + bytes;
    case RecordKind::kCompactTo: return "compact_to" + group + place + bytes;
    case RecordKind::kGroupCreate: return "group_create" + group + " replica " + number(record.replica.value) + bytes;
    case RecordKind::kGroupTombstone: return "group_tombstone" + group + " replica " + number(record.replica.value);
    default: return "unknown";
  }
}

}  // namespace

Result<std::string> dump_log_segment(FileSystem& fs, const std::string& path) {
  CAIRN_TRY(const std::string bytes, read_file(fs, path));
  const size_t slash = path.rfind('/');
  const auto named = parse_segment_name(slash == std::string::npos ? path : path.substr(slash + 1));
  const auto header = parse_segment_header(bytes);
  if (!named && !header) return Error{ErrorCode::kCorruption, path + ": neither name nor header of a log segment"};
  const uint64_t sequence = named ? *named : header->sequence;
  const SegmentScan scan = scan_segment(bytes, sequence);
  std::string out = "segment " + number(sequence) + " size " + number(bytes.size());
  if (scan.header) {
    out += " version " + number(scan.header->version) + " features " + number(scan.header->incompatible) + "\n";
    if (scan.header->sequence != sequence) out += "header names segment " + number(scan.header->sequence) + "\n";
  } else {
    out += "\ndamaged file header\n";
  }
  uint64_t end = kLogAlign;
  for (const auto& batch : scan.batches) {
    if (batch.offset != end) out += "damage from offset " + number(end) + " to " + number(batch.offset) + "\n";
    end = batch.offset + align_up(batch.header.length);
    out += "batch " + number(batch.header.sequence) + " offset " + number(batch.offset) + " bytes " +
           number(batch.header.length) + " records " + number(batch.header.records) + " synced " +
           number(batch.header.synced_up_to) + " oldest " + number(batch.header.oldest_low) + "\n";
    Decoder in(
        std::string_view(bytes).substr(batch.offset + kBatchHeaderBytes, batch.header.length - kBatchHeaderBytes));
    for (uint32_t i = 0; i < batch.header.records; ++i) {
      Record record;
      if (!decode_record(in, record)) {
        out += "  malformed record\n";
        break;
      }
      out += "  " + describe(record) + "\n";
    }
  }
  if (scan.torn_end) out += "torn batch at offset " + number(end) + "\n";
  return out;
}

}  // namespace cairn::storage
