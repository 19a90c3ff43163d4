// Looking up rows whose blocks are not in memory. Internal to storage/.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "storage/tablet_impl.h"

namespace cairn::storage {

// Looks all rows up, reads the blocks that were missing, all of them at once, and looks again, until none is missing:
// the answer is as of the moment it is given, whatever was applied, flushed or compacted meanwhile. Keeps itself alive
// while reads are under way. Thread safety: the loop.
class RowFetch : public std::enable_shared_from_this<RowFetch> {
 public:
  static constexpr size_t kRowsMax = 256;  // of a request; the blocks of all of them are held until the answer
  RowFetch(TabletImpl& tablet, FetchRequest request, std::move_only_function<void(Result<FetchResult>)> done);
  void look();

 private:
  // Memory, and what was read.
  class Source final : public BlockSource {
   public:
    Source(BlockCache& cache, RowFetch& fetch) : cache_(cache), fetch_(fetch) {}
    Result<const Block*> load(const Sstable& table, uint32_t ordinal, BlockUse use) override;

   private:
    BlockCache& cache_;
    RowFetch& fetch_;
  };
  using Place = std::pair<const Sstable*, uint32_t>;  // of a block
  struct Held {
    std::shared_ptr<const Version> version;  // keeps the table
    std::string stored;                      // while it is read
    std::shared_ptr<const Block> block;      // then
    uint64_t life = 0;                       // of the tablet that the table was of
  };

  void read(const Place& place, Held& held);
  void was_read(const Place& place, Result<size_t> got);
  void read_again(const Place& place);
  // `stored`: what it was unpacked from, if that is at hand.
  void take(const Place& place, Result<std::shared_ptr<const Block>> block,
            const std::optional<StoredBlock>& stored = {});
  void fail(const Error& error);

  std::weak_ptr<TabletImpl> tablet_;
  std::weak_ptr<StoreImpl*> store_;
  FetchRequest request_;
  std::move_only_function<void(Result<FetchResult>)> done_;
  std::map<Place, Held> held_;
  std::map<Place, std::shared_ptr<const Block>> unpacked_;  // by the look under way, of what the cache has packed
  std::vector<Place> missing_;                              // found so by the look under way
  size_t reading_ = 0;
  int looks_ = 0;
  bool failed_ = false;
};

}  // namespace cairn::storage
