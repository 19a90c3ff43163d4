#include "storage/cache/cache_care.h"

#include <utility>

namespace cairn::storage {

bool CacheCare::add(Work work) {
  work_.push_back(std::move(work));
  return work_.size() == 1;
}

bool CacheCare::insert(std::shared_ptr<TableBlocks> table, uint32_t ordinal, std::shared_ptr<const Block> block) {
  return add({std::move(table), ordinal, std::move(block)});
}

bool CacheCare::forget(std::shared_ptr<TableBlocks> table) { return add({std::move(table), 0, nullptr}); }

bool CacheCare::step() {
  for (int inserts = 0; inserts < kInserts && !work_.empty() && work_.front().block; ++inserts) {
    Work& next = work_.front();
    cache_.insert(next.table, next.ordinal, std::move(next.block), BlockUse::kScan);
    work_.pop_front();
    if (inserts + 1 == kInserts) return !work_.empty();
  }
  if (work_.empty()) return false;
  Work& next = work_.front();
  if (!next.block && cache_.forget_some(*next.table, next.ordinal, kSlots, kForgotten)) work_.pop_front();
  return !work_.empty();
}

}  // namespace cairn::storage
