// The LSM trees of a shard: one TabletStore (manifest, SSTable files, block cache) and one Tablet per
// replica.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/executor.h"
#include "base/metrics.h"
#include "base/result.h"
#include "base/types.h"
#include "storage/background_errors.h"
#include "storage/compaction/strategy.h"
#include "storage/compaction/tree_shape.h"
#include "storage/compression.h"
#include "storage/io/async_reader.h"
#include "storage/io/file_system.h"
#include "storage/io/io_pace.h"
#include "storage/io/paced_deleter.h"
#include "storage/row.h"
#include "storage/scrub_status.h"
#include "storage/write_batch.h"
#include "storage/write_pacer.h"

namespace cairn::storage {

// Where a tablet stands in its group's log. Stored with every flush; travels with snapshots.
struct AppliedPosition {
  LogIndex index;
  Term term;
  uint64_t time_ms = 0;          // leader-stamped time of the newest entry; never decreases
  uint64_t version_counter = 0;  // counter for versions of collections (part of the replicated state)
  friend bool operator==(const AppliedPosition&, const AppliedPosition&) = default;
};

// Answer of a lookup that may use memory only.
struct Lookup {
  enum class State : uint8_t { kFound, kAbsent, kNeedsDisk };
  State state = State::kAbsent;
  std::string_view value;           // kFound: valid until the next apply(), or while `pin` lives if it is set
  std::shared_ptr<const void> pin;  // what holds the value; null when that is the memtable
};

// A stretch of rows, in key order or against it. It ends with the prefix, or with the row that reaches one of the
// bounds.
struct RowPage {
  std::string prefix;
  std::string start_after;      // empty: from the first row of the prefix
  bool start_included = false;  // a row of exactly that key belongs to the page
  bool reverse = false;         // from the last row of the prefix, or the one below start_after, downwards
  uint64_t rows_max = ~0ull;
  uint64_t bytes_max = ~0ull;        // of keys and values as they are brought
  uint64_t value_bytes_max = ~0ull;  // longer values are cut to it
  // Of a row that is not wanted: a larger key to go on at, with no wanted row in between; empty: the row is wanted.
  // Null: all are. Runs on any thread. Going backwards such rows are passed one by one.
  std::string (*skip)(std::string_view key) = nullptr;

  bool before(std::string_view key) const { return !start_included && !start_after.empty() && key <= start_after; }
  // Does the row at `a` come before the one at `b`?
  bool in_order(std::string_view a, std::string_view b) const { return reverse ? a > b : a < b; }
  bool full(uint64_t rows, uint64_t bytes) const { return rows >= rows_max || bytes >= bytes_max; }
  std::string_view cut(std::string_view value) const {
    return value.substr(0, std::min<uint64_t>(value_bytes_max, value.size()));
  }
  // Where to go on instead of taking the row.
  std::string skipped_to(std::string_view key) const { return skip == nullptr ? std::string() : skip(key); }
};

// What to read from disk, in the background, from a version pinned when fetch() is called.
struct FetchRequest {
  std::vector<std::string> rows;
  std::vector<RowPage> prefixes;
  // If set: visits every live row of the tablet in key order (counts, scans); return false to stop. Runs on a
  // background thread in slices; it must not touch anything the loop owns.
  std::move_only_function<bool(std::string_view key, std::string_view value)> visit;
};
struct FetchResult {
  std::vector<std::optional<std::string>> rows;                            // as asked
  std::vector<std::vector<std::pair<std::string, std::string>>> prefixes;  // as asked, in key order
};

struct SnapshotFile {
  std::string name;  // inside the snapshot's directory
  uint64_t bytes = 0;
  uint64_t hash = 0;  // xxh3-64 of the whole file
};
// A consistent copy of one tablet: hard links in `dir`, described by `manifest` (opaque, goes to the receiver
// as it is).
struct Checkpoint {
  AppliedPosition position;
  std::string dir;
  std::vector<SnapshotFile> files;
  std::string manifest;
};

// What keeping rows in sorted runs costs, since the tablet was opened.
struct Amplification {
  uint64_t user_bytes = 0;           // keys and values of the operations applied; replayed ones too
  uint64_t flushed_bytes = 0;        // written by flushes
  uint64_t compacted_in_bytes = 0;   // of SSTables that compactions have used up
  uint64_t compacted_out_bytes = 0;  // written by compactions
  uint64_t reads = 0;                // lookups of one row that went beyond the memtables
  uint64_t runs_probed = 0;          // sorted runs that these had to search; a filter that says no saves it
  uint64_t total_bytes = 0;          // of SSTables
  uint64_t live_bytes = 0;           // estimate of what they would take without obsolete rows
  // Bytes written per byte of the user's, sorted runs per lookup, bytes on disk per live byte; 0: nothing to go by yet.
  double write() const { return ratio(flushed_bytes + compacted_out_bytes, user_bytes); }
  double read() const { return ratio(runs_probed, reads); }
  double space() const { return ratio(total_bytes, live_bytes); }
  void add(const Amplification& other) {
    user_bytes += other.user_bytes;
    flushed_bytes += other.flushed_bytes;
    compacted_in_bytes += other.compacted_in_bytes;
    compacted_out_bytes += other.compacted_out_bytes;
    reads += other.reads;
    runs_probed += other.runs_probed;
    total_bytes += other.total_bytes;
    live_bytes += other.live_bytes;
  }

