// Compaction strategies are pure functions from a description of a tablet to a task, or nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "storage/compaction/options.h"

namespace cairn::storage {

struct SstableInfo {
  uint64_t id = 0;   // unique per node
  uint64_t run = 0;  // tables of one sorted run share it; of two versions of a key the one in the higher run is newer
  uint32_t level = 0;
  std::string smallest;  // no row before it belongs to the tablet, even if the file has one (see `trimmed`)
  std::string largest;   // last row key, inside
  uint64_t bytes = 0;
  uint64_t entries = 0;
  uint64_t tombstones = 0;  // point and prefix
  SequenceNumber min_sequence;
  SequenceNumber max_sequence;
  uint64_t min_time_ms = 0;  // write times of the entries
  uint64_t max_time_ms = 0;
  // What a split has left of the file: nothing outside of [begin, end) belongs to the tablet, neither a row nor a
  // deleted prefix. Empty: open. The counts above are the whole file's.
  std::string begin;
  std::string end;
  bool shared = false;    // another tablet had the rest of the file then
  bool ingested = false;  // all of its rows count as written at max_sequence and max_time_ms, whatever the file says
  bool bounded() const { return shared || !begin.empty() || !end.empty(); }

  // Not in the manifest: found when the file is opened.
  uint64_t passed = 0;            // rows that scans have passed in vain there: see ReadOptions
  uint64_t dense_tombstones = 0;  // point tombstones in blocks of which they are at least three quarters of the rows
  uint64_t dead_bytes = 0;        // of `bytes`, about: of rows that have left
  bool trimmed = false;           // rows below `smallest` have left the table
  uint64_t expiring = 0;          // rows that are dead from a time of their own on
  uint64_t min_expiry_ms = 0;     // of these
  uint64_t max_expiry_ms = 0;
  uint64_t dead_from_ms = ~0ull;  // from then on every row is dead or a tombstone; ~0: never
  std::string span_begin;         // first key that a row or a deleted prefix of the table may concern
  std::string span_end;           // first key behind them; empty: there is none
};

// Of a data block: is it a stretch in which a scan finds next to nothing?
inline bool is_dense(uint64_t rows, uint64_t tombstones) { return tombstones > 0 && tombstones * 4 >= rows * 3; }

// May two tables say something about the same key?
bool spans_overlap(const SstableInfo& a, const SstableInfo& b);

struct LsmView {
  std::span<const SstableInfo> tables;  // newest run first; within a run by smallest key
  std::span<const uint64_t> busy;       // ids that are inputs of a compaction under way
  uint64_t now_ms = 0;                  // newest applied entry time: the tablet's own clock
  uint64_t free_bytes = ~0ull;          // on the disk; ~0: not known
};

// What a compaction is for: metrics tell them apart.
enum class CompactionCause : uint8_t {
  kSize,        // runs of similar size, too many of them, or a level above its share
  kWindow,      // runs of one time window
  kSpace,       // obsolete rows above the goal, or a disk that gets full
  kExpired,     // tables of expired rows
  kTombstones,  // tables with many deletions
  kDeadView,    // tables of which much has left
  kReads,       // rows that scans pass in vain
  kRequest,     // asked for
};
inline constexpr CompactionCause kCompactionCauses[] = {
    CompactionCause::kSize,       CompactionCause::kWindow,   CompactionCause::kSpace, CompactionCause::kExpired,
    CompactionCause::kTombstones, CompactionCause::kDeadView, CompactionCause::kReads, CompactionCause::kRequest};
std::string_view to_string(CompactionCause cause);  // "size", "window", ...

struct CompactionPlan {
  enum class Kind : uint8_t {
    kMerge,  // write the inputs anew
    kMove,   // the inputs get another run and level; nothing is written
    kDrop,   // the inputs go: all their rows are dead and hide nothing
  };
  Kind kind = Kind::kMerge;
  // Requires: for every key, the versions in the inputs are neighbours in age, and newer than those in any run below
  // `output_run`.
  std::vector<uint64_t> inputs;
  uint64_t output_run = 0;
  uint32_t output_level = 0;
  uint64_t output_table_bytes_max = 0;  // a new table of the same run starts above this size
  // Every table is committed as soon as it is full, and what it holds leaves the inputs. Requires: whole runs, or
  // `down`.
  bool incremental = false;
  std::string from;   // what was done of it goes up to this key; the executor's
  bool down = false;  // the inputs are all that lies below any of them, and the output goes to the oldest of their runs
  std::string_view strategy;  // whose pick it is
  CompactionCause cause = CompactionCause::kSize;
  std::string reason;  // for logs, the admin API and golden files
};

// Thread safety: stateless.
class CompactionStrategy {
 public:
  virtual ~CompactionStrategy() = default;
  virtual std::string_view name() const = 0;
  // Never names a busy table.
  virtual std::optional<CompactionPlan> pick(const LsmView& view) const = 0;
  // About what its picks would read, one after the other from here on, until nothing is picked any more.
  virtual uint64_t pending_bytes(const LsmView& view) const = 0;
  // So many of the newest runs are what flushes have left and nothing was merged with yet: level 0, the newest bucket
  // of similar sizes, or the newest window.
  virtual size_t tier0_runs(const LsmView& view) const = 0;
  // The windows that memtables and flushes are to be split by; 0: they are not.
  virtual uint64_t window_ms() const { return 0; }
};

// The strategy alone.
std::unique_ptr<CompactionStrategy> make_size_tiered(const SizeTieredOptions& options, std::string_view name = "stcs");
std::unique_ptr<CompactionStrategy> make_leveled(const LeveledOptions& options);
std::unique_ptr<CompactionStrategy> make_time_window(const TimeWindowOptions& options);

// A strategy as tablets run it: first what is wholly dead goes, then the strategy picks, then tables with many
// tombstones are taken. Any strategy takes up what any other has left. Requires: valid options.
std::unique_ptr<CompactionStrategy> make_strategy(StrategyKind kind, const CompactionOptions& options);

// Compaction on request, in parts: the next of them, over whole runs whose tables were all there when it was asked for.
// Nothing: it is done. Under time windows every window is a run of its own. `asked`: ids, sorted. Requires: valid
// options.
inline constexpr std::string_view kFullCompaction = "full";  // CompactionPlan::strategy
std::optional<CompactionPlan> pick_full(const LsmView& view, std::span<const uint64_t> asked, StrategyKind kind,
                                        const CompactionOptions& options);

}  // namespace cairn::storage
