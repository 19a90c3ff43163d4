#include <algorithm>
#include <cstdio>

#include "storage/compaction/strategy.h"

namespace cairn::storage {
namespace {

struct RunSize {
  uint64_t number = 0;
  uint64_t bytes = 0;
  bool busy = false;
};

std::string megabytes(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  return text;
}

// Only neighbours in age are merged: runs keep disjoint ranges of sequences, and the newest version stays on
// top.
class SizeTiered final : public CompactionStrategy {
 public:
  explicit SizeTiered(const SizeTieredOptions& options) : options_(options) {}
  std::string_view name() const override { return "size-tiered"; }

  std::optional<CompactionPlan> pick(const LsmView& view) const override {
    const std::vector<RunSize> runs = runs_of(view);
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
    if (best_count >= options_.min_threshold) {
      return plan(view, runs, best_begin, best_count, std::to_string(best_count) + " adjacent runs of similar size");
    }
    // Sizes that alternate never form a bucket; reads would get slower without end.
    if (runs.size() > options_.max_threshold) {
      const auto window = cheapest(runs);
      if (window)
        return plan(view, runs, *window, options_.min_threshold, std::to_string(runs.size()) + " runs are too many");
    }
    return std::nullopt;
  }

 private:
  static std::vector<RunSize> runs_of(const LsmView& view) {
    std::vector<RunSize> runs;
    for (const auto& table : view.tables) {
      if (runs.empty() || runs.back().number != table.run) runs.push_back({table.run, 0, false});
      runs.back().bytes += table.bytes;
      if (std::ranges::find(view.busy, table.id) != view.busy.end()) runs.back().busy = true;
    }
    return runs;
  }
  bool similar(uint64_t bytes, uint64_t average) const {
    if (bytes < options_.min_run_bytes && average < options_.min_run_bytes) return true;
    const auto size = static_cast<double>(bytes);
    const auto middle = static_cast<double>(average);
    return size >= middle * options_.bucket_low && size <= middle * options_.bucket_high;
  }
  std::optional<size_t> cheapest(const std::vector<RunSize>& runs) const {
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
    return best;
  }
  CompactionPlan plan(const LsmView& view, const std::vector<RunSize>& runs, size_t begin, size_t count,
                      const std::string& why) const {
    CompactionPlan plan;
    uint64_t bytes = 0;
    for (size_t i = begin; i < begin + count; ++i) {
      bytes += runs[i].bytes;
      for (const auto& table : view.tables) {
        if (table.run == runs[i].number) plan.inputs.push_back(table.id);
      }
    }
    plan.output_table_bytes_max = options_.table_bytes_max;
    plan.reason = why + ", " + megabytes(bytes);
    return plan;
  }

  SizeTieredOptions options_;
};

}  // namespace

Result<void> SizeTieredOptions::validate() const {
  const auto bad = [](const char* what) {
    return Error{ErrorCode::kInvalidArgument, std::string("size_tiered: ") + what};
  };
  if (min_threshold < 2) return bad("min_threshold must be at least 2");
  if (max_threshold < min_threshold) return bad("max_threshold must not be below min_threshold");
  if (!(bucket_low > 0 && bucket_low < 1)) return bad("bucket_low must be above 0 and below 1");
  if (!(bucket_high > 1)) return bad("bucket_high must be above 1");
  if (table_bytes_max < (64u << 10)) return bad("table_bytes_max must be at least 64 KiB");
  return {};
}

std::unique_ptr<CompactionStrategy> make_size_tiered(const SizeTieredOptions& options) {
  return std::make_unique<SizeTiered>(options);
}

}  // namespace cairn::storage