 private:
  static double ratio(uint64_t a, uint64_t b) { return b == 0 ? 0 : static_cast<double>(a) / static_cast<double>(b); }
};

struct TabletStats {
  AppliedPosition applied;
  AppliedPosition flushed;
  uint64_t memtable_bytes = 0;  // mutable and sealed
  uint64_t sstables = 0;
  uint64_t runs = 0;
  uint64_t sstable_bytes = 0;
  uint64_t entries_estimate = 0;  // rows in SSTables and memtables, duplicates counted
  StrategyKind strategy = kDefaultStrategy;
  Compression compression = kDefaultCompression;
  bool compacting = false;          // a compaction is under way
  uint64_t full_compaction_at = 0;  // log index up to which one on request takes everything; 0: none was asked for
  Amplification amplification;
  bool corrupt = false;    // checksums of its files show damage
  std::string corruption;  // what and where
  TabletHealth health;
};

// What a store is like at the moment.
struct StoreGauges {
  TreeShape tree;           // of all tablets together
  uint64_t temp_bytes = 0;  // of tables that compactions have written and not installed yet
  // Over RecentRates::kWindow.
  double recent_write_amplification = 0;
  double compaction_bytes_per_second = 0;
  uint64_t io_rate = 0;                                       // bytes a second that compactions may move; see IoPace
  bool io_limited = false;                                    // at the moment: reads from the device are waited for
  uint64_t cache_packed_bytes = 0, cache_unpacked_bytes = 0;  // of the block cache, by the form of its blocks
};

struct TabletStoreOptions {
  uint64_t memtable_bytes = 64u << 20;          // a tablet seals its memtable above this
  uint64_t memtable_budget_bytes = 256u << 20;  // of all tablets of the shard: above it the largest is sealed
  uint64_t block_cache_bytes = 64u << 20;
  uint64_t hot_row_bytes = 4u << 20;  // for single rows that are read often; 0: none are kept
  uint32_t block_bytes = 2u << 10;    // raw size at which a block is closed
  uint32_t filter_bits_per_key = 10;
  Compression compression = kDefaultCompression;  // of tablets that are not told otherwise
  StrategyKind strategy = kDefaultStrategy;       // of tablets that are not told otherwise
  CompactionOptions compaction;
  uint64_t scrub_bytes_per_second = 32u << 20;    // read at most by a scrub
  uint64_t delete_bytes_per_second = 512u << 20;  // of SSTables, unlinked at most; 0: at once. See PacedDeleter
  IoPaceOptions io;                               // of compactions
  RowExpiry expiry = nullptr;                     // null: no row is ever dead by itself
};

// Of memtable_budget_bytes; see TabletStore::has_memory().
inline constexpr uint64_t kMemtableLimit = 2;

// Why memtables could not be written out.
enum class FlushStall : uint8_t { kNoSpace, kError };

struct TabletStoreMetrics {
  Counter user_bytes;  // see Amplification
  Counter flushes, compactions, bytes_flushed, bytes_compacted_in, bytes_compacted_out;
  struct Moved {
    Counter read, written;  // bytes
  };
  // What compactions have moved, by strategy and cause.
  std::array<std::array<Moved, std::size(kCompactionCauses)>, std::size(kStrategyKinds)> moved;
  Counter io_waits, io_wait_ns;   // of compactions, for their turn at the device
  Counter compaction_ns;          // in which one was under way
  DurationHistogram flush_time;   // of one memtable, from the first byte until it is in the manifest
  std::array<Counter, 2> stalls;  // by FlushStall
  Counter hot_row_hits, hot_row_misses;
  Counter cache_hits, cache_packed_hits, cache_misses;  // of blocks; packed ones are among the hits
  Counter disk_fetches, filter_negatives;
  Counter page_hits, page_misses;  // of the misses: blocks that the kernel had in memory, or had not
  Counter filter_true_positives, filter_false_positives;  // runs that a filter let a lookup search
  CountHistogram runs_touched;                            // of a lookup that went beyond the memtables
  Counter corrupt_blocks;
  Counter scrubs;  // that were complete
  Counter scrubbed_bytes, scrub_errors;
};

class CachedReader;
class Tablet;

// Thread safety: on the loop of the owner; flushes, compactions and fetches run on the background executor
// and come back through `loop`. Ownership: owns its tablets; a Tablet* is valid until drop() or the store
// dies.
class TabletStore {
 public:
  struct Environment {
    FileSystem* fs;
    BackgroundExecutor* background;
    Executor* loop;
    const Clock* clock;
    AsyncReader* reader = nullptr;  // of rows that are not in memory; null: background threads read them. Outlives it
    CachedReader* cached_reader = nullptr;  // of blocks that the kernel has in memory; null: a plain one. Outlives it
    // Called when a flush is ready to enter the manifest: an SSTable never holds an index that the local log
    // has not made durable. Must call back (now or later) once the log of `range` is durable up to `index`.
    std::function<void(RangeId range, LogIndex index, Task when_durable)> wait_log_durable;
    // A flush has found no space. True: some was made, it is worth trying again at once. May be empty.
    std::function<bool()> on_no_space;
    std::function<void(RangeId range)> on_flushed;                   // flushed() has moved: the log may be compacted
    std::function<void(RangeId range, const Error&)> on_corruption;  // the replica must stop voting and serving
    std::function<void(const Error&)> on_fatal;                      // manifest write failed: stop the process
  };

