// The compaction strategies by name, and what can be set about them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"

namespace cairn::storage {

enum class StrategyKind : uint8_t {
  kStcs,  // size-tiered
  kLcs,   // leveled
  kTwcs,  // time windows
  kIcs,   // incremental: size-tiered, in fragments, with a goal for space
};
inline constexpr StrategyKind kStrategyKinds[] = {StrategyKind::kStcs, StrategyKind::kLcs, StrategyKind::kTwcs,
                                                  StrategyKind::kIcs};
inline constexpr StrategyKind kDefaultStrategy = StrategyKind::kIcs;
std::string_view to_string(StrategyKind kind);                           // "stcs", "lcs", "twcs", "ics"
std::optional<StrategyKind> parse_strategy_kind(std::string_view name);  // nullopt: no such strategy

struct SizeTieredOptions {
  uint32_t min_threshold = 4;   // adjacent runs of similar size before they are compacted; [2, max_threshold]
  uint32_t max_threshold = 32;  // most runs of one compaction; bounds its temporary disk use
  double bucket_low = 0.5;      // a run is similar if its size is within [low, high] x the average of its bucket
  double bucket_high = 1.5;
  uint64_t min_run_bytes = 1u << 20;  // smaller runs all count as similar
  uint64_t table_bytes_max = 64u << 20;
  bool incremental = false;  // inputs shrink while the output grows
  double space_goal = 0;     // all runs / the largest, above which they are merged; 0: no goal
  Result<void> validate() const;
};

// Size-tiered over runs of fragments: little temporary space, and a bound on obsolete data.
struct IncrementalOptions : SizeTieredOptions {
  IncrementalOptions() {
    bucket_low = 0.7071;
    bucket_high = 1.4142;
    table_bytes_max = 128u << 20;
    incremental = true;
    space_goal = 1.25;
  }
};

struct LeveledOptions {
  uint32_t level0_runs = 4;          // flushed runs before they are merged into the first level
  uint32_t max_threshold = 32;       // most of them in one compaction
  uint32_t fan_out = 10;             // size of a level / size of the one above it
  uint64_t base_bytes = 256u << 20;  // most bytes of the first level that is in use
  uint64_t table_bytes_max = 64u << 20;
  Result<void> validate() const;
};

struct TimeWindowOptions {
  uint64_t window_ms = 86'400'000;
  uint64_t grace_ms = 60'000;   // a window is closed this long after its end
  uint32_t open_runs_max = 16;  // runs of the open window before some of them are merged
  uint32_t min_threshold = 4;   // late runs of a closed window before they are merged
  uint32_t max_threshold = 32;
  double late_share = 0.2;  // late bytes / bytes of the window's main run above which both are merged
  uint64_t table_bytes_max = 64u << 20;
  Result<void> validate() const;
};

// Of every strategy.
struct TombstoneOptions {
  double threshold = 0.2;             // tombstones and expired rows / rows, above which a table is worth a compaction
  uint64_t interval_ms = 86'400'000;  // ... once its newest row is this old
  // Tombstones in blocks that have little else, from which on the same share is reason enough, however new the table
  // is.
  uint64_t dense_min = 512;
};

// Scans pass rows in vain: tombstones, versions that a newer run hides, and, of short ones, the runs beside the first.
// Once that has cost more than merging what lies there would, it is merged; so scans never cause more work than they
// did themselves.
struct ReadOptions {
  double price = 4;             // rows that were passed, for every row to be written again
  uint64_t rows_min = 1 << 14;  // passed, below which nothing is done
};

struct SpaceOptions {
  uint64_t reserve_bytes = 512ull << 20;  // free on the disk, below which whatever frees most comes first
  double rewrite_share = 0.3;             // of a table's bytes, whose rows have left: from then on it is rewritten
};

struct CompactionOptions {
  SizeTieredOptions stcs;
  LeveledOptions lcs;
  TimeWindowOptions twcs;
  IncrementalOptions ics;
  TombstoneOptions tombstones;
  ReadOptions reads;
  SpaceOptions space;
  Result<void> validate() const;
  uint64_t table_bytes_max(StrategyKind kind) const;
};

}  // namespace cairn::storage
