#include "storage/cache/block_cache.h"

#include <iterator>

namespace cairn::storage {

BlockCache::~BlockCache() {
  for (Queue* queue : {&small_, &main_}) {
    for (CachedBlock& cached : *queue) cached.table->slots_[cached.ordinal].pass(0);
  }
}

void BlockCache::insert(const std::shared_ptr<TableBlocks>& table, uint32_t ordinal, std::shared_ptr<const Block> block,
                        BlockUse use) {
  TableBlocks::Slot& slot = table->slots_[ordinal];
  const uint64_t bytes = block->bytes() + sizeof(CachedBlock);
  if (slot.block() != nullptr || bytes > bytes_max_) return;
  usual_bytes_ = bytes;
  const bool to_main = use == BlockUse::kPoint && returns(slot);
  Queue& queue = to_main ? main_ : small_;
  (to_main ? main_bytes_ : small_bytes_) += bytes;
  slot.hold(block.get());
  table->places_[ordinal] = queue.insert(queue.end(), {table, ordinal, to_main, bytes, std::move(block)});
  make_room();
}

void BlockCache::forget(TableBlocks& table) {
  for (size_t i = 0; i < table.slots_.size(); ++i) {
    if (table.slots_[i].block() == nullptr) continue;
    const Queue::iterator place = table.places_[i];
    drop(place->in_main ? main_ : small_, place);
  }
}

void BlockCache::make_room() {
  while (bytes() > bytes_max_) {
    if (!small_.empty() && (main_.empty() || small_bytes_ * kSmallShare >= bytes_max_)) {
      evict_small();
    } else {
      evict_main();
    }
  }
}

void BlockCache::evict_small() {
  const auto oldest = small_.begin();
  TableBlocks::Slot& slot = oldest->table->slots_[oldest->ordinal];
  if (slot.used()) {
    slot.set_used(false);
    oldest->in_main = true;
    small_bytes_ -= oldest->bytes;
    main_bytes_ += oldest->bytes;
    main_.splice(main_.end(), small_, oldest);
    return;
  }
  ++evictions_;
  drop(small_, oldest, ++passings_);
}

void BlockCache::evict_main() {
  const auto oldest = main_.begin();
  TableBlocks::Slot& slot = oldest->table->slots_[oldest->ordinal];
  if (slot.used()) {
    slot.set_used(false);
    main_.splice(main_.end(), main_, oldest);
    return;
  }
  ++evictions_;
  drop(main_, oldest);
}

void BlockCache::drop(Queue& queue, Queue::iterator place, uint32_t passed) {
  (place->in_main ? main_bytes_ : small_bytes_) -= place->bytes;
  place->table->slots_[place->ordinal].pass(passed);
  queue.erase(place);
}

}  // namespace cairn::storage
