#include "storage/compaction/runs.h"

#include <algorithm>
#include <cstdio>

namespace cairn::storage {
namespace {

// Where a span ends, or whether it does at all.
bool ends_before(const std::string& end, const std::string& begin) { return !end.empty() && end <= begin; }

struct Hull {
  std::string begin, end;
  bool any = false;
  void add(const SstableInfo& table) {
    if (!any) {
      begin = table.span_begin;
      end = table.span_end;
      any = true;
      return;
    }
    begin = std::min(begin, table.span_begin);
    if (!end.empty()) end = table.span_end.empty() ? std::string() : std::max(end, table.span_end);
  }
  bool touches(const SstableInfo& table) const {
    return any && !ends_before(table.span_end, begin) && !ends_before(end, table.span_begin);
  }
};

bool add_touched(const LsmView& view, std::span<const SstableInfo> run, const Hull& hull,
                 std::vector<const SstableInfo*>& chosen, uint64_t& bytes, bool& busy) {
  bool grown = false;
  for (const SstableInfo& table : run) {
    if (!hull.touches(table) || std::ranges::find(chosen, &table) != chosen.end()) continue;
    busy = busy || is_busy(view, table.id);
    chosen.push_back(&table);
    bytes += table.bytes;
    grown = true;
  }
  return grown;
}

}  // namespace

bool spans_overlap(const SstableInfo& a, const SstableInfo& b) {
  return !ends_before(a.span_end, b.span_begin) && !ends_before(b.span_end, a.span_begin);
}

std::vector<RunView> runs_of(const LsmView& view) {
  std::vector<RunView> runs;
  for (size_t i = 0; i < view.tables.size(); ++i) {
    const SstableInfo& table = view.tables[i];
    if (runs.empty() || runs.back().number != table.run) {
      RunView& fresh = runs.emplace_back();
      fresh.number = table.run;
      fresh.level = table.level;
      fresh.tables = view.tables.subspan(i, 0);
    }
    RunView& run = runs.back();
    run.tables = {run.tables.data(), run.tables.size() + 1};
    run.level = std::min(run.level, table.level);
    run.bytes += table.bytes;
    run.entries += table.entries;
    run.busy = run.busy || is_busy(view, table.id);
    run.min_time_ms = std::min(run.min_time_ms, table.min_time_ms);
    run.max_time_ms = std::max(run.max_time_ms, table.max_time_ms);
  }
  return runs;
}

void add_ids(const RunView& run, std::vector<uint64_t>& ids) {
  for (const SstableInfo& table : run.tables) ids.push_back(table.id);
}

bool is_busy(const LsmView& view, uint64_t id) { return std::ranges::find(view.busy, id) != view.busy.end(); }

std::string megabytes(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  return text;
}

double droppable_ratio(const SstableInfo& table, uint64_t now_ms) {
  if (table.entries == 0) return table.tombstones > 0 ? 1 : 0;
  auto droppable = static_cast<double>(table.tombstones);
  if (table.expiring > 0 && now_ms > table.min_expiry_ms) {
    const auto span = static_cast<double>(table.max_expiry_ms - table.min_expiry_ms + 1);
    const double share = std::min(1.0, static_cast<double>(now_ms - table.min_expiry_ms) / span);
    droppable += share * static_cast<double>(table.expiring);
  }
  return std::min(1.0, droppable / static_cast<double>(table.entries));
}

CompactionPlan merge_runs(const std::vector<RunView>& runs, const RunMerge& merge, uint64_t table_bytes_max) {
  CompactionPlan plan;
  uint64_t bytes = 0;
  for (size_t i = merge.begin; i < merge.begin + merge.count; ++i) {
    bytes += runs[i].bytes;
    add_ids(runs[i], plan.inputs);
  }
  plan.output_run = runs[merge.begin].number;
  plan.output_table_bytes_max = table_bytes_max;
  plan.cause = merge.cause;
  plan.reason = merge.why + ", " + megabytes(bytes);
  return plan;
}

uint64_t pending_merges(std::vector<RunView> runs, const NextMerge& next) {
  uint64_t bytes = 0;
  while (const auto merge = next(runs)) {
    const auto first = runs.begin() + static_cast<ptrdiff_t>(merge->begin);
    const auto last = first + static_cast<ptrdiff_t>(merge->count);
    for (auto run = std::next(first); run != last; ++run) {
      first->bytes += run->bytes;
      first->entries += run->entries;
      first->min_time_ms = std::min(first->min_time_ms, run->min_time_ms);
      first->max_time_ms = std::max(first->max_time_ms, run->max_time_ms);
      // Neighbours lie side by side in the view.
      first->tables = {first->tables.data(), first->tables.size() + run->tables.size()};
    }
    bytes += first->bytes;
    runs.erase(std::next(first), last);
  }
  return bytes;
}

bool close_over(const LsmView& view, std::span<const SstableInfo> upper_run, std::span<const SstableInfo> lower_run,
                TableSet& set) {
  bool busy = false;
  for (bool grown = true; grown;) {
    grown = false;
    Hull upper, both;
    for (const auto* table : set.upper) upper.add(*table);
    grown = add_touched(view, upper_run, upper, set.upper, set.upper_bytes, busy);
    for (const auto* table : set.upper) both.add(*table);
    for (const auto* table : set.lower) both.add(*table);
    grown = add_touched(view, lower_run, both, set.lower, set.lower_bytes, busy) || grown;
  }
  return !busy;
}

// A run's tables between the ends of what was taken above go along; those beside it cannot have a version of any key
// that is taken.
std::optional<DownSet> with_all_below(const LsmView& view, const std::vector<RunView>& runs, size_t first,
                                      const SstableInfo& table) {
  DownSet set;
  Hull hull;
  hull.add(table);
  for (size_t i = first; i < runs.size(); ++i) {
    const RunView& run = runs[i];
    const size_t before = set.inputs.size();
    Hull grown = hull;
    for (const SstableInfo& info : run.tables) {
      if (!hull.touches(info)) continue;
      if (is_busy(view, info.id)) return std::nullopt;
      grown.add(info);
      set.inputs.push_back(info.id);
      set.bytes += info.bytes;
      set.entries += info.entries;
      set.tombstones += info.tombstones;
      set.passed += info.passed;
    }
    hull = grown;
    if (set.inputs.size() == before) continue;
    set.run = run.number;
    set.level = run.level;
    ++set.runs;
  }
  return set;
}

CompactionPlan merge_down(const DownSet& set, CompactionCause cause, const std::string& why) {
  CompactionPlan plan;
  plan.cause = cause;
  plan.inputs = set.inputs;
  plan.output_run = set.run;
  plan.output_level = set.level;
  plan.output_table_bytes_max = ~0ull;
  plan.down = true;
  plan.reason = why + ", with all below, " + megabytes(set.bytes);
  return plan;
}

}  // namespace cairn::storage
