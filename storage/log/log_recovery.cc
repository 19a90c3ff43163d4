#include "storage/log/log_recovery.h"

#include <algorithm>
#include <deque>

#include "base/plant.h"
#include "storage/log/log_format.h"

namespace cairn::storage {
namespace {

// A group while its records are replayed. Entries are dense.
struct Replay {
  RecoveredGroup result;
  std::deque<LogEntry> entries;
};

LogEntry make_entry(const Record& record) {
  return {record.index, record.ballot, record.type, record.time_ms, SharedBytes(std::string(record.bytes))};
}

class Replayer {
 public:
  void apply(const Record& record) {
    Replay& group = groups_[record.group];
    RecoveredGroup& result = group.result;
    result.group = record.group;
    switch (record.kind) {
      case RecordKind::kAppend: append(group, record); break;
      case RecordKind::kPutSlot:
        if (record.index > result.start.index) result.slots[record.index] = make_entry(record);
        break;
      case RecordKind::kTruncateFrom: truncate(group, record.index); break;
      case RecordKind::kHardState: result.hard_state = record.hard_state; break;
      case RecordKind::kSnapshotMark:
        if (record.index < result.start.index) break;
        // Entries behind the snapshot stay only if the log agrees with it at its last entry, as in raft
        // figure 13.
        if (!agrees(group, record)) group.entries.clear();
        set_start(group, record);
        break;
      case RecordKind::kCompactTo:
      case RecordKind::kStartRewritten:
        if (record.index >= result.start.index) set_start(group, record);
        break;
      case RecordKind::kGroupCreate:
        result.replica = record.replica;
        result.descriptor = record.bytes;
        break;
      case RecordKind::kGroupTombstone:
        if (record.replica >= result.replica) {
          const ReplicaId tombstone = result.tombstone;
          group = Replay{};
          result.group = record.group;
          result.tombstone = tombstone;
        }
        result.tombstone = std::max(result.tombstone, record.replica);
        break;
      default: break;
    }
  }

  void finish(LogRecovery& recovery) {
    for (auto& [id, group] : groups_) {
      RecoveredGroup& result = group.result;
      // Entries that do not touch the start are of no use: something between is missing (damage only).
      if (!group.entries.empty() && group.entries.front().index > result.start.index.next()) group.entries.clear();
      result.entries.assign(std::make_move_iterator(group.entries.begin()),
                            std::make_move_iterator(group.entries.end()));
      recovery.groups.emplace(id, std::move(result));
    }
  }

 private:
  static void append(Replay& group, const Record& record) {
    truncate_entries(group, record.index);
    if (record.index <= group.result.start.index) return;
    // A hole can only come from damage or from entries whose start mark follows later; the newer side is the
    // useful one.
    if (!group.entries.empty() && group.entries.back().index.next() != record.index) group.entries.clear();
    group.entries.push_back(make_entry(record));
  }
  static void truncate_entries(Replay& group, LogIndex from) {
    while (!group.entries.empty() && group.entries.back().index >= from) group.entries.pop_back();
  }
  static void truncate(Replay& group, LogIndex from) {
    truncate_entries(group, from);
    group.result.slots.erase(group.result.slots.lower_bound(from), group.result.slots.end());
  }
  static bool agrees(const Replay& group, const Record& mark) {
    if (group.entries.empty()) return false;
    const LogIndex first = group.entries.front().index;
    if (mark.index < first || mark.index > group.entries.back().index) return false;
    return group.entries[mark.index.value - first.value].ballot == mark.ballot;
  }
  static void set_start(Replay& group, const Record& record) {
    group.result.start = {record.index, record.ballot, std::string(record.bytes)};
    if (record.kind != RecordKind::kCompactTo) group.result.snapshot_id = record.snapshot_id;
    while (!group.entries.empty() && group.entries.front().index <= record.index) group.entries.pop_front();
    group.result.slots.erase(group.result.slots.begin(), group.result.slots.upper_bound(record.index));
  }

  std::map<RangeId, Replay> groups_;
};

class Reader {
 public:
  Reader(FileSystem& fs, const std::string& dir, GroupTable& table, LogRecovery& recovery)
      : fs_(fs), dir_(dir), table_(table), recovery_(recovery) {}

  Result<RecoveredStream> run() {
    CAIRN_TRY(const auto names, fs_.list(dir_));
    for (const auto& name : names) {
      if (const auto sequence = parse_segment_name(name)) {
        sequences_.push_back(*sequence);
      } else if (name.ends_with(".tmp")) {
        stream_.spares.push_back(name);
      }
    }
    std::ranges::sort(sequences_);
    if (!sequences_.empty()) stream_.next_segment = sequences_.back() + 1;
    CAIRN_TRY(const uint64_t oldest, find_oldest());
    if (oldest != 0 && !std::ranges::binary_search(sequences_, oldest)) {
      damage("segment " + segment_name(oldest) + " is missing");
    }
    for (const uint64_t sequence : sequences_) {
      if (sequence < oldest) {
        stream_.spares.push_back(segment_name(sequence));
      } else {
        CAIRN_TRY_VOID(replay(sequence));
      }
    }
    for (const auto& segment : empty_) stream_.spares.push_back(segment_name(segment.sequence));
    if (!stream_.segments.empty()) {
      CAIRN_TRY(auto tail, fs_.open(path(stream_.segments.back().sequence), OpenMode::kReadWrite));
      CAIRN_TRY_VOID(tail->sync());
    }
    replayer_.finish(recovery_);
    if (recovery_.suspect) {
      for (auto& [id, group] : recovery_.groups) group.suspect = true;
      stream_.spares.clear();  // people may want to look at them
    }
    return std::move(stream_);
  }

