// The one write-ahead log of a shard: records of all its groups in one stream, one durable write in flight
// while the next batch fills. It is the only WAL; the tablets have none. (docs/formats/log.md;
// docs/decisions/log-writes.md and log-in-memory.md for the reasons.)
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/executor.h"
#include "base/metrics.h"
#include "base/result.h"
#include "base/types.h"
#include "storage/io/file_system.h"
#include "storage/log/durable_writer.h"

namespace cairn::storage {

// One log entry as stored. `type` is opaque here (consensus::EntryType); `ballot` is the term in Raft.
struct LogEntry {
  LogIndex index;
  Term ballot;
  uint8_t type = 0;
  uint64_t time_ms = 0;
  SharedBytes payload;
};

struct HardStateRecord {
  Term term;
  NodeId voted_for;               // 0 = nobody
  Incarnation voted_incarnation;  // of voted_for
  LogIndex commit;                // lazily written: a lower bound
};

// The log of the group starts after `index`. `configuration` is the membership in force there (opaque bytes).
struct LogStart {
  LogIndex index;
  Term ballot;
  std::string configuration;
};

// A snapshot was received into DATA/snap/<snapshot_id>; recovery installs it if the tablet's flushed index is
// below.
struct SnapshotMarkRecord {
  LogStart start;
  uint64_t snapshot_id = 0;  // unique per node; 0 = none
};

struct RecoveredGroup {
  RangeId group;
  ReplicaId replica;       // of the newest create record
  std::string descriptor;  // opaque bytes of the newest create record; empty = never created
  ReplicaId tombstone;     // highest replica id that was destroyed here; 0 = none
  HardStateRecord hard_state;
  LogStart start;                      // of the newest compaction or snapshot mark
  uint64_t snapshot_id = 0;            // of the newest snapshot mark; 0 = none
  std::vector<LogEntry> entries;       // start.index + 1 .. last, dense
  std::map<LogIndex, LogEntry> slots;  // ballot-per-slot entries (Multi-Paxos window)
  bool suspect = false;                // an acknowledged record of this stream is damaged: no vote, no acknowledgement
};

struct LogRecovery {
  std::map<RangeId, RecoveredGroup> groups;
  bool suspect = false;    // damage at or below the synced mark: every group of the stream is suspect
  std::string damage;      // what and where, for people; empty = none
  bool torn_tail = false;  // an unsynced tail was cut off
};

struct SharedLogOptions {
  uint64_t first_segment_bytes = 4u << 20;  // written with zeros before use while the node starts
  uint64_t segment_bytes = 16u << 20;       // later ones, prepared in the background, then recycled
  uint64_t batch_bytes_max = 4u << 20;      // a fuller batch is split over several durable writes
  uint32_t recycled_segments_max = 4;
};

struct SharedLogMetrics {
  Counter syncs;  // durable writes (cairn_log_syncs_total)
  Counter bytes_written;
  Counter segments_created;
  Counter segments_recycled;
  DurationHistogram sync_duration;
};

// Thread safety: everything on the loop of the owner. Segments are prepared on the background executor.
// Errors: a failed durable write or sync of a segment is fatal and reported once through `on_fatal`; nothing
// is retried.
class SharedLog {
 public:
  struct Environment {
    FileSystem* fs;
    DurableWriter* writer;
    BackgroundExecutor* background;
    Executor* loop;
    const Clock* clock;
    std::function<void(LogPosition)> on_durable;  // everything below this position is durable; never goes back
    std::function<void(const Error&)> on_fatal;
  };

  // Reads all segments of `dir`, fills `recovery`, and is ready to append. kCorruption only where nothing can
  // be read.
  static Result<std::unique_ptr<SharedLog>> open(Environment env, std::string dir, SharedLogOptions options,
                                                 LogRecovery* recovery);
  // Vouches for the newest batch by a small last write if none is under way; records never flushed are lost.
  virtual ~SharedLog() = default;

  // The calls below add one record to the batch that is filling. Records of one group are recovered in this
  // order. Appending at an index that exists drops that entry and everything after it.
  virtual void append(RangeId group, const LogEntry& entry) = 0;
  virtual void put_slot(RangeId group, const LogEntry& entry) = 0;
  virtual void truncate_from(RangeId group, LogIndex index) = 0;
  virtual void hard_state(RangeId group, const HardStateRecord& state) = 0;
  // Requires: the state machine has made everything up to start.index durable.
  virtual void compact_to(RangeId group, const LogStart& start) = 0;
  // Drops the group's entries up to start.index; later ones too, unless the log has start.index with the same
  // ballot.
  virtual void snapshot_mark(RangeId group, const SnapshotMarkRecord& mark) = 0;
  virtual void create_group(RangeId group, ReplicaId replica, std::string_view descriptor) = 0;
  virtual void tombstone_group(RangeId group, ReplicaId replica) = 0;

  // Position after the last record added. A record is durable once durable() >= the end() taken after adding
  // it.
  virtual LogPosition end() const = 0;
  virtual LogPosition durable() const = 0;
  // Starts the durable write of the filled batch unless one is under way (then it follows by itself).
  virtual void flush() = 0;
  // A durable write is under way.
  virtual bool writing() const = 0;

  // False while no room is prepared (disk full): callers refuse new writes; what was appended still fits.
  // Asking also makes the log try again in the background.
  virtual bool has_room() const = 0;
  // Groups whose entries keep the oldest segment alive although the log has more than `budget_bytes`; flush
  // their tablets.
  virtual std::vector<RangeId> pinning_groups(uint64_t budget_bytes) const = 0;
  virtual uint64_t live_bytes() const = 0;
  virtual const SharedLogMetrics& metrics() const = 0;
};

// For `cairnd dump log`: every record of one segment file as text lines, damage included.
Result<std::string> dump_log_segment(FileSystem& fs, const std::string& path);

}  // namespace cairn::storage
