// The rules that hold for every strategy, around the one that was chosen.
#include <algorithm>
#include <array>

#include "storage/compaction/runs.h"

namespace cairn::storage {
namespace {

constexpr std::array<std::string_view, 4> kNames{"stcs", "lcs", "twcs", "ics"};

std::unique_ptr<CompactionStrategy> make_core(StrategyKind kind, const CompactionOptions& options) {
  switch (kind) {
    case StrategyKind::kStcs: return make_size_tiered(options.stcs);
    case StrategyKind::kLcs: return make_leveled(options.lcs);
    case StrategyKind::kTwcs: return make_time_window(options.twcs);
    case StrategyKind::kIcs: return make_size_tiered(options.ics, "ics");
  }
  return nullptr;
}

// Of the tables whose rows are all dead, those that hide nothing: no older table that stays may have their keys.
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
  plan.reason = std::to_string(plan.inputs.size()) + " tables of dead rows only, " + megabytes(bytes);
  return plan;
}

// Rewrites one table in its place. Deletions whose keys no older table may have go away.
std::optional<CompactionPlan> rewrite(const LsmView& view, const RunView& run, const SstableInfo& table,
                                      const std::string& why) {
  TableSet set;
  set.upper = {&table};
  set.upper_bytes = table.bytes;
  if (!close_over(view, run.tables, {}, set)) return std::nullopt;
  CompactionPlan plan;
  for (const auto* input : set.upper) plan.inputs.push_back(input->id);
  plan.output_run = run.number;
  plan.output_level = run.level;
  plan.output_table_bytes_max = ~0ull;
  plan.reason = why + ", " + megabytes(set.upper_bytes);
  return plan;
}

// Dead as a whole, but older rows lie below: few tombstones are left of it (filters tell), and it blocks nothing.
std::optional<CompactionPlan> shrink_dead(const LsmView& view, const std::vector<RunView>& runs) {
  for (const RunView& run : runs) {
    for (const SstableInfo& table : run.tables) {
      if (table.expiring == 0 || table.dead_from_ms > view.now_ms || is_busy(view, table.id)) continue;
      if (auto plan = rewrite(view, run, table, "a table of expired rows above older ones")) return plan;
    }
  }
  return std::nullopt;
}

bool overlaps_older(const std::vector<RunView>& runs, size_t run, const SstableInfo& table) {
  for (size_t i = run + 1; i < runs.size(); ++i) {
    for (const SstableInfo& older : runs[i].tables) {
      if (spans_overlap(table, older)) return true;
    }
  }
  return false;
}

// A table with many tombstones: rewritten if nothing lies below, otherwise merged with what does in the next run.
std::optional<CompactionPlan> dense_tombstones(const LsmView& view, const std::vector<RunView>& runs,
                                               const TombstoneOptions& options) {
  for (size_t i = runs.size(); i-- > 0;) {
    for (const SstableInfo& table : runs[i].tables) {
      const double ratio = droppable_ratio(table, view.now_ms);
      if (ratio < options.threshold || view.now_ms < table.max_time_ms + options.interval_ms) continue;
      if (is_busy(view, table.id)) continue;
      const std::string why = "a table with " + std::to_string(static_cast<int>(ratio * 100)) + " % dead rows";
      if (!overlaps_older(runs, i, table)) {
        if (auto plan = rewrite(view, runs[i], table, why)) return plan;
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
      plan.reason = why + ", onto the run below";
      return plan;
    }
  }
  return std::nullopt;
}

class WithCommonRules final : public CompactionStrategy {
 public:
  WithCommonRules(StrategyKind kind, const CompactionOptions& options)
      : kind_(kind), tombstones_(options.tombstones), core_(make_core(kind, options)) {
    const std::array limits{options.stcs.table_bytes_max, options.lcs.table_bytes_max, options.twcs.table_bytes_max,
                            options.ics.table_bytes_max};
    table_bytes_max_ = limits[static_cast<size_t>(kind)];
  }
  std::string_view name() const override { return core_->name(); }
  uint64_t window_ms() const override { return core_->window_ms(); }

  std::optional<CompactionPlan> pick(const LsmView& view) const override {
    auto plan = any_rule(view);
    if (plan) plan->strategy = name();
    return plan;
  }

 private:
  std::optional<CompactionPlan> any_rule(const LsmView& view) const {
    if (auto plan = drop_dead(view)) return plan;
    if (auto plan = core_->pick(view)) return plan;
    const std::vector<RunView> runs = runs_of(view);
    auto plan = shrink_dead(view, runs);
    // A window goes as a whole.
    if (!plan && kind_ != StrategyKind::kTwcs) plan = dense_tombstones(view, runs, tombstones_);
    if (plan) plan->output_table_bytes_max = table_bytes_max_;
    return plan;
  }

  StrategyKind kind_;
  TombstoneOptions tombstones_;
  uint64_t table_bytes_max_;
  std::unique_ptr<CompactionStrategy> core_;
};

}  // namespace

std::string_view to_string(StrategyKind kind) { return kNames[static_cast<size_t>(kind)]; }

std::optional<StrategyKind> parse_strategy_kind(std::string_view name) {
  for (const StrategyKind kind : kStrategyKinds) {
    if (to_string(kind) == name) return kind;
  }
  return std::nullopt;
}

Result<void> CompactionOptions::validate() const {
  CAIRN_TRY_VOID(stcs.validate());
  CAIRN_TRY_VOID(lcs.validate());
  CAIRN_TRY_VOID(twcs.validate());
  CAIRN_TRY_VOID(ics.validate());
  if (!(tombstones.threshold > 0)) {
    return Error{ErrorCode::kInvalidArgument, "tombstones: threshold must be above 0"};
  }
  return {};
}

std::unique_ptr<CompactionStrategy> make_strategy(StrategyKind kind, const CompactionOptions& options) {
  return std::make_unique<WithCommonRules>(kind, options);
}

}  // namespace cairn::storage