 private:
  std::string path(uint64_t sequence) const { return join_path(dir_, segment_name(sequence)); }

  // The newest batch names the oldest segment that matters.
  Result<uint64_t> find_oldest() {
    for (auto it = sequences_.rbegin(); it != sequences_.rend(); ++it) {
      CAIRN_TRY(const std::string bytes, read_file(fs_, path(*it)));
      const SegmentScan scan = scan_segment(bytes, *it);
      if (is_spare(scan, *it) || scan.batches.empty()) continue;
      const BatchHeader& newest = scan.batches.back().header;
      return *it - static_cast<uint32_t>(newest.segment_low - newest.oldest_low);
    }
    return uint64_t{0};
  }

  // A header of another sequence: the file was being recycled when the node stopped.
  static bool is_spare(const SegmentScan& scan, uint64_t sequence) {
    return scan.header && scan.header->sequence != sequence && !CAIRN_PLANTED("recycled-ghost");
  }

  Result<void> replay(uint64_t sequence) {
    CAIRN_TRY(const std::string bytes, read_file(fs_, path(sequence)));
    const SegmentScan scan = scan_segment(bytes, sequence);
    if (scan.header &&
        (scan.header->version != kLogVersion || (scan.header->incompatible & ~kLogIncompatibleKnown) != 0)) {
      return Error{ErrorCode::kUnsupported, "log segment " + path(sequence) + " has version " +
                                                std::to_string(scan.header->version) + ", features " +
                                                std::to_string(scan.header->incompatible)};
    }
    if (is_spare(scan, sequence)) {
      stream_.spares.push_back(segment_name(sequence));
      return {};
    }
    recovery_.torn_tail = recovery_.torn_tail || scan.torn_end;
    if (scan.batches.empty()) {
      empty_.push_back({sequence, bytes.size(), 0});
      return {};
    }
    // Passed over because the first batch was too large for them. The newest header may name one of them as the oldest.
    stream_.segments.insert(stream_.segments.end(), empty_.begin(), empty_.end());
    empty_.clear();
    if (!scan.header) note(path(sequence) + ": damaged file header");
    if (expected_ == 0 && scan.batches.front().offset != kLogAlign) {
      damage(path(sequence) + ": the batches before offset " + std::to_string(scan.batches.front().offset) +
             " are damaged");
    }
    for (const auto& batch : scan.batches) {
      const uint64_t number = batch.header.sequence;
      if (expected_ != 0 && number < expected_ && !CAIRN_PLANTED("recycled-ghost")) continue;
      if (expected_ != 0 && number > expected_) {
        damage(path(sequence) + ": batches " + std::to_string(expected_) + " to " + std::to_string(number - 1) +
               " before offset " + std::to_string(batch.offset) + " are damaged though they were synced");
      }
      expected_ = number + 1;
      replay_batch(std::string_view(bytes).substr(batch.offset, batch.header.length), batch.header, sequence);
    }
    // Only what follows the newest intact batch of the whole stream can be torn.
    if (!scan.torn_end) recovery_.torn_tail = false;
    stream_.next_batch = expected_;
    stream_.segments.push_back({sequence, bytes.size(), scan.batches.back().offset});
    return {};
  }

  void replay_batch(std::string_view batch, const BatchHeader& header, uint64_t segment) {
    Decoder in(batch.substr(kBatchHeaderBytes));
    for (uint32_t i = 0; i < header.records; ++i) {
      Record record;
      if (!decode_record(in, record)) {
        damage(path(segment) + ": malformed record in batch " + std::to_string(header.sequence));
        return;
      }
      ++stream_.records;
      table_.note(record, segment);
      replayer_.apply(record);
    }
  }

  void note(const std::string& what) {
    if (!recovery_.damage.empty()) recovery_.damage += "; ";
    recovery_.damage += what;
  }
  void damage(const std::string& what) {
    note(what);
    recovery_.suspect = true;
  }

  FileSystem& fs_;
  const std::string& dir_;
  GroupTable& table_;
  LogRecovery& recovery_;
  std::vector<uint64_t> sequences_;
  RecoveredStream stream_;
  std::vector<RecoveredSegment> empty_;  // without a batch, so far nothing behind them
  Replayer replayer_;
  uint64_t expected_ = 0;  // number of the next batch; 0 = none was seen yet
};

}  // namespace

Result<RecoveredStream> recover_log(FileSystem& fs, const std::string& dir, GroupTable& table, LogRecovery& recovery) {
  return Reader(fs, dir, table, recovery).run();
}

}  // namespace cairn::storage