  // `manifest_dir` = DATA/shard-N, `sst_dir` = DATA/sst, `snap_dir` = DATA/snap. Reads the manifest; does not
  // delete anything before collect_garbage().
  static Result<std::unique_ptr<TabletStore>> open(Environment env, const std::string& manifest_dir,
                                                   const std::string& sst_dir, const std::string& snap_dir,
                                                   TabletStoreOptions options);
  virtual ~TabletStore() = default;

  virtual std::vector<RangeId> tablets() const = 0;
  virtual Tablet* find(RangeId range) = 0;
  // One durable manifest edit; returns the tablet if it exists. kUnavailable: a snapshot that is being installed, a
  // split or a merge makes it just now.
  virtual Result<Tablet*> create(RangeId range) = 0;
  // One durable manifest edit; files go when unreferenced. Installations under way for the range end with kUnavailable,
  // however far they are. kUnavailable: a split or merge that concerns the range is under way.
  virtual Result<void> drop(RangeId range) = 0;

  // Replaces the whole content of `range` (created if needed) by the files of a received snapshot in `dir`,
  // verified against `manifest` before. Redone at recovery when the log's snapshot mark says so.
  // Asynchronous: verification and linking run in the background, `done` on the loop. kUnavailable: the range was
  // dropped meanwhile, replaced by another installation, or is being split or merged. After an error nothing has
  // changed, unless the manifest could not be written: that is final.
  virtual void install(RangeId range, const std::string& dir, const std::string& manifest,
                       const AppliedPosition& position, std::move_only_function<void(Result<void>)> done) = 0;
  // The same while the node starts, before any loop runs.
  virtual Result<void> install_now(RangeId range, const std::string& dir, const std::string& manifest,
                                   const AppliedPosition& position) = 0;
  // While the node starts: what `range` (created if needed) held up to `position` cannot be had; `damage` says why.
  // Like a tablet with damaged SSTables it serves and writes nothing until a snapshot is installed. Not stored: the
  // next start finds out again.
  virtual Result<void> condemn(RangeId range, const AppliedPosition& position, const Error& damage) = 0;

