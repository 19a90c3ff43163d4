#include <algorithm>

#include "storage/compaction/runs.h"

namespace cairn::storage {
namespace {

// Only neighbours in age are merged: runs keep disjoint ranges of sequences, and the newest version stays on
// top.
class SizeTiered final : public CompactionStrategy {
 public:
  SizeTiered(const SizeTieredOptions& options, std::string_view name) : options_(options), name_(name) {}
  std::string_view name() const override { return name_; }

  std::optional<CompactionPlan> pick(const LsmView& view) const override {
    const std::vector<RunView> runs = runs_of(view);
    const auto merge = next_merge(runs);
    if (!merge) return std::nullopt;
    CompactionPlan plan = merge_runs(runs, *merge, options_.table_bytes_max);
    plan.incremental = options_.incremental;
    return plan;
  }
  uint64_t pending_bytes(const LsmView& view) const override {
    return pending_merges(runs_of(view), [this](const std::vector<RunView>& runs) { return next_merge(runs); });
  }
  size_t tier0_runs(const LsmView& view) const override {
    const std::vector<RunView> runs = runs_of(view);
    uint64_t bytes = 0;
    size_t end = 0;
    while (end < runs.size() && (end == 0 || similar(runs[end].bytes, bytes / end))) bytes += runs[end++].bytes;
    return end;
  }

 private:
  std::optional<RunMerge> next_merge(const std::vector<RunView>& runs) const {
    auto merge = similar_runs(runs);
    if (!merge) merge = too_many(runs);
    if (!merge) merge = toward_goal(runs);
    return merge;
  }

  std::optional<RunMerge> similar_runs(const std::vector<RunView>& runs) const {
    size_t best_begin = 0, best_count = 0;
    uint64_t best_bytes = 0;
    for (size_t begin = 0; begin < runs.size(); ++begin) {
      uint64_t bytes = 0;
      size_t end = begin;
      while (end < runs.size() && end - begin < options_.max_threshold && !runs[end].busy &&
             (end == begin || similar(runs[end].bytes, bytes / (end - begin)))) {
        bytes += runs[end++].bytes;
      }
      const size_t count = end - begin;
      // More runs first, then less to write.
      if (count > best_count || (count == best_count && bytes < best_bytes)) {
        best_begin = begin;
        best_count = count;
        best_bytes = bytes;
      }
    }
    if (best_count < options_.min_threshold) return std::nullopt;
    return RunMerge{best_begin, best_count, CompactionCause::kSize,
                    std::to_string(best_count) + " adjacent runs of similar size"};
  }
  bool similar(uint64_t bytes, uint64_t average) const {
    if (bytes < options_.min_run_bytes && average < options_.min_run_bytes) return true;
    const auto size = static_cast<double>(bytes);
    const auto middle = static_cast<double>(average);
    return size >= middle * options_.bucket_low && size <= middle * options_.bucket_high;
  }

  // Sizes that alternate never form a bucket; reads would get slower without end.
  std::optional<RunMerge> too_many(const std::vector<RunView>& runs) const {
    if (runs.size() <= options_.max_threshold) return std::nullopt;
    std::optional<size_t> best;
    uint64_t best_bytes = ~0ull;
    for (size_t begin = 0; begin + options_.min_threshold <= runs.size(); ++begin) {
      uint64_t bytes = 0;
      bool busy = false;
      for (size_t i = begin; i < begin + options_.min_threshold; ++i) {
        bytes += runs[i].bytes;
        busy = busy || runs[i].busy;
      }
      if (!busy && bytes < best_bytes) {
        best = begin;
        best_bytes = bytes;
      }
    }
    if (!best) return std::nullopt;
    return RunMerge{*best, options_.min_threshold, CompactionCause::kSize,
                    std::to_string(runs.size()) + " runs are too many"};
  }

  // What lies beside the largest run is at worst all obsolete in it. Merged are the oldest of those, so that the rest
  // is a quarter of what the goal allows: small runs would only be carried along.
  std::optional<RunMerge> toward_goal(const std::vector<RunView>& runs) const {
    if (options_.space_goal <= 0 || runs.size() < 2) return std::nullopt;
    const auto largest = std::ranges::max_element(runs, {}, &RunView::bytes);
    const auto allowed = (options_.space_goal - 1) * static_cast<double>(largest->bytes);
    uint64_t beside = 0;
    for (const RunView& run : runs) beside += run.bytes;
    beside -= largest->bytes;
    if (largest->bytes < options_.min_run_bytes || static_cast<double>(beside) <= allowed) return std::nullopt;
    auto begin = static_cast<size_t>(largest - runs.begin());
    uint64_t newer = 0;
    for (size_t i = 0; i < begin; ++i) newer += runs[i].bytes;
    while (begin > 0 && static_cast<double>(newer) > allowed / 4) newer -= runs[--begin].bytes;
    for (size_t i = begin; i < runs.size(); ++i) {
      if (runs[i].busy) return std::nullopt;
    }
    return RunMerge{begin, runs.size() - begin, CompactionCause::kSpace,
                    "runs beside the largest exceed the space goal"};
  }

  SizeTieredOptions options_;
  std::string_view name_;
};

Error bad(const char* what) { return {ErrorCode::kInvalidArgument, std::string("size_tiered: ") + what}; }

}  // namespace

Result<void> SizeTieredOptions::validate() const {
  if (min_threshold < 2) return bad("min_threshold must be at least 2");
  if (max_threshold < min_threshold) return bad("max_threshold must not be below min_threshold");
  if (!(bucket_low > 0 && bucket_low < 1)) return bad("bucket_low must be above 0 and below 1");
  if (!(bucket_high > 1)) return bad("bucket_high must be above 1");
  if (table_bytes_max < (1u << 10)) return bad("table_bytes_max must be at least 1 KiB");
  if (space_goal != 0 && !(space_goal > 1 && space_goal <= 2)) return bad("space_goal must be above 1 and at most 2");
  return {};
}

std::unique_ptr<CompactionStrategy> make_size_tiered(const SizeTieredOptions& options, std::string_view name) {
  return std::make_unique<SizeTiered>(options, name);
}

}  // namespace cairn::storage
