// Compaction on request: what was there when it was asked for becomes as few sorted runs as the strategy allows.
#include <algorithm>

#include "storage/compaction/runs.h"

namespace cairn::storage {
namespace {

bool asked_for(const RunView& run, std::span<const uint64_t> asked) {
  return !run.busy && std::ranges::all_of(run.tables, [&](const SstableInfo& table) {
    return std::ranges::binary_search(asked, table.id);
  });
}

// One run alone: is there anything in it that goes by being written anew?
bool has_waste(const RunView& run, uint64_t now_ms) {
  return std::ranges::any_of(run.tables, [&](const SstableInfo& table) {
    return table.dead_bytes > 0 || table.trimmed || table.tombstones > 0 ||
           (table.expiring > 0 && table.min_expiry_ms <= now_ms);
  });
}

}  // namespace

std::optional<CompactionPlan> pick_full(const LsmView& view, std::span<const uint64_t> asked, StrategyKind kind,
                                        const CompactionOptions& options) {
  // A window goes as a whole, so windows are not mixed.
  const auto part_of = [&](const RunView& run) {
    return kind == StrategyKind::kTwcs ? run.max_time_ms / options.twcs.window_ms : 0;
  };
  const std::vector<RunView> runs = runs_of(view);
  for (size_t end = runs.size(); end > 0;) {  // the oldest first: what it loses need not be hidden any longer
    size_t begin = end - 1;
    if (!asked_for(runs[begin], asked)) {
      end = begin;
      continue;
    }
    while (begin > 0 && asked_for(runs[begin - 1], asked) && part_of(runs[begin - 1]) == part_of(runs[end - 1])) {
      --begin;
    }
    const size_t count = end - begin;
    const bool misplaced = kind == StrategyKind::kLcs && runs[begin].level == 0;
    if (count > 1 || misplaced || has_waste(runs[begin], view.now_ms)) {
      const std::string why = std::to_string(count) + (count == 1 ? " run" : " runs") + " on request";
      CompactionPlan plan =
          merge_runs(runs, {begin, count, CompactionCause::kRequest, why}, options.table_bytes_max(kind));
      plan.incremental = true;
      plan.strategy = kFullCompaction;
      if (kind == StrategyKind::kLcs) plan.output_level = kLastLevel;
      return plan;
    }
    end = begin;
  }
  return std::nullopt;
}

}  // namespace cairn::storage
