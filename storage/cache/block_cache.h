// Recently used data blocks of a shard.
#pragma once

#include <list>
#include <memory>
#include <utility>

#include "storage/cache/table_blocks.h"

namespace cairn::storage {

enum class BlockUse : uint8_t { kPoint, kScan };

// Two queues and a memory of what left the small one (S3-FIFO: Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you
// need for cache eviction", SOSP 2023; with one bit of use): new blocks enter the small queue; what was used there
// again moves on to the main queue, and so does what comes back soon after it was evicted. What only a scan reads never
// gets beyond the small queue. Of point reads, a full cache takes only what it remembers: what is read once is not
// worth the block that would go for it, nor the copying. Bounded by bytes. Thread safety: the owner's loop. A
// handed-out block stays alive as long as its holder wants, in the cache or not.
class BlockCache {
 public:
  explicit BlockCache(uint64_t bytes_max) : bytes_max_(bytes_max) {}
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;
  ~BlockCache();

  // Null: not there. Valid until the next insert() or forget().
  const Block* find(const TableBlocks& table, uint32_t ordinal, BlockUse use) {
    // Whether a block is in memory is no part of what a table is.
    auto& slot = const_cast<TableBlocks::Slot&>(table.slots_[ordinal]);
    const Block* const block = slot.block();
    if (block != nullptr && use == BlockUse::kPoint && !slot.used()) slot.set_used(true);
    return block;
  }
  // Of a block that a point read did not find: is it to be inserted once it was read? There is room, or it passed by
  // not long ago.
  bool wants(const TableBlocks& table, uint32_t ordinal) const {
    return bytes() + usual_bytes_ <= bytes_max_ || returns(table.slots_[ordinal]);
  }
  // One that a point read brought: inserts it if it is wanted.
  void offer(const std::shared_ptr<TableBlocks>& table, uint32_t ordinal, std::shared_ptr<const Block> block) {
    if (!wants(*table, ordinal)) return passed_by(*table, ordinal);
    insert(table, ordinal, std::move(block), BlockUse::kPoint);
  }
  // It was read and not inserted.
  void passed_by(const TableBlocks& table, uint32_t ordinal) {
    auto& slot = const_cast<TableBlocks::Slot&>(table.slots_[ordinal]);
    if (slot.block() == nullptr) slot.pass(++passings_);
  }
  void insert(const std::shared_ptr<TableBlocks>& table, uint32_t ordinal, std::shared_ptr<const Block> block,
              BlockUse use);
  void forget(TableBlocks& table);  // lets go of its blocks: nobody will ask for them
  uint64_t bytes() const { return small_bytes_ + main_bytes_; }
  uint64_t room() const { return bytes_max_ - bytes(); }  // bytes until something has to go
  uint64_t evictions() const { return evictions_; }

 private:
  using Queue = std::list<CachedBlock>;
  static constexpr uint64_t kSmallShare = 10;  // the small queue has a tenth of the bytes
  // As many others passed by since as the cache holds: it would have been used there.
  bool returns(const TableBlocks::Slot& slot) const {
    const uint32_t passed = slot.passed();
    return passed != 0 && passings_ - passed < main_.size() + small_.size();
  }
  void make_room();
  void evict_small();
  void evict_main();
  void drop(Queue& queue, Queue::iterator place, uint32_t passed = 0);

  uint64_t bytes_max_;
  Queue small_, main_;  // oldest first
  uint64_t small_bytes_ = 0, main_bytes_ = 0;
  uint64_t usual_bytes_ = 0;  // of the block that was inserted last
  uint32_t passings_ = 0;     // blocks that were not inserted, or left the small queue unused
  uint64_t evictions_ = 0;
};

}  // namespace cairn::storage
