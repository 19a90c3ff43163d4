// Leveled compaction with sizes that follow the last level: level i may hold (size of the last) / fan_out^(last - i),
// flushes go to the first level whose share is at most base_bytes, and the levels above it stay empty. So all levels
// above the last together are a ninth of it at fan-out 10.
#include <algorithm>

#include "storage/compaction/runs.h"

namespace cairn::storage {
namespace {

// Any version by levels. Labels of tables count only where they grow with age: other strategies leave anything behind.
struct Levels {
  std::vector<RunView> runs;      // newest first
  size_t level0 = 0;              // so many of them are of level 0
  std::vector<uint32_t> numbers;  // levels of the others
  uint32_t base = kLastLevel;     // where level 0 goes
  std::vector<double> targets;    // bytes, of the others

  size_t count() const { return numbers.size(); }
  const RunView& at(size_t i) const { return runs[level0 + i]; }
};

Levels levels_of(const LsmView& view, const LeveledOptions& options) {
  Levels levels;
  levels.runs = runs_of(view);
  while (levels.level0 < levels.runs.size() && levels.runs[levels.level0].level == 0) ++levels.level0;
  uint32_t last = 0;
  uint64_t largest = 0;
  for (size_t i = levels.level0; i < levels.runs.size(); ++i) {
    last = std::max(last + 1, levels.runs[i].level);
    levels.numbers.push_back(last);
    largest = std::max(largest, levels.runs[i].bytes);
  }
  if (levels.numbers.empty()) return levels;
  auto share = static_cast<double>(largest);
  levels.base = last;
  while (levels.base > 1 && share > static_cast<double>(options.base_bytes)) {
    share /= options.fan_out;
    --levels.base;
  }
  levels.base = std::min(levels.base, levels.numbers.front());
  for (const uint32_t number : levels.numbers) {
    double target = static_cast<double>(largest);
    for (uint32_t i = number; i < last; ++i) target /= options.fan_out;
    levels.targets.push_back(std::max(target, static_cast<double>(options.table_bytes_max)));
  }
  return levels;
}

class Leveled final : public CompactionStrategy {
 public:
  explicit Leveled(const LeveledOptions& options) : options_(options) {}
  std::string_view name() const override { return "lcs"; }

  std::optional<CompactionPlan> pick(const LsmView& view) const override {
    const Levels levels = levels_of(view, options_);
    if (auto plan = adopt(levels)) return plan;
    double best = static_cast<double>(levels.level0) / options_.level0_runs;
    std::optional<size_t> worst;  // the fullest level; none: level 0
    for (size_t i = 0; i + 1 < levels.count(); ++i) {
      const double fill = static_cast<double>(levels.at(i).bytes) / levels.targets[i];
      if (fill <= 1 || fill <= best) continue;
      best = fill;
      worst = i;
    }
    if (worst) {
      if (auto plan = push_down(view, levels, *worst)) return plan;
    }
    if (levels.level0 >= options_.level0_runs) return from_level0(view, levels);
    return std::nullopt;
  }
  // What is above a level's share goes down, and meets as much of the next level as there is to its own; what came from
  // above goes on with it.
  uint64_t pending_bytes(const LsmView& view) const override {
    const Levels levels = levels_of(view, options_);
    double pending = 0, coming = 0;
    if (levels.level0 >= options_.level0_runs) {
      for (size_t i = 0; i < levels.level0; ++i) coming += static_cast<double>(levels.runs[i].bytes);
      const bool into_run = levels.count() > 0 && levels.numbers.front() == levels.base;
      pending = coming + (into_run ? static_cast<double>(levels.at(0).bytes) : 0);
    }
    for (size_t i = 0; i + 1 < levels.count(); ++i) {
      const double bytes = static_cast<double>(levels.at(i).bytes) + coming;
      coming = std::max(0.0, bytes - levels.targets[i]);
      const double met = static_cast<double>(levels.at(i + 1).bytes) / std::max(bytes, 1.0);
      // Into an empty level tables move unread.
      if (levels.numbers[i + 1] == levels.numbers[i] + 1) pending += coming * (1 + met);
    }
    return static_cast<uint64_t>(pending);
  }
  size_t tier0_runs(const LsmView& view) const override { return levels_of(view, options_).level0; }

 private:
  // A large run of another strategy becomes a level as it is.
  std::optional<CompactionPlan> adopt(const Levels& levels) const {
    if (levels.level0 == 0) return std::nullopt;
    const RunView& oldest = levels.runs[levels.level0 - 1];
    const uint32_t level = levels.count() == 0 ? kLastLevel : levels.numbers.front() - 1;
    if (level == 0 || oldest.busy || oldest.bytes <= options_.base_bytes) return std::nullopt;
    CompactionPlan plan;
    plan.kind = CompactionPlan::Kind::kMove;
    add_ids(oldest, plan.inputs);
    plan.output_run = oldest.number;
    plan.output_level = level;
    plan.reason = "a run of " + megabytes(oldest.bytes) + " becomes level " + std::to_string(level);
    return plan;
  }

