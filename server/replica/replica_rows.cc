// What an evaluation on the leader sees and does: pending effects over committed rows.
#include <algorithm>

#include "base/plant.h"
#include "server/replica/replica.h"

namespace cairn::server {

RowResult Replica::get(std::string_view row_key) {
  if (CAIRN_PLANTED("fetched-row-survives-clear") && committed_.fetched() != nullptr) {
    if (const auto* row = committed_.fetched()->row(row_key); row != nullptr && *row) {
      return {RowState::kFound, **row};
    }
  }
  if (const Overlay::Row* row = overlay_.find(row_key)) {
    seen_batch_ = std::max(seen_batch_, row->batch);
    if (row->deleted) return {RowState::kAbsent, {}};
    return {RowState::kFound, row->value};
  }
  if (overlay_.clear_batch() != 0) {
    seen_batch_ = std::max(seen_batch_, overlay_.clear_batch());
    return {RowState::kAbsent, {}};
  }
  return committed_.get(row_key);
}

RowState Replica::scan(std::string_view prefix,
                       const std::function<bool(std::string_view key, std::string_view value)>& visit) {
  PageEnd end;
  storage::RowPage all;
  all.prefix = prefix;
  return page(all, visit, end);
}

// Committed rows of the page: from memory, else as they were fetched. Null: to be fetched.
const PageRows* Replica::committed_page(const storage::RowPage& page, PageRows& memory) {
  return overlay_.clear_batch() != 0 ? &memory : committed_.page(page, memory);
}

RowState Replica::page(const storage::RowPage& page,
                       const std::function<bool(std::string_view key, std::string_view value)>& visit, PageEnd& end) {
  seen_batch_ = std::max(seen_batch_, newest_batch());
  if (overlay_.rows().empty() && overlay_.clear_batch() == 0) return committed_.visit(page, visit, end);
  PageRows memory;
  const PageRows* rows = committed_page(page, memory);
  if (rows == nullptr) return RowState::kNeedsRows;
  end = page_end(page, *rows);

  auto pending = overlay_.rows().lower_bound(std::max(page.prefix, page.start_after));
  if (pending != overlay_.rows().end() && page.before(pending->first)) ++pending;
  // The next pending row up to `last`; null if there is none.
  const auto next_pending = [&](const std::string* last) -> const Overlay::Rows::value_type* {
    while (pending != overlay_.rows().end() && pending->first.starts_with(page.prefix) &&
           (last == nullptr || pending->first <= *last)) {
      const std::string target = page.skipped_to(pending->first);
      if (target.empty()) return &*pending;
      pending = overlay_.rows().lower_bound(target);
    }
    return nullptr;
  };
  const auto show = [&](const Overlay::Rows::value_type& row) {
    ++pending;
    return row.second.deleted || visit(row.first, page.cut(row.second.value));
  };
  // Pending rows up to a committed one go first; a pending row of the same key hides it.
  for (const auto& [key, value] : *rows) {
    bool hidden = false;
    while (const auto* row = next_pending(&key)) {
      hidden = hidden || row->first == key;
      if (!show(*row)) return RowState::kFound;
    }
    if (!hidden && !visit(key, value)) return RowState::kFound;
  }
  while (end.complete) {
    const auto* row = next_pending(nullptr);
    if (row == nullptr || !show(*row)) break;
  }
  return RowState::kFound;
}

// A term has one leader, one process, so what other processes wrote in it cannot be missing here.
RowView::Moment Replica::watch(std::string_view key_prefix) {
  watched_.watch(key_prefix, evaluation_);
  return {range_.value, leading_term_.value, leadership_, evaluation_};
}

bool Replica::changed_since(std::string_view key_prefix, const Moment& moment) {
  if (CAIRN_PLANTED("watch-ignored")) return false;
  const bool here =
      moment.range == range_.value && moment.term == leading_term_.value && moment.leadership == leadership_;
  if (here && !watched_.changed_since(key_prefix, moment.number)) return false;
  seen_batch_ = std::max(seen_batch_, newest_batch());  // the change may be pending
  return true;
}

void Replica::put(std::string_view row_key, std::string_view value) {
  batch_.put(row_key, value);
  overlay_.write(batch_number_, row_key, value, false);
}
void Replica::remove(std::string_view row_key) {
  batch_.remove(row_key);
  overlay_.write(batch_number_, row_key, {}, true);
}
void Replica::remove_prefix(std::string_view prefix) { batch_.remove_prefix(prefix); }
void Replica::clear_all() {
  batch_.clear_all();
  overlay_.clear_all(batch_number_);
  ++data_epoch_;
}

}  // namespace cairn::server
