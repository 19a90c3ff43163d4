#include "storage/cache/block_cache.h"

#include <algorithm>
#include <iterator>

#include "storage/sstable/codec.h"

namespace cairn::storage {
namespace {

constexpr uint64_t kListLinks = 2 * sizeof(void*);

// A small part of all: the last chunk of each queue is partly empty.
uint64_t chunk_bytes_for(uint64_t bytes_max) { return std::clamp<uint64_t>(bytes_max / 64, 4u << 10, 256u << 10); }

// Blocks that are looked at move to a new chunk before all of the old one has gone.
uint64_t kept_of(uint64_t bytes_max) {
  const uint64_t chunk = chunk_bytes_for(bytes_max);
  return bytes_max > 16 * chunk ? bytes_max - chunk : bytes_max;
}

bool older(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) < 0; }

}  // namespace

BlockCache::BlockCache(uint64_t bytes_max)
    : bytes_max_(bytes_max),
      bytes_kept_(kept_of(bytes_max)),
      memory_(chunk_bytes_for(bytes_max)),
      small_packed_(chunk_bytes_for(bytes_max)),
      main_packed_(chunk_bytes_for(bytes_max)) {}

BlockCache::~BlockCache() {
  for (Queue* queue : {&small_, &main_}) {
    for (CachedBlock& cached : *queue) cached.table->slots_[cached.ordinal].pass(0);
  }
  for (PackedQueue* queue : {&small_packed_, &main_packed_}) {
    while (PackedBlock* block = queue->front()) drop(block);
  }
}

void BlockCache::offer(const std::shared_ptr<TableBlocks>& table, uint32_t ordinal,
                       std::shared_ptr<const Block> block) {
  if (wants(*table, ordinal) == BlockForm::kNone) return passed_by(*table, ordinal);
  insert(table, ordinal, std::move(block), BlockUse::kPoint);
}

void BlockCache::offer(const std::shared_ptr<TableBlocks>& table, uint32_t ordinal, std::shared_ptr<const Block> block,
                       const StoredBlock& stored) {
  if (wants(*table, ordinal) != BlockForm::kPacked) return offer(table, ordinal, std::move(block));
  insert(table, ordinal, stored, BlockUse::kPoint);
}

void BlockCache::insert(const std::shared_ptr<TableBlocks>& table, uint32_t ordinal, std::shared_ptr<const Block> block,
                        BlockUse use) {
  const TableBlocks::Slot& slot = table->slots_[ordinal];
  if (slot.present() || block->bytes() > bytes_max_) return;
  hold(table, ordinal, std::move(block), use == BlockUse::kPoint && returns(slot), use == BlockUse::kScan);
  make_room();
}

void BlockCache::insert(const std::shared_ptr<TableBlocks>& table, uint32_t ordinal, const StoredBlock& block,
                        BlockUse use) {
  const TableBlocks::Slot& slot = table->slots_[ordinal];
  if (slot.present() || PackedQueue::bytes_of(block.payload.size()) > bytes_max_) return;
  if (table->packed_ == 0) table->self_ = table;
  hold(*table, ordinal, block, use == BlockUse::kPoint && returns(slot));
  make_room();
}

void BlockCache::unpacked(const std::shared_ptr<TableBlocks>& table, uint32_t ordinal,
                          std::shared_ptr<const Block> block) {
  PackedBlock* const packed = table->slots_[ordinal].packed();
  if (packed == nullptr) return;
  drop(packed);
  hold(table, ordinal, std::move(block), true, false);
  make_room();
}

bool BlockCache::unpacks(const TableBlocks& table, uint32_t ordinal) {
  if (!full_) return true;
  TableBlocks::Slot& slot = slot_of(table, ordinal);
  if (!worth_.is_hot(slot.uses())) return false;
  if (idle_at_end()) return slot.packed() != nullptr;
  slot.set_uses(1);  // everything is used: let the others have their turn before it is asked again
  return false;
}

// Is the packed block that has to go next one that nobody used? Those that somebody used have had their turn.
bool BlockCache::idle_at_end() {
  for (int looks = 0; looks < kLooksForIdle; ++looks) {
    PackedBlock* const oldest = main_packed_.front();
    if (oldest == nullptr || oldest->table->slots_[oldest->ordinal].uses() == 0) return true;
    again_to_main(oldest);
  }
  return false;
}

bool BlockCache::forget_some(TableBlocks& table, uint32_t& from, uint32_t looks, uint32_t blocks) {
  const auto keep = table.self_;
  for (; from < table.slots_.size() && looks > 0 && blocks > 0; ++from, --looks) {
    if (!table.slots_[from].present()) continue;
    forget(table, from);
    --blocks;
  }
  if (bytes() < bytes_max_ / 8 * 7) full_ = false;
  return from == table.slots_.size();
}

void BlockCache::forget(TableBlocks& table, uint32_t ordinal) {
  TableBlocks::Slot& slot = table.slots_[ordinal];
  if (PackedBlock* packed = slot.packed()) return drop(packed);
  if (slot.block() == nullptr) return;
  const Queue::iterator place = table.places_[ordinal];
  drop(place->in_main ? main_ : small_, place);
}

