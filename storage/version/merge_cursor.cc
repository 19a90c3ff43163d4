#include "storage/key_head.h"
#include "storage/version/cursors.h"

namespace cairn::storage {

MergeCursor::MergeCursor(std::vector<std::unique_ptr<TwoWayCursor>> children, std::vector<PrefixView> prefixes,
                         size_t memtables, size_t memtable_prefixes)
    : prefixes_(std::move(prefixes)), memtables_(memtables), memtable_prefixes_(memtable_prefixes) {
  children_.reserve(children.size());
  for (auto& cursor : children) children_.push_back({.cursor = std::move(cursor)});
  losers_.resize(children_.size());
}

CursorState MergeCursor::seek(std::string_view lower) {
  back_ = false;
  for (int step = 0; size() > 1 && step < TwoWayCursor::kSeekSteps; ++step) {
    for (const Child& child : children_) child.cursor->prepare_seek(lower, step);
  }
  for (Child& child : children_) child.state = child.cursor->seek(lower);
  play_all();
  return settle();
}

CursorState MergeCursor::seek_back(std::string_view upper) {
  back_ = true;
  for (Child& child : children_) child.state = child.cursor->seek_back(upper);
  play_all();
  return settle();
}

CursorState MergeCursor::next() {
  advance();
  return settle();
}

// A child that cannot go on comes before all rows, so that it is noticed; one at its end comes behind them. Of equal
// keys the newer child's comes first, and the other is marked: nobody has to look for it again.
bool MergeCursor::before(uint32_t a, uint32_t b) {
  Child& x = children_[a];
  Child& y = children_[b];
  if (x.state == CursorState::kRow && y.state == CursorState::kRow) {
    const int order = compare_keys(x.row->key, y.row->key);
    if (order != 0) return (order < 0) != back_;
    (a < b ? y : x).shadowed = true;
    return a < b;
  }
  const auto rank = [](CursorState state) {
    return state == CursorState::kEnd ? 2 : state == CursorState::kRow ? 1 : 0;
  };
  return rank(x.state) != rank(y.state) ? rank(x.state) < rank(y.state) : a < b;
}

void MergeCursor::play_all() {
  for (Child& child : children_) {
    child.row = &child.cursor->row();
    child.shadowed = false;
  }
  rival_ = kNone;
  winner_ = 0;
  const uint32_t n = size();
  std::vector<uint32_t> winners(size_t{2} * n);
  for (uint32_t i = 0; i < n; ++i) winners[n + i] = i;
  for (uint32_t node = n; node-- > 1;) {
    const uint32_t a = winners[size_t{2} * node], b = winners[size_t{2} * node + 1];
    const bool first = before(a, b);
    winners[node] = first ? a : b;
    losers_[node] = first ? b : a;
  }
  if (n > 1) winner_ = winners[1];
}

void MergeCursor::advance() {
  Child& child = children_[winner_];
  child.state = child.cursor->next();
  child.row = &child.cursor->row();
  child.shadowed = false;
  if (rival_ == kNone || !before(winner_, rival_)) replay();
}

void MergeCursor::replay() {
  const uint32_t moved = winner_;
  for (uint32_t node = (size() + moved) / 2; node > 0; node /= 2) {
    if (before(losers_[node], winner_)) std::swap(losers_[node], winner_);
  }
  rival_ = kNone;
  if (winner_ != moved || size() < 2) return;
  for (uint32_t node = (size() + moved) / 2; node > 0; node /= 2) {
    if (rival_ == kNone || before(losers_[node], rival_)) rival_ = losers_[node];
  }
}

CursorState MergeCursor::settle() {
  if (children_.empty()) return CursorState::kEnd;
  while (true) {
    if (steps_left_ == 0) return CursorState::kNeedsDisk;
    --steps_left_;
    const Child& child = children_[winner_];
    if (child.state != CursorState::kRow) return child.state;
    bool in_vain = false;
    if (child.shadowed) {
      in_vain = newest_ >= memtables_;
    } else {
      newest_ = winner_;
      if (!hidden(*child.row, in_vain)) {
        if (child.row->kind == OpKind::kDelete && winner_ >= memtables_) ++in_vain_;
        return CursorState::kRow;
      }
    }
    ++dropped_;
    if (in_vain) ++in_vain_;
    advance();
  }
}

bool MergeCursor::hidden(const Row& row, bool& in_runs) const {
  for (size_t i = 0; i < prefixes_.size(); ++i) {
    if (prefixes_[i].covering(row.key) <= row.sequence) continue;
    in_runs = i >= memtable_prefixes_;
    return true;
  }
  return false;
}

std::unique_ptr<MergeCursor> merge_view(const ReadView& view, BlockSource& source) {
  std::vector<std::unique_ptr<TwoWayCursor>> children;
  std::vector<PrefixView> prefixes;
  for (const auto& table : view.memtables) {
    if (table->empty()) continue;
    children.push_back(std::make_unique<MemtableCursor>(*table));
    if (!table->prefixes().empty()) prefixes.push_back({&table->prefixes()});
  }
  const size_t memtables = children.size(), memtable_prefixes = prefixes.size();
  for (const Run& run : view.version->runs) {
    if (run.max_sequence < view.clear_sequence) continue;
    children.push_back(run_cursor(run, source));
    prefixes.insert(prefixes.end(), run.prefixes.begin(), run.prefixes.end());
  }
  return std::make_unique<MergeCursor>(std::move(children), std::move(prefixes), memtables, memtable_prefixes);
}

CursorState seek_page(TwoWayCursor& cursor, const RowPage& page) {
  if (!page.reverse) {
    const CursorState at = cursor.seek(std::max(page.prefix, page.start_after));
    return at == CursorState::kRow && page.before(cursor.row().key) ? cursor.next() : at;
  }
  std::string upper = behind_prefix(page.prefix);
  if (!page.start_after.empty() && (upper.empty() || page.start_after < upper)) {
    upper = page.start_after;
    if (page.start_included) upper.push_back('\0');
  }
  return cursor.seek_back(upper);
}

}  // namespace cairn::storage
