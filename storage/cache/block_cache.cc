#include "storage/cache/block_cache.h"

#include <iterator>

namespace cairn::storage {

BlockCache::~BlockCache() {
  for (Queue* queue : {&small_, &main_}) {
    for (CachedBlock& cached : *queue) cached.table->slots_[cached.ordinal] = {};
  }
}

void BlockCache::insert(const std::shared_ptr<TableBlocks>& table, uint32_t ordinal, std::shared_ptr<const Block> block,
                        BlockUse use) {
  TableBlocks::Slot& slot = table->slots_[ordinal];
  const uint64_t bytes = block->bytes() + sizeof(CachedBlock);
  if (slot.block != nullptr || bytes > bytes_max_) return;
  usual_bytes_ = bytes;
  const bool to_main = use == BlockUse::kPoint && returns(slot);
  Queue& queue = to_main ? main_ : small_;
  (to_main ? main_bytes_ : small_bytes_) += bytes;
  slot.block = block.get();
  slot.used = false;
  slot.place = queue.insert(queue.end(), {table, ordinal, to_main, bytes, std::move(block)});
  make_room();
}

void BlockCache::forget(TableBlocks& table) {
  for (TableBlocks::Slot& slot : table.slots_) {
    if (slot.block != nullptr) drop(slot.place->in_main ? main_ : small_, slot.place);
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
  if (slot.used) {
    slot.used = false;
    oldest->in_main = true;
    small_bytes_ -= oldest->bytes;
    main_bytes_ += oldest->bytes;
    main_.splice(main_.end(), small_, oldest);
    return;
  }
  slot.passed = ++passings_;
  ++evictions_;
  drop(small_, oldest);
}

void BlockCache::evict_main() {
  const auto oldest = main_.begin();
  TableBlocks::Slot& slot = oldest->table->slots_[oldest->ordinal];
  if (slot.used) {
    slot.used = false;
    main_.splice(main_.end(), main_, oldest);
    return;
  }
  ++evictions_;
  drop(main_, oldest);
}

void BlockCache::drop(Queue& queue, Queue::iterator place) {
  (place->in_main ? main_bytes_ : small_bytes_) -= place->bytes;
  place->table->slots_[place->ordinal].block = nullptr;
  queue.erase(place);
}

}  // namespace cairn::storage
