// Windows of the leader-stamped time of writes. That time never decreases along the log and memtables are sealed where
// a window ends, so runs of one window are neighbours in age, and a late row cannot get into an old window. Runs of
// several windows, left by other strategies, belong to the window of their newest row.
#include <algorithm>

#include "storage/compaction/runs.h"

namespace cairn::storage {
namespace {

class TimeWindow final : public CompactionStrategy {
 public:
  explicit TimeWindow(const TimeWindowOptions& options) : options_(options) {}
  std::string_view name() const override { return "twcs"; }
  uint64_t window_ms() const override { return options_.window_ms; }

  std::optional<CompactionPlan> pick(const LsmView& view) const override {
    const std::vector<RunView> runs = runs_of(view);
    const auto merge = next_merge(runs, view.now_ms);
    if (!merge) return std::nullopt;
    CompactionPlan plan = merge_runs(runs, *merge, options_.table_bytes_max);
    plan.reason += ", window " + std::to_string(window_of(runs[merge->begin]));
    return plan;
  }
  uint64_t pending_bytes(const LsmView& view) const override {
    return pending_merges(runs_of(view),
                          [&](const std::vector<RunView>& runs) { return next_merge(runs, view.now_ms); });
  }
  size_t tier0_runs(const LsmView& view) const override {
    const std::vector<RunView> runs = runs_of(view);
    size_t end = 0;
    while (end < runs.size() && window_of(runs[end]) == window_of(runs.front())) ++end;
    return end;
  }

 private:
  std::optional<RunMerge> next_merge(const std::vector<RunView>& runs, uint64_t now_ms) const {
    for (size_t begin = 0; begin < runs.size();) {
      const uint64_t window = window_of(runs[begin]);
      size_t end = begin + 1;
      while (end < runs.size() && window_of(runs[end]) == window) ++end;
      const uint64_t closes = (window + 1) * options_.window_ms + options_.grace_ms;
      auto merge = now_ms < closes ? open(runs, begin, end) : closed(runs, begin, end);
      if (merge) return merge;
      begin = end;
    }
    return std::nullopt;
  }

  uint64_t window_of(const RunView& run) const { return run.max_time_ms / options_.window_ms; }

  // Everything is merged once when the window closes; before that only so that reads stay bearable.
  std::optional<RunMerge> open(const std::vector<RunView>& runs, size_t begin, size_t end) const {
    if (end - begin <= options_.open_runs_max) return std::nullopt;
    const size_t count = std::min<size_t>(end - begin, options_.max_threshold);
    std::optional<size_t> best;
    uint64_t best_bytes = ~0ull;
    const size_t take = std::max<size_t>(2, std::min<size_t>(count, options_.open_runs_max));
    for (size_t i = begin; i + take <= end; ++i) {
      const auto bytes = idle_bytes(runs, i, i + take);
      if (!bytes || *bytes >= best_bytes) continue;
      best = i;
      best_bytes = *bytes;
    }
    if (!best) return std::nullopt;
    return RunMerge{*best, take, CompactionCause::kWindow, std::to_string(end - begin) + " runs of the open window"};
  }

  std::optional<RunMerge> closed(const std::vector<RunView>& runs, size_t begin, size_t end) const {
    const size_t count = end - begin;
    if (count < 2) return std::nullopt;
    size_t main = begin;
    uint64_t bytes = 0;
    for (size_t i = begin; i < end; ++i) {
      bytes += runs[i].bytes;
      if (runs[i].bytes > runs[main].bytes) main = i;
    }
    const uint64_t late = bytes - runs[main].bytes;
    if (static_cast<double>(late) > options_.late_share * static_cast<double>(runs[main].bytes)) {
      const size_t take = std::min<size_t>(count, options_.max_threshold);
      if (!idle_bytes(runs, end - take, end)) return std::nullopt;
      return RunMerge{end - take, take, CompactionCause::kWindow, std::to_string(take) + " runs of a closed window"};
    }
    // Little came late: it is merged among itself, on its side of the main run.
    for (const auto& [from, to] : {std::pair(begin, main), std::pair(main + 1, end)}) {
      const size_t take = std::min<size_t>(to - from, options_.max_threshold);
      if (take < options_.min_threshold || !idle_bytes(runs, from, from + take)) continue;
      return RunMerge{from, take, CompactionCause::kWindow, std::to_string(take) + " late runs"};
    }
    return std::nullopt;
  }

  static std::optional<uint64_t> idle_bytes(const std::vector<RunView>& runs, size_t begin, size_t end) {
    uint64_t bytes = 0;
    for (size_t i = begin; i < end; ++i) {
      if (runs[i].busy) return std::nullopt;
      bytes += runs[i].bytes;
    }
    return bytes;
  }

  TimeWindowOptions options_;
};

Error bad(const char* what) { return {ErrorCode::kInvalidArgument, std::string("time_window: ") + what}; }

}  // namespace

Result<void> TimeWindowOptions::validate() const {
  if (window_ms < 1) return bad("window_ms must be at least 1");
  if (open_runs_max < 2) return bad("open_runs_max must be at least 2");
  if (min_threshold < 2) return bad("min_threshold must be at least 2");
  if (max_threshold < min_threshold) return bad("max_threshold must not be below min_threshold");
  if (!(late_share > 0)) return bad("late_share must be above 0");
  if (table_bytes_max < (1u << 10)) return bad("table_bytes_max must be at least 1 KiB");
  return {};
}

std::unique_ptr<CompactionStrategy> make_time_window(const TimeWindowOptions& options) {
  return std::make_unique<TimeWindow>(options);
}

}  // namespace cairn::storage
