#include "storage/compaction/tree_shape.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "storage/compaction/pickers.h"

namespace cairn::storage {
namespace {

struct Span {
  std::string_view begin, end;
  bool endless = false;
  bool reaches(std::string_view key) const { return endless || end > key; }
};

Span span_of(const SstableInfo& table) { return {table.span_begin, table.span_end, table.span_end.empty()}; }

uint64_t overlap_depth(std::span<const SstableInfo> tables) {
  std::vector<std::string_view> begins, ends;
  for (const SstableInfo& table : tables) {
    begins.push_back(table.span_begin);
    if (!table.span_end.empty()) ends.push_back(table.span_end);
  }
  std::ranges::sort(begins);
  std::ranges::sort(ends);
  uint64_t open = 0, most = 0;
  size_t ended = 0;
  for (const std::string_view begin : begins) {
    for (; ended < ends.size() && ends[ended] <= begin; ++ended) --open;
    most = std::max(most, ++open);
  }
  return most;
}

// Key ranges that do not touch, sorted.
class Covered {
 public:
  bool meets(const Span& span) const {
    const auto at = std::ranges::partition_point(spans_, [&](const Span& s) { return !s.reaches(span.begin); });
    return at != spans_.end() && span.reaches(at->begin);
  }
  void add(std::vector<Span> more) {
    more.insert(more.end(), spans_.begin(), spans_.end());
    std::ranges::sort(more, {}, &Span::begin);
    spans_.clear();
    for (const Span& span : more) {
      if (spans_.empty() || !spans_.back().reaches(span.begin)) {
        spans_.push_back(span);
        continue;
      }
      Span& last = spans_.back();
      last.endless = last.endless || span.endless;
      last.end = std::max(last.end, span.end);
    }
  }

 private:
  std::vector<Span> spans_;
};

uint64_t droppable_tombstones(const LsmView& view) {
  const std::vector<RunView> runs = runs_of(view);
  Covered older;
  double rows = 0;
  for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
    std::vector<Span> spans;
    for (const SstableInfo& table : run->tables) {
      spans.push_back(span_of(table));
      const double ratio = droppable_ratio(table, view.now_ms);
      if (ratio <= 0 || older.meets(spans.back())) continue;
      rows += ratio * static_cast<double>(std::max<uint64_t>(table.entries, 1));
    }
    older.add(std::move(spans));
  }
  return static_cast<uint64_t>(rows);
}

uint64_t expired_blocked(const LsmView& view) {
  const auto dead = std::ranges::count_if(
      view.tables, [&](const SstableInfo& table) { return table.expiring > 0 && table.dead_from_ms <= view.now_ms; });
  if (dead == 0) return 0;
  uint64_t blocked = 0;
  const auto drop = drop_dead(view);
  for (const SstableInfo& table : view.tables) {
    if (table.expiring == 0 || table.dead_from_ms > view.now_ms) continue;
    const bool goes = drop && std::ranges::find(drop->inputs, table.id) != drop->inputs.end();
    blocked += goes ? 0 : 1;
  }
  return blocked;
}

}  // namespace

TreeShape measure_tree(const LsmView& view, const CompactionStrategy& strategy) {
  TreeShape shape;
  shape.pending_bytes = strategy.pending_bytes(view);
  const std::vector<RunView> runs = runs_of(view);
  const size_t tier0 = strategy.tier0_runs(view);
  for (size_t i = 0; i < tier0; ++i) shape.tier0_tables += runs[i].tables.size();
  shape.overlap_depth = overlap_depth(view.tables);
  shape.droppable_tombstones = droppable_tombstones(view);
  shape.expired_blocked = expired_blocked(view);
  return shape;
}

}  // namespace cairn::storage
