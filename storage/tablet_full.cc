// Compaction on request: waits for its turn behind what is under way and for the flush, then goes through the parts
// that pick_full() names. Every part is a chain of slices like any incremental compaction.
#include <algorithm>
#include <utility>

#include "storage/tablet_impl.h"

namespace cairn::storage {

void TabletImpl::compact(std::move_only_function<void(Result<void>)> done) {
  if (const auto error = unfit()) return answer_later(*store_.env().loop, std::move(done), *error);
  // One that has not begun takes what has come since along.
  if (full_.empty() || full_.back().ids) full_.emplace_back();
  full_.back().target = applied_.index;
  full_.back().done.push_back(std::move(done));
  flush();
  maybe_compact();
}

// True: a part of it was begun.
bool TabletImpl::start_full() {
  while (!full_.empty() && flushed_.index >= full_.front().target) {
    Full& full = full_.front();
    const std::vector<SstableInfo> infos = tables();
    if (!full.ids) {
      full.ids.emplace();
      for (const SstableInfo& info : infos) full.ids->push_back(info.id);
      std::ranges::sort(*full.ids);
    }
    auto plan = pick_full({infos, {}, applied_.time_ms}, *full.ids, strategy_, store_.options().compaction);
    if (plan) {
      start_compaction(std::move(*plan));
      return true;
    }
    end_full({});
  }
  return false;
}

void TabletImpl::end_full(const Result<void>& result) {
  if (full_.empty()) return;
  for (auto& done : full_.front().done) answer_later(*store_.env().loop, std::move(done), result);
  full_.erase(full_.begin());
}

}  // namespace cairn::storage