  // Has files in sst/ that no tablet references unlinked, as remove_snapshot() does. Call once, after the log was
  // recovered and snapshots redone.
  virtual Result<void> collect_garbage() = 0;

  // Two tablets in the place of one: `left` gets what lies below `key` (not empty), `right` the rest. One durable
  // manifest edit; no row is written anew. Either may take over the parent's id, else they must not exist; the Tablet
  // of the parent dies. Both stand where the parent stood and inherit its strategy. Files with rows of both get a
  // second name, and what a tablet does not use of one is given back by compactions, see SpaceOptions. A child may be
  // split again at once.
  //
  // Asynchronous: what is in memory is flushed first, `done` runs on the loop. From the call until then whatever would
  // apply, create, install or drop something under these ids is refused with kUnavailable, another split or merge too.
  // Sequences are those of the parent: the log of a child must begin above the parent's applied index. Errors leave all
  // as it was: kNotFound, kAlreadyExists, kInvalidArgument, kNoSpace, kCorruption (reported like any other).
  virtual void split(RangeId parent, std::string_view key, RangeId left, RangeId right,
                     std::move_only_function<void(Result<void>)> done) = 0;
  // The other way round: `left` holds only rows below `key`, `right` only others. The log of `merged` must begin above
  // the applied index of both. kUnavailable: a deleted prefix of one reaches over to the other's keys;
  // Tablet::compact() takes it away where nothing keeps it.
  virtual void merge(RangeId left, RangeId right, std::string_view key, RangeId merged,
                     std::move_only_function<void(Result<void>)> done) = 0;

  // Unlinks a directory below snap/ in the background, at the rate of SSTables: its links may be the last.
  virtual void remove_snapshot(const std::string& dir) = 0;

  // False while a flush could not get space: new writes are refused with MISCONF until true again.
  virtual bool has_room() const = 0;
  // False while flushes lag: the memtables take kMemtableLimit times memtable_budget_bytes, and some of them wait to be
  // written. New writes wait until on_flushed finds it true again.
  virtual bool has_memory() const = 0;
  virtual uint64_t memtable_bytes() const = 0;
  // What to pace writes by, so that has_memory() stays true.
  virtual WritePressure write_pressure() const = 0;
  // For every tablet, present and future, from its next compaction on. Not stored: the owner says it again after
  // opening.
  virtual void set_strategy(StrategyKind kind) = 0;
  virtual StrategyKind strategy() const = 0;
  // Likewise, from the next flush or compaction on.
  virtual void set_compression(Compression compression) = 0;
  virtual Compression compression() const = 0;
  virtual Amplification amplification() const = 0;  // of all tablets together; counts never go down
  // For a look now and then: looks at every table that has changed since the last time.
  virtual StoreGauges gauges() = 0;
  virtual const TabletStoreMetrics& metrics() const = 0;

  // Reads every SSTable of these tablets from the device, at low priority and at a bounded rate, and checks it. Damage
  // is reported as a read that meets it does. False: a scrub is under way.
  virtual bool scrub(const std::vector<RangeId>& ranges) = 0;
  virtual bool cancel_scrub() = 0;  // false: none is under way
  virtual void set_scrub_rate(uint64_t bytes_per_second) = 0;
  virtual void set_delete_rate(uint64_t bytes_per_second) = 0;
  virtual const PacedDeleter& deleter() const = 0;
  virtual const ScrubStatus& scrub_status() const = 0;  // of the newest one
};

class Tablet {
 public:
  virtual ~Tablet() = default;

