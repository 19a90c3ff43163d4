#include "consensus/raft/log_view.h"

#include <algorithm>

#include "base/assert.h"

namespace cairn::consensus::raft {

std::optional<Term> LogView::term_at(LogIndex index) const {
  if (index == start_index_) return start_term_;
  if (index < start_index_ || index > last_index()) return std::nullopt;
  return at(index).term;
}

void LogView::append(Entry entry) {
  CAIRN_ASSERT(entry.index == last_index().next());
  CAIRN_ASSERT(entry.term >= last_term());
  bytes_ += entry.payload.size();
  entries_.push_back(std::move(entry));
}

void LogView::truncate_from(LogIndex from) {
  CAIRN_ASSERT(from >= held_from_);
  while (last_index() >= from) {
    bytes_ -= entries_.back().payload.size();
    entries_.pop_back();
  }
}

void LogView::compact_to(LogIndex index) {
  CAIRN_ASSERT(index <= last_index());
  while (start_index_ < index) {
    start_term_ = entries_.front().term;
    bytes_ -= entries_.front().payload.size();
    entries_.pop_front();
    start_index_ = start_index_.next();
  }
  held_from_ = std::max(held_from_, first_index());
}

void LogView::reset(LogIndex index, Term term) {
  entries_.clear();
  bytes_ = 0;
  start_index_ = index;
  start_term_ = term;
  held_from_ = index.next();
}

void LogView::release(LogIndex index, uint64_t bytes) {
  for (; bytes_ > bytes && held_from_ <= index; held_from_ = held_from_.next()) {
    SharedBytes& payload = entries_[held_from_.value - start_index_.value - 1].payload;
    bytes_ -= payload.size();
    payload = {};
  }
}

LogIndex LogView::last_at_most(LogIndex index, Term term) const {
  index = std::min(index, last_index());
  if (index <= start_index_) return start_index_;
  const auto begin = entries_.begin();
  const auto end = begin + static_cast<std::ptrdiff_t>(index.value - start_index_.value);
  const auto after = std::upper_bound(begin, end, term, [](Term t, const Entry& entry) { return t < entry.term; });
  return {start_index_.value + static_cast<uint64_t>(after - begin)};
}

}  // namespace cairn::consensus::raft
