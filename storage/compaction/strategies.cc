// The rules that hold for every strategy, around the one that was chosen.
#include <algorithm>
#include <array>

#include "storage/compaction/pickers.h"

namespace cairn::storage {
namespace {

constexpr std::array<std::string_view, 4> kNames{"stcs", "lcs", "twcs", "ics"};
constexpr std::array<std::string_view, std::size(kCompactionCauses)> kCauseNames{
    "size", "window", "space", "expired", "tombstones", "dead_view", "reads", "request"};

std::unique_ptr<CompactionStrategy> make_core(StrategyKind kind, const CompactionOptions& options) {
  switch (kind) {
    case StrategyKind::kStcs: return make_size_tiered(options.stcs);
    case StrategyKind::kLcs: return make_leveled(options.lcs);
    case StrategyKind::kTwcs: return make_time_window(options.twcs);
    case StrategyKind::kIcs: return make_size_tiered(options.ics, "ics");
  }
  return nullptr;
}

class WithCommonRules final : public CompactionStrategy {
 public:
  WithCommonRules(StrategyKind kind, const CompactionOptions& options)
      : kind_(kind),
        tombstones_(options.tombstones),
        reads_(options.reads),
        space_(options.space),
        table_bytes_max_(options.table_bytes_max(kind)),
        core_(make_core(kind, options)) {}
  std::string_view name() const override { return core_->name(); }
  uint64_t window_ms() const override { return core_->window_ms(); }

  std::optional<CompactionPlan> pick(const LsmView& view) const override {
    auto plan = any_rule(view);
    if (plan) plan->strategy = name();
    return plan;
  }
  // The strategy's own, or what the next pick of another rule reads. 0 if nothing is picked.
  uint64_t pending_bytes(const LsmView& view) const override {
    const auto plan = any_rule(view);
    if (!plan) return 0;
    uint64_t next = 0;
    for (const SstableInfo& table : view.tables) {
      const bool read =
          plan->kind == CompactionPlan::Kind::kMerge && std::ranges::find(plan->inputs, table.id) != plan->inputs.end();
      next += read ? table.bytes : 0;
    }
    return std::max(next, core_->pending_bytes(view));
  }
  size_t tier0_runs(const LsmView& view) const override { return core_->tier0_runs(view); }

 private:
  static constexpr uint64_t kFragmentMin = 1u << 20;

  std::optional<CompactionPlan> any_rule(const LsmView& view) const {
    if (auto plan = drop_dead(view)) return plan;
    const std::vector<RunView> runs = runs_of(view);
    const bool merges_all = kind_ != StrategyKind::kTwcs;  // a window goes as a whole
    if (auto plan = merges_all ? space_pressure(view, runs, space_) : std::nullopt) {
      // A fragment must fit several times: the inputs' go after it.
      plan->output_table_bytes_max = std::min(table_bytes_max_, std::max(view.free_bytes / 4, kFragmentMin));
      return plan;
    }
    if (auto plan = core_->pick(view)) return plan;
    auto plan = shrink_dead(view, runs);
    if (!plan && merges_all) plan = dense_tombstones(view, runs, tombstones_);
    if (!plan) plan = dead_view(view, runs, space_);
    if (!plan && merges_all) plan = passed_in_vain(view, runs, reads_);
    if (!plan && merges_all) plan = old_tombstones(view, runs, tombstones_);
    if (!plan) return plan;
    plan->output_table_bytes_max = table_bytes_max_;
    // With all that lies below, it may end after any table.
    if (plan->down) plan->incremental = kind_ == StrategyKind::kIcs;
    return plan;
  }

  StrategyKind kind_;
  TombstoneOptions tombstones_;
  ReadOptions reads_;
  SpaceOptions space_;
  uint64_t table_bytes_max_;
  std::unique_ptr<CompactionStrategy> core_;
};

}  // namespace

std::string_view to_string(StrategyKind kind) { return kNames[static_cast<size_t>(kind)]; }

std::string_view to_string(CompactionCause cause) { return kCauseNames[static_cast<size_t>(cause)]; }

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
  if (!(reads.price >= 1)) return Error{ErrorCode::kInvalidArgument, "reads: price must be at least 1"};
  if (!(space.rewrite_share > 0)) return Error{ErrorCode::kInvalidArgument, "space: rewrite_share must be above 0"};
  return {};
}

uint64_t CompactionOptions::table_bytes_max(StrategyKind kind) const {
  switch (kind) {
    case StrategyKind::kStcs: return stcs.table_bytes_max;
    case StrategyKind::kLcs: return lcs.table_bytes_max;
    case StrategyKind::kTwcs: return twcs.table_bytes_max;
    case StrategyKind::kIcs: return ics.table_bytes_max;
  }
  return 0;
}

std::unique_ptr<CompactionStrategy> make_strategy(StrategyKind kind, const CompactionOptions& options) {
  return std::make_unique<WithCommonRules>(kind, options);
}

}  // namespace cairn::storage
