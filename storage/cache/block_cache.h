// Recently used data blocks of a shard.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <utility>

#include "storage/cache/table_blocks.h"

namespace cairn::storage {

enum class BlockUse : uint8_t { kPoint, kScan };
// Of a block in the cache. Packed: as it is stored, its checksum checked when it came.
enum class BlockForm : uint8_t { kNone, kPacked, kUnpacked };

// Two queues and a memory of what left the small one (S3-FIFO: Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you
// need for cache eviction", SOSP 2023): new blocks enter the small queue; what was used there again moves on to the
// main queue, and so does what comes back soon after it was evicted. What only a scan reads never gets beyond the small
// queue. Of point reads, a full cache takes only what it remembers: what is read once is not worth the block that would
// go for it, nor the copying.
//
// While there is room, blocks are held unpacked. A full cache takes packed ones, and has unpacked only what is used
// clearly more often than what has to go next (UseWorth): each queue has a part for either form, and the older of the
// two oldest has its turn. An unpacked block that is not used that often is packed again before anything is given up,
// once as many others came as the cache holds; a packed one is unpacked for good when it was used that often and the
// oldest one was not used at all.
//
// Bounded by bytes, of all that is taken for them. Thread safety: the owner's loop. An unpacked block that was handed
// out stays alive as long as its holder wants, in the cache or not; a packed one until the next call that is not const.
class BlockCache {
 public:
  explicit BlockCache(uint64_t bytes_max);
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;
  ~BlockCache();

  // An unpacked block; null: it is not there in this form. Valid until the next insert() or forget().
  const Block* find(const TableBlocks& table, uint32_t ordinal, BlockUse use) {
    TableBlocks::Slot& slot = slot_of(table, ordinal);
    const Block* const block = slot.block();
    if (block != nullptr && use == BlockUse::kPoint) count_use(slot);
    return block;
  }
  // A packed one, likewise.
  const PackedBlock* find_packed(const TableBlocks& table, uint32_t ordinal, BlockUse use) {
    TableBlocks::Slot& slot = slot_of(table, ordinal);
    const PackedBlock* const block = slot.packed();
    if (block != nullptr && use == BlockUse::kPoint) count_use(slot);
    return block;
  }
  // Of a block that was found packed: shall it be unpacked for good, by unpacked()?
  bool unpacks(const TableBlocks& table, uint32_t ordinal);
  // Of a block that a point read did not find: in which form is it to be inserted once it was read? There is room, or
  // it passed by not long ago.
  BlockForm wants(const TableBlocks& table, uint32_t ordinal) const {
    if (!full_) return BlockForm::kUnpacked;
    return returns(table.slots_[ordinal]) || give_way() != nullptr ? BlockForm::kPacked : BlockForm::kNone;
  }
  bool full() const { return full_; }  // else it takes whatever comes, unpacked
  // A block that was not found was read.
  void was_read(bool from_device) { worth_.was_read(from_device); }
  // One that a point read brought: inserts it if it is wanted.
  void offer(const std::shared_ptr<TableBlocks>& table, uint32_t ordinal, std::shared_ptr<const Block> block);
  void offer(const std::shared_ptr<TableBlocks>& table, uint32_t ordinal, std::shared_ptr<const Block> block,
             const StoredBlock& stored);
  // It was read and not inserted.
  void passed_by(const TableBlocks& table, uint32_t ordinal) {
    TableBlocks::Slot& slot = slot_of(table, ordinal);
    if (!slot.present()) slot.pass(++passings_);
  }
  void insert(const std::shared_ptr<TableBlocks>& table, uint32_t ordinal, std::shared_ptr<const Block> block,
              BlockUse use);
  void insert(const std::shared_ptr<TableBlocks>& table, uint32_t ordinal, const StoredBlock& block, BlockUse use);
  // `block` takes the place of its packed form. No others may have been inserted since that was found.
  void unpacked(const std::shared_ptr<TableBlocks>& table, uint32_t ordinal, std::shared_ptr<const Block> block);
  // Lets go of the blocks of a table that nobody will ask for, from the block `from` on, in parts: at most so many
  // looked at, and so many of them let go of. Moves `from` on. True: that was the last part.
  bool forget_some(TableBlocks& table, uint32_t& from, uint32_t looks, uint32_t blocks);
  void forget(TableBlocks& table, uint32_t ordinal);  // of one, if it is there
  // Where to unpack blocks that it will be given.
  BlockMemory& memory() { return memory_; }
  uint64_t bytes() const { return packed_bytes() + unpacked_bytes(); }
  uint64_t packed_bytes() const { return small_packed_.bytes() + main_packed_.bytes(); }
  uint64_t unpacked_bytes() const { return small_bytes_ + main_bytes_; }
  uint64_t room() const { return full_ || bytes() > bytes_kept_ ? 0 : bytes_kept_ - bytes(); }
  uint64_t evictions() const { return evictions_; }

 private:
  using Queue = std::list<CachedBlock>;
  static constexpr uint64_t kSmallShare = 10;        // the small queue has a tenth of the bytes
  static constexpr size_t kRepackBytes = 16u << 10;  // larger blocks are not packed again: the loop waits for that
  static constexpr int kRepacksMax = 8;              // for one that comes
  static constexpr int kLooksMax = 512;              // likewise: what comes next then goes although it was used
  static constexpr int kLooksForIdle = 4;

  // Whether a block is in memory is no part of what a table is.
  static TableBlocks::Slot& slot_of(const TableBlocks& table, uint32_t ordinal) {
    return const_cast<TableBlocks::Slot&>(table.slots_[ordinal]);
  }
  void count_use(TableBlocks::Slot& slot) {
    const uint32_t uses = slot.uses(), counted = worth_.counted(uses);
    if (counted != uses) slot.set_uses(counted);
  }
  size_t blocks() const { return small_.size() + main_.size() + small_packed_.size() + main_packed_.size(); }
  // As many others passed by since as the cache holds: it would have been used there.
  bool returns(const TableBlocks::Slot& slot) const {
    const uint32_t passed = slot.passed();
    return passed != 0 && passings_ - passed < blocks();
  }
  // The queue whose oldest unpacked block had its time and is not worth its form; null: there is none.
  Queue* give_way() const;
  bool idle_at_end();
  void make_room();
  void evict_unpacked(Queue& queue, int& repacks, bool hurry);
  void evict_packed(PackedQueue& queue, bool hurry);
  void hold(const std::shared_ptr<TableBlocks>& table, uint32_t ordinal, std::shared_ptr<const Block> block,
            bool to_main, bool scanned);
  void hold(TableBlocks& table, uint32_t ordinal, const StoredBlock& block, bool to_main);
  void to_main_end(Queue& queue);
  void again_to_main(PackedBlock* block);
  void repack(Queue& queue);
  void drop(Queue& queue, Queue::iterator place, uint32_t passed = 0);
  void drop(PackedBlock* block, uint32_t passed = 0);
  uint64_t& bytes_of(const Queue& queue) { return &queue == &main_ ? main_bytes_ : small_bytes_; }

  uint64_t bytes_max_, bytes_kept_;
  BlockMemory memory_;
  UseWorth worth_;
  Queue small_, main_;  // unpacked, oldest first
  uint64_t small_bytes_ = 0, main_bytes_ = 0;
  PackedQueue small_packed_, main_packed_;
  bool full_ = false;
  uint32_t order_ = 0;     // of what came last, or was looked at and stayed
  uint32_t passings_ = 0;  // blocks that were not inserted, or left the small queue unused
  uint64_t evictions_ = 0;
  std::string scratch_;
};

}  // namespace cairn::storage
