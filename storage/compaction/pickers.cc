#include "storage/compaction/pickers.h"

#include <algorithm>

namespace cairn::storage {
namespace {

// Rewrites one table in its place. Deletions whose keys no older table may have go away.
std::optional<CompactionPlan> rewrite(const LsmView& view, const RunView& run, const SstableInfo& table,
                                      CompactionCause cause, const std::string& why) {
  TableSet set;
  set.upper = {&table};
  set.upper_bytes = table.bytes;
  if (!close_over(view, run.tables, {}, set)) return std::nullopt;
  CompactionPlan plan;
  for (const auto* input : set.upper) plan.inputs.push_back(input->id);
  plan.output_run = run.number;
  plan.output_level = run.level;
  plan.output_table_bytes_max = ~0ull;
  plan.cause = cause;
  plan.reason = why + ", " + megabytes(set.upper_bytes);
  return plan;
}

bool overlaps_older(const std::vector<RunView>& runs, size_t run, const SstableInfo& table) {
  for (size_t i = run + 1; i < runs.size(); ++i) {
    for (const SstableInfo& older : runs[i].tables) {
      if (spans_overlap(table, older)) return true;
    }
  }
  return false;
}

constexpr uint64_t kGainShare = 8;  // of what is written, that must be hoped for where space is low

std::string percent(double share) { return std::to_string(static_cast<int>(share * 100)) + " %"; }

}  // namespace

std::optional<CompactionPlan> drop_dead(const LsmView& view) {
  std::vector<const SstableInfo*> kept;
  CompactionPlan plan;
  uint64_t bytes = 0;
  for (auto it = view.tables.rbegin(); it != view.tables.rend(); ++it) {
    const bool dead = it->dead_from_ms <= view.now_ms && !is_busy(view, it->id);
    if (!dead || std::ranges::any_of(kept, [&](const auto* older) { return spans_overlap(*it, *older); })) {
      kept.push_back(&*it);
      continue;
    }
    plan.inputs.push_back(it->id);
    bytes += it->bytes;
  }
  if (plan.inputs.empty()) return std::nullopt;
  plan.kind = CompactionPlan::Kind::kDrop;
  plan.cause = CompactionCause::kExpired;
  plan.reason = std::to_string(plan.inputs.size()) + " tables of dead rows only, " + megabytes(bytes);
  return plan;
}

std::optional<CompactionPlan> shrink_dead(const LsmView& view, const std::vector<RunView>& runs) {
  for (const RunView& run : runs) {
    for (const SstableInfo& table : run.tables) {
      if (table.expiring == 0 || table.dead_from_ms > view.now_ms || is_busy(view, table.id)) continue;
      if (auto plan = rewrite(view, run, table, CompactionCause::kExpired, "a table of expired rows above older ones"))
        return plan;
    }
  }
  return std::nullopt;
}

std::optional<CompactionPlan> dense_tombstones(const LsmView& view, const std::vector<RunView>& runs,
                                               const TombstoneOptions& options) {
  for (size_t i = runs.size(); i-- > 0;) {
    for (const SstableInfo& table : runs[i].tables) {
      if (table.dense_tombstones < options.dense_min || is_busy(view, table.id)) continue;
      const double dense = static_cast<double>(table.dense_tombstones) / static_cast<double>(table.entries);
      if (dense < options.threshold) continue;
      const std::string why = "a table with " + percent(dense) + " of its rows in stretches of tombstones";
      const auto below = with_all_below(view, runs, i, table);
      if (!below) continue;
      if (below->inputs.size() == 1) {
        if (auto plan = rewrite(view, runs[i], table, CompactionCause::kTombstones, why)) return plan;
        continue;
      }
      // What goes pays for what has to be written again.
      const auto gone = static_cast<double>(below->tombstones);
      if (gone >= options.threshold * static_cast<double>(below->entries))
        return merge_down(*below, CompactionCause::kTombstones, why);
    }
  }
  return std::nullopt;
}

std::optional<CompactionPlan> space_pressure(const LsmView& view, const std::vector<RunView>& runs,
                                             const SpaceOptions& options) {
  if (view.free_bytes >= options.reserve_bytes || runs.empty()) return std::nullopt;
  size_t best = runs.size();
  uint64_t best_gain = 0, bytes = 0, tombstone_bytes = 0, largest = 0, room = 0;
  for (size_t begin = runs.size(); begin-- > 0 && !runs[begin].busy;) {
    uint64_t largest_table = 0;
    for (const SstableInfo& table : runs[begin].tables) {
      tombstone_bytes += table.bytes / std::max<uint64_t>(table.entries, 1) * table.tombstones;
      // What has left the table already goes with its file.
      tombstone_bytes += table.dead_bytes;
      largest_table = std::max(largest_table, table.bytes);
    }
    room += largest_table;
    if (room > view.free_bytes) break;
    bytes += runs[begin].bytes;
    largest = std::max(largest, runs[begin].bytes);
    // At best the largest has all keys, and every tombstone goes.
    const uint64_t gain = std::max(bytes - largest, tombstone_bytes);
    if (gain <= best_gain || gain < bytes / kGainShare) continue;
    best = begin;
    best_gain = gain;
  }
  if (best == runs.size()) return std::nullopt;
  CompactionPlan plan = merge_runs(runs, {best, runs.size() - best, CompactionCause::kSpace, "free space is low"}, 0);
  plan.output_level = runs.back().level;
  plan.output_run = runs.back().number;
  plan.down = plan.incremental = true;
  return plan;
}

std::optional<CompactionPlan> dead_view(const LsmView& view, const std::vector<RunView>& runs,
                                        const SpaceOptions& options) {
  for (const RunView& run : runs) {
    for (const SstableInfo& table : run.tables) {
      if (table.dead_bytes == 0 || is_busy(view, table.id)) continue;
      const double dead =
          static_cast<double>(table.dead_bytes) / static_cast<double>(std::max<uint64_t>(table.bytes, 1));
      if (dead < options.rewrite_share) continue;
      if (auto plan =
              rewrite(view, run, table, CompactionCause::kDeadView, "a table of which " + percent(dead) + " have left"))
        return plan;
    }
  }
  return std::nullopt;
}

std::optional<CompactionPlan> passed_in_vain(const LsmView& view, const std::vector<RunView>& runs,
                                             const ReadOptions& options) {
  constexpr size_t kTried = 4;  // tables: each may take a look at all others
  std::vector<const SstableInfo*> tables;
  for (const SstableInfo& table : view.tables) {
    if (table.passed > 0) tables.push_back(&table);
  }
  const size_t tried = std::min(kTried, tables.size());
  std::ranges::partial_sort(tables, tables.begin() + static_cast<ptrdiff_t>(tried), std::ranges::greater(),
                            &SstableInfo::passed);
  for (size_t i = 0; i < tried; ++i) {
    const auto set = with_all_below(view, runs, 0, *tables[i]);
    if (!set || set->passed < options.rows_min) continue;
    if (static_cast<double>(set->passed) < options.price * static_cast<double>(set->entries)) continue;
    if (set->runs < 2 && set->tombstones == 0) continue;  // nothing would be better
    return merge_down(*set, CompactionCause::kReads,
                      "scans have passed " + std::to_string(set->passed) + " rows in vain");
  }
  return std::nullopt;
}

std::optional<CompactionPlan> old_tombstones(const LsmView& view, const std::vector<RunView>& runs,
                                             const TombstoneOptions& options) {
  for (size_t i = runs.size(); i-- > 0;) {
    for (const SstableInfo& table : runs[i].tables) {
      const double ratio = droppable_ratio(table, view.now_ms);
      if (ratio < options.threshold || view.now_ms < table.max_time_ms + options.interval_ms) continue;
      if (is_busy(view, table.id)) continue;
      const std::string why = "a table with " + percent(ratio) + " dead rows";
      if (!overlaps_older(runs, i, table)) {
        if (auto plan = rewrite(view, runs[i], table, CompactionCause::kTombstones, why)) return plan;
        continue;
      }
      TableSet set;
      set.upper = {&table};
      if (!close_over(view, runs[i].tables, runs[i + 1].tables, set)) continue;
      CompactionPlan plan;
      if (set.lower.empty()) plan.kind = CompactionPlan::Kind::kMove;
      for (const auto* input : set.upper) plan.inputs.push_back(input->id);
      for (const auto* input : set.lower) plan.inputs.push_back(input->id);
      plan.output_run = runs[i + 1].number;
      plan.output_level = runs[i + 1].level;
      plan.output_table_bytes_max = ~0ull;
      plan.cause = CompactionCause::kTombstones;
      plan.reason = why + ", onto the run below";
      return plan;
    }
  }
  return std::nullopt;
}

}  // namespace cairn::storage