  // Applies the operations of one committed entry. Requires position.index > applied().index. An entry at or
  // below the flushed index is ignored (replay). The operations' bytes are copied. Malformed bytes:
  // kCorruption, nothing applied.
  virtual Result<void> apply(const AppliedPosition& position, std::string_view operations) = 0;
  virtual const AppliedPosition& applied() const = 0;
  virtual const AppliedPosition& flushed() const = 0;

  // Newest committed value of a row, from memory only: memtables, filters, cached blocks, pages the kernel
  // holds.
  virtual Lookup get(std::string_view row_key) = 0;
  // Hints that get() will be called soon for a row with this hash64(): first for the place where it is looked up, some
  // rows later, when that has come, for the row.
  virtual void expect_place(uint64_t hash) const = 0;
  virtual void expect_row(uint64_t hash) const = 0;
  // Visits the rows with this prefix in key order from memory only. False if some block would have to come
  // from disk (nothing useful was visited then). `visit` returns false to stop early.
  virtual bool scan(std::string_view prefix, std::string_view start_after,
                    const std::function<bool(std::string_view key, std::string_view value)>& visit) = 0;
  // Visits the rows of a page, from memory only. False if some block would have to come from disk, or if the way there
  // is longer than a loop should go (rows that were deleted count); what was visited then may be any part of the page.
  virtual bool scan(const RowPage& page,
                    const std::function<bool(std::string_view key, std::string_view value)>& visit) = 0;
  // Reads from disk in the background; `done` runs on the loop. kCorruption if the replica's files are
  // damaged.
  virtual void fetch(FetchRequest request, std::move_only_function<void(Result<FetchResult>)> done) = 0;

  // Seals the memtable and writes it out in the background. Harmless when there is nothing to flush or one is
  // under way.
  virtual void flush() = 0;
  // Flushes, then merges everything that was there at the call, however the strategy stands to it: into one sorted run,
  // under time windows into one for each of them. It takes the place of the strategy's compactions meanwhile. What is
  // asked for while one is under way begins after it. `done` on the loop.
  virtual void compact(std::move_only_function<void(Result<void>)> done) = 0;
  // Flushes, then hard-links every live file into a fresh directory below snap/. The caller removes the
  // directory.
  virtual void checkpoint(std::move_only_function<void(Result<Checkpoint>)> done) = 0;
  // A file of a checkpoint (SnapshotFile::name) is not what it was when that was made. Reads it in the background as a
  // scrub does, if the tablet still has it; damage is reported likewise.
  virtual void examine(const std::string& file) = 0;

  // Takes in files that IngestFile (storage/sstable/ingest_file.h) has built, as one entry of the log at `position`:
  // their rows are newer than all that was applied before. Hard links are made; the files themselves stay the caller's,
  // who keeps them, durably and by these names, until flushed() has come to `position`: replay takes them in again.
  // Nothing may be applied until `done` was called, on the loop; apply() says kUnavailable. At or below applied():
  // nothing to do (replay). kInvalidArgument: the files overlap each other, are empty or have deleted prefixes;
  // kCorruption: one is damaged. After an error nothing has changed.
  virtual void ingest(const AppliedPosition& position, std::vector<std::string> paths,
                      std::move_only_function<void(Result<void>)> done) = 0;

  virtual TabletStats stats() const = 0;
  virtual TreeShape shape() = 0;  // for a look now and then
  // False while its memtables cannot be written out, for whatever reason; the owner takes no new writes then. What is
  // committed already may be applied.
  virtual bool writable() const = 0;
  // From the next compaction on; what the strategy before has left is taken up as it is. See
  // TabletStore::set_strategy().
  virtual void set_strategy(StrategyKind kind) = 0;
  // From the next flush or compaction on. With kZstd only what a compaction writes as the oldest run is compressed so;
  // flushes, and what will soon be merged again, are with kLz4.
  virtual void set_compression(Compression compression) = 0;
  // What strategies see, newest run first. For the admin API and tests.
  virtual std::vector<SstableInfo> tables() const = 0;
};

// For `cairnd dump sst|manifest`.
Result<std::string> dump_sstable(FileSystem& fs, const std::string& path, bool rows);
Result<std::string> dump_manifest(FileSystem& fs, const std::string& path);

}  // namespace cairn::storage