  std::optional<CompactionPlan> from_level0(const LsmView& view, const Levels& levels) const {
    const size_t count = std::min<size_t>(levels.level0, options_.max_threshold);
    const size_t begin = levels.level0 - count;
    TableSet set;
    CompactionPlan plan;
    for (size_t i = begin; i < levels.level0; ++i) {
      if (levels.runs[i].busy) return std::nullopt;
      for (const SstableInfo& table : levels.runs[i].tables) set.upper.push_back(&table);
      set.upper_bytes += levels.runs[i].bytes;
    }
    const bool into_run = levels.count() > 0 && levels.numbers.front() == levels.base;
    plan.output_run = into_run ? levels.at(0).number : levels.runs[begin].number;
    if (into_run && !close_over(view, {}, levels.at(0).tables, set)) return std::nullopt;
    return finish(std::move(plan), set, levels.base, std::to_string(count) + " runs of level 0 to level ");
  }

  std::optional<CompactionPlan> push_down(const LsmView& view, const Levels& levels, size_t i) const {
    const RunView& upper = levels.at(i);
    const RunView& lower = levels.at(i + 1);
    const uint32_t next = levels.numbers[i] + 1;
    CompactionPlan plan;
    if (levels.numbers[i + 1] > next) return into_gap(upper, lower, next);
    const SstableInfo* table = least_overlap(view, upper.tables, lower.tables);
    if (table == nullptr) return std::nullopt;
    TableSet set;
    set.upper = {table};
    set.upper_bytes = table->bytes;
    if (!close_over(view, upper.tables, lower.tables, set)) return std::nullopt;
    plan.output_run = lower.number;
    if (set.lower.empty()) plan.kind = CompactionPlan::Kind::kMove;
    return finish(std::move(plan), set, next, "level " + std::to_string(levels.numbers[i]) + " is full, to level ");
  }

  // The level below is empty: a run that begins it must lie between its neighbours.
  std::optional<CompactionPlan> into_gap(const RunView& upper, const RunView& lower, uint32_t next) const {
    CompactionPlan plan;
    if (upper.busy) return std::nullopt;
    plan.kind = CompactionPlan::Kind::kMove;
    TableSet set;
    if (lower.number + 1 < upper.number && upper.tables.size() > 1 &&
        !spans_overlap(upper.tables.front(), upper.tables.back())) {
      plan.output_run = lower.number + 1;
      set.upper = {&upper.tables.front()};
      set.upper_bytes = upper.tables.front().bytes;
    } else {
      plan.output_run = upper.number;
      for (const SstableInfo& table : upper.tables) set.upper.push_back(&table);
      set.upper_bytes = upper.bytes;
    }
    return finish(std::move(plan), set, next, "level " + std::to_string(next - 1) + " is full, to level ");
  }

  // Of the tables that are not busy the one with the least to rewrite below for what it brings; what may be dropped
  // down there counts as brought.
  static const SstableInfo* least_overlap(const LsmView& view, std::span<const SstableInfo> upper,
                                          std::span<const SstableInfo> lower) {
    const SstableInfo* best = nullptr;
    double best_ratio = 0;
    size_t first = 0;
    for (const SstableInfo& table : upper) {
      while (first < lower.size() && !lower[first].span_end.empty() && lower[first].span_end <= table.span_begin)
        ++first;
      uint64_t overlap = 0;
      for (size_t i = first; i < lower.size() && spans_overlap(table, lower[i]); ++i) overlap += lower[i].bytes;
      const double brought = static_cast<double>(table.bytes + 1) * (1 + 2 * droppable_ratio(table, view.now_ms));
      const double ratio = static_cast<double>(overlap) / brought;
      if ((best == nullptr || ratio < best_ratio) && !is_busy(view, table.id)) {
        best = &table;
        best_ratio = ratio;
      }
    }
    return best;
  }

  CompactionPlan finish(CompactionPlan plan, const TableSet& set, uint32_t level, const std::string& why) const {
    for (const auto* table : set.upper) plan.inputs.push_back(table->id);
    for (const auto* table : set.lower) plan.inputs.push_back(table->id);
    plan.output_level = level;
    plan.output_table_bytes_max = options_.table_bytes_max;
    plan.reason =
        why + std::to_string(level) + ", " + megabytes(set.upper_bytes) + " onto " + megabytes(set.lower_bytes);
    return plan;
  }

  LeveledOptions options_;
};

Error bad(const char* what) { return {ErrorCode::kInvalidArgument, std::string("leveled: ") + what}; }

}  // namespace

Result<void> LeveledOptions::validate() const {
  if (level0_runs < 1) return bad("level0_runs must be at least 1");
  if (max_threshold < level0_runs) return bad("max_threshold must not be below level0_runs");
  if (fan_out < 2) return bad("fan_out must be at least 2");
  if (table_bytes_max < (1u << 10)) return bad("table_bytes_max must be at least 1 KiB");
  if (base_bytes < table_bytes_max) return bad("base_bytes must not be below table_bytes_max");
  return {};
}

std::unique_ptr<CompactionStrategy> make_leveled(const LeveledOptions& options) {
  return std::make_unique<Leveled>(options);
}

}  // namespace cairn::storage
