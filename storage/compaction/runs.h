// A view of a tablet by runs, and what strategies ask about it. Internal to storage/compaction/.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "storage/compaction/strategy.h"

namespace cairn::storage {

// Of leveled compaction: the oldest run is there, and its size tells where the levels above begin.
inline constexpr uint32_t kLastLevel = 6;

struct RunView {
  uint64_t number = 0;
  uint32_t level = 0;  // the lowest of its tables
  uint64_t bytes = 0;
  uint64_t entries = 0;
  bool busy = false;
  uint64_t min_time_ms = ~0ull;
  uint64_t max_time_ms = 0;
  std::span<const SstableInfo> tables;
};

std::vector<RunView> runs_of(const LsmView& view);  // newest first
void add_ids(const RunView& run, std::vector<uint64_t>& ids);
bool is_busy(const LsmView& view, uint64_t id);
std::string megabytes(uint64_t bytes);

// Rows that a compaction at `now_ms` may drop if nothing older lies below, as a share of all.
double droppable_ratio(const SstableInfo& table, uint64_t now_ms);

// A merge of adjacent runs [begin, begin + count) into one of level 0.
struct RunMerge {
  size_t begin = 0, count = 0;
  CompactionCause cause = CompactionCause::kSize;
  std::string why;
};
CompactionPlan merge_runs(const std::vector<RunView>& runs, const RunMerge& merge, uint64_t table_bytes_max);

// What a strategy of such merges would read until it has no next one, if what is merged keeps its size. Requires:
// every merge has two runs at least.
using NextMerge = std::function<std::optional<RunMerge>(const std::vector<RunView>&)>;
uint64_t pending_merges(std::vector<RunView> runs, const NextMerge& next);

// Tables of two neighbouring runs that may be merged without anything between them, or left out on either side:
// adds to `upper` and `lower` what overlaps. False: one of them is busy.
struct TableSet {
  std::vector<const SstableInfo*> upper, lower;
  uint64_t upper_bytes = 0, lower_bytes = 0;
};
bool close_over(const LsmView& view, std::span<const SstableInfo> upper_run, std::span<const SstableInfo> lower_run,
                TableSet& set);

// What may have keys of a table in the runs from runs[first] on, in the runs below keys of those, and so on: merged
// into the oldest of these runs it leaves no tombstone. nullopt: one of them is busy.
struct DownSet {
  std::vector<uint64_t> inputs;  // newest first
  uint64_t run = 0;              // the oldest
  uint32_t level = 0;
  uint64_t bytes = 0;
  uint64_t entries = 0;
  uint64_t tombstones = 0;
  uint64_t passed = 0;
  size_t runs = 0;
};
std::optional<DownSet> with_all_below(const LsmView& view, const std::vector<RunView>& runs, size_t first,
                                      const SstableInfo& table);
CompactionPlan merge_down(const DownSet& set, CompactionCause cause, const std::string& why);

}  // namespace cairn::storage