BlockCache::Queue* BlockCache::give_way() const {
  for (const Queue* queue : {&small_, &main_}) {
    if (queue->empty() || order_ - queue->front().order < blocks() / 8 * 7) continue;
    const CachedBlock& oldest = queue->front();
    if (!worth_.is_hot(oldest.table->slots_[oldest.ordinal].uses())) return const_cast<Queue*>(queue);
  }
  return nullptr;
}

void BlockCache::make_room() {
  int repacks = 0;
  for (int looks = 0; bytes() > bytes_kept_; ++looks) {
    full_ = true;
    const bool hurry = looks >= kLooksMax;
    if (Queue* const queue = give_way()) {
      evict_unpacked(*queue, repacks, hurry);
      continue;
    }
    const bool no_small = small_.empty() && small_packed_.empty(), no_main = main_.empty() && main_packed_.empty();
    const bool small = !no_small && (no_main || (small_bytes_ + small_packed_.bytes()) * kSmallShare >= bytes_max_);
    Queue& queue = small ? small_ : main_;
    PackedQueue& packed = small ? small_packed_ : main_packed_;
    const PackedBlock* const oldest = packed.front();
    if (oldest == nullptr || (!queue.empty() && older(queue.front().order, oldest->order))) {
      evict_unpacked(queue, repacks, hurry);
    } else {
      evict_packed(packed, hurry);
    }
  }
}

// The oldest one stays, is packed, or goes.
void BlockCache::evict_unpacked(Queue& queue, int& repacks, bool hurry) {
  const CachedBlock& oldest = queue.front();
  const uint32_t uses = oldest.table->slots_[oldest.ordinal].uses();
  if (worth_.is_hot(uses) && !hurry) return to_main_end(queue);
  const bool unwanted = oldest.scanned && uses == 0;
  if (!unwanted && oldest.block->raw().size() <= kRepackBytes && repacks < kRepacksMax) {
    ++repacks;
    return repack(queue);
  }
  if (uses > 0 && !hurry) return to_main_end(queue);
  ++evictions_;
  drop(queue, queue.begin(), ++passings_);
}

void BlockCache::evict_packed(PackedQueue& queue, bool hurry) {
  PackedBlock* const oldest = queue.front();
  const bool used = oldest->table->slots_[oldest->ordinal].uses() > 0;
  if (used && !hurry) return again_to_main(oldest);
  ++evictions_;
  drop(oldest, used || !oldest->in_main ? ++passings_ : 0);
}

void BlockCache::hold(const std::shared_ptr<TableBlocks>& table, uint32_t ordinal, std::shared_ptr<const Block> block,
                      bool to_main, bool scanned) {
  if (!block->in_memory()) block = block->copy(memory_);
  Queue& queue = to_main ? main_ : small_;
  const uint64_t bytes = block->bytes() + sizeof(CachedBlock) + kListLinks;
  bytes_of(queue) += bytes;
  table->slots_[ordinal].hold(block.get());
  table->places_[ordinal] =
      queue.insert(queue.end(), {table, ordinal, ++order_, to_main, scanned, bytes, std::move(block)});
}

void BlockCache::hold(TableBlocks& table, uint32_t ordinal, const StoredBlock& block, bool to_main) {
  PackedBlock like;
  like.table = &table;
  like.ordinal = ordinal;
  like.order = ++order_;
  like.in_main = to_main;
  table.slots_[ordinal].hold((to_main ? main_packed_ : small_packed_).push(like, block));
  ++table.packed_;
}

void BlockCache::to_main_end(Queue& queue) {
  CachedBlock& oldest = queue.front();
  oldest.in_main = true;
  oldest.order = ++order_;
  oldest.block = oldest.block->copy(memory_);  // those beside it go
  oldest.table->slots_[oldest.ordinal].hold(oldest.block.get());
  bytes_of(queue) -= oldest.bytes;
  main_bytes_ += oldest.bytes;
  main_.splice(main_.end(), queue, queue.begin());
}

void BlockCache::again_to_main(PackedBlock* block) {
  TableBlocks& table = *block->table;
  const uint32_t ordinal = block->ordinal;
  hold(table, ordinal, block->stored(), true);
  --table.packed_;
  (block->in_main ? main_packed_ : small_packed_).remove(block);
}

// Its stored bytes are not kept: they would take half as much again. Packing takes some microseconds, once in the time
// in which all others have their turn.
void BlockCache::repack(Queue& queue) {
  const auto table = queue.front().table;
  const auto block = queue.front().block;
  const uint32_t ordinal = queue.front().ordinal;
  drop(queue, queue.begin());
  const auto raw_bytes = static_cast<uint32_t>(block->raw().size());
  const bool smaller = pack(Compression::kLz4, block->raw(), scratch_);
  if (table->packed_ == 0) table->self_ = table;
  hold(*table, ordinal,
       {smaller ? Compression::kLz4 : Compression::kNone, raw_bytes,
        smaller ? std::string_view(scratch_) : block->raw()},
       true);
}

void BlockCache::drop(Queue& queue, Queue::iterator place, uint32_t passed) {
  bytes_of(queue) -= place->bytes;
  place->table->slots_[place->ordinal].pass(passed);
  queue.erase(place);
}

void BlockCache::drop(PackedBlock* block, uint32_t passed) {
  TableBlocks& table = *block->table;
  table.slots_[block->ordinal].pass(passed);
  (block->in_main ? main_packed_ : small_packed_).remove(block);
  if (--table.packed_ == 0) table.self_.reset();  // the table may end with that
}

}  // namespace cairn::storage
