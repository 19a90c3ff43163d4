// The tablet store's working parts. Internal to storage/.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

#include "storage/cache/block_cache.h"
#include "storage/cache/cache_care.h"
#include "storage/cache/hot_rows.h"
#include "storage/compaction/output_job.h"
#include "storage/io/async_reader.h"
#include "storage/io/io_tokens.h"
#include "storage/io/paced_job.h"
#include "storage/memtable/slab_pool.h"
#include "storage/recent_rates.h"
#include "storage/scrub.h"
#include "storage/tablet.h"
#include "storage/version/manifest.h"
#include "storage/version/version.h"

namespace cairn::storage {

class TabletImpl;
class ReshapeJob;
class InstallJob;

// What jobs on background threads may use; lives as long as the last of them. Thread safety: any thread.
struct StoreShared {
  FileSystem* fs;
  std::string sst_dir, snap_dir;
  std::unique_ptr<Manifest> manifest;
  std::shared_ptr<PacedDeleter> deleter;  // of what no tablet needs any more
  std::atomic<uint64_t> last_number{0};   // of SSTable files; the shard is in the top 16 bits
  std::shared_ptr<std::atomic<uint64_t>> temp_bytes = std::make_shared<std::atomic<uint64_t>>(0);  // see TempBytes
  uint64_t new_number() { return last_number.fetch_add(1, std::memory_order_relaxed) + 1; }
};

// Calls `done` from the loop: never from inside the call that it belongs to.
template <class T>
void answer_later(Executor& loop, std::move_only_function<void(Result<T>)> done,
                  std::type_identity_t<Result<T>> result) {
  loop.post([done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
}

// The information that goes into the manifest: what the files say, under their place in the tree.
Tables with_infos(std::vector<std::shared_ptr<Sstable>> tables, uint64_t run, uint32_t level);

std::optional<uint64_t> parse_sstable_name(std::string_view name);  // the number in it

// As the manifest knows it: its number is info.id.
Result<std::shared_ptr<Sstable>> open_table(FileSystem& fs, const std::string& path, const SstableInfo& info);

struct SnapshotTable {
  SnapshotFile file;
  SstableInfo info;
};
std::string encode_snapshot_manifest(const std::vector<SnapshotTable>& tables);
Result<std::vector<SnapshotTable>> decode_snapshot_manifest(std::string_view bytes);

class StoreImpl final : public TabletStore {
 public:
  StoreImpl(Environment env, TabletStoreOptions options);
  ~StoreImpl() override;
  Result<void> start(const std::string& manifest_dir, const std::string& sst_dir, const std::string& snap_dir);

  std::vector<RangeId> tablets() const override;
  Tablet* find(RangeId range) override;
  Result<Tablet*> create(RangeId range) override;
  Result<void> drop(RangeId range) override;
  void install(RangeId range, const std::string& dir, const std::string& manifest, const AppliedPosition& position,
               std::move_only_function<void(Result<void>)> done) override;
  Result<void> install_now(RangeId range, const std::string& dir, const std::string& manifest,
                           const AppliedPosition& position) override;
  Result<void> condemn(RangeId range, const AppliedPosition& position, const Error& damage) override;
  Result<void> collect_garbage() override;
  void split(RangeId parent, std::string_view key, RangeId left, RangeId right,
             std::move_only_function<void(Result<void>)> done) override;
  void merge(RangeId left, RangeId right, std::string_view key, RangeId merged,
             std::move_only_function<void(Result<void>)> done) override;
  void remove_snapshot(const std::string& dir) override { shared_->deleter->add_dir(dir); }
  bool has_room() const override { return out_of_space_ == 0; }
  bool has_memory() const override { return sealed_bytes_ == 0 || memtable_bytes_ < memory_limit(); }
  uint64_t memtable_bytes() const override { return memtable_bytes_; }
  WritePressure write_pressure() const override;
  void set_strategy(StrategyKind kind) override;
  StrategyKind strategy() const override { return options_.strategy; }
  void set_compression(Compression compression) override;
  Compression compression() const override { return options_.compression; }
  Amplification amplification() const override;
  StoreGauges gauges() override;
  const TabletStoreMetrics& metrics() const override { return metrics_; }
  bool scrub(const std::vector<RangeId>& ranges) override { return scrubber_.start(ranges); }
  bool cancel_scrub() override { return scrubber_.cancel(); }
  void set_scrub_rate(uint64_t bytes_per_second) override { scrubber_.set_rate(bytes_per_second); }
  void set_delete_rate(uint64_t bytes_per_second) override { shared_->deleter->set_rate(bytes_per_second); }
  const PacedDeleter& deleter() const override { return *shared_->deleter; }
  const ScrubStatus& scrub_status() const override { return scrubber_.status(); }

  // For tablets.
  Environment& env() { return env_; }
  const TabletStoreOptions& options() const { return options_; }
  const std::shared_ptr<StoreShared>& shared() const { return shared_; }
  const CompactionStrategy& strategy(StrategyKind kind) const { return *strategies_[static_cast<size_t>(kind)]; }
  SstableWriterOptions writer_options(Compression compression) const {
    return {options_.block_bytes, options_.filter_bits_per_key, compression, options_.expiry, FilterKind::kBloom};
  }
  BlockCache& cache() { return cache_; }
  // A little at a time, in turns of the loop to come.
  void bring_to_cache(std::shared_ptr<TableBlocks> table, uint32_t ordinal, std::shared_ptr<const Block> block) {
    if (cache_care_.insert(std::move(table), ordinal, std::move(block))) tend_cache();
  }
  void drop_from_cache(std::shared_ptr<TableBlocks> table) {
    if (cache_care_.forget(std::move(table))) tend_cache();
  }
  HotRows& hot_rows() { return hot_rows_; }
  CachedReader& cached_reader() { return *cached_reader_; }
  PointReader& point_reader() { return point_reader_; }
  AsyncReader& reader() { return measured_reader_; }
  // A job of compactions.
  void submit_paced(PacedJob::Slice slice);
  const std::shared_ptr<SlabPool>& slabs() const { return slabs_; }
  TabletStoreMetrics& mutable_metrics() { return metrics_; }
  void memtable_changed(int64_t delta, int64_t sealed);       // bytes; of those what waits for a flush
  void memtable_flushed(uint64_t bytes);                      // before memtable_changed() tells that they are free
  void out_of_space(int change) { out_of_space_ += change; }  // tablets whose flush has found no space
  void need_space() { shared_->deleter->hurry(); }
  void fatal(const Error& error);
  // What goes with its last owner goes in the background: unlinking a large file or freeing a memtable takes the loop
  // milliseconds. Call after everything else has let go of it.
  void release_in_background(std::vector<std::shared_ptr<const void>> owned);
  void sample_rates();  // when counters of RecentRates have grown
  bool failed() const { return failed_; }
  std::weak_ptr<StoreImpl*> alive() const { return self_; }  // expired once the store is gone

 private:
  Result<void> installed(InstallJob& job);
  void count_dropped(const TabletImpl& tablet);
  // Why these ranges cannot become those; nullopt: they can.
  std::optional<Error> unfit_to_reshape(std::initializer_list<RangeId> parents,
                                        std::initializer_list<RangeId> children) const;
  std::move_only_function<void(Result<void>)> reserve(std::initializer_list<RangeId> parents,
                                                      std::initializer_list<RangeId> children,
                                                      std::move_only_function<void(Result<void>)> done);
  void reshape(std::shared_ptr<ReshapeJob> job, std::vector<std::shared_ptr<TabletImpl>> parents, size_t quiet,
               std::move_only_function<void(Result<void>)> done);
  Result<void> reshaped(ReshapeJob& job, const std::vector<std::shared_ptr<TabletImpl>>& parents);

  uint64_t memory_limit() const { return kMemtableLimit * options_.memtable_budget_bytes; }
  void touch_slabs_ahead();
  void tend_cache();

  Environment env_;
  TabletStoreOptions options_;
  TabletStoreMetrics metrics_;
  std::shared_ptr<SlabPool> slabs_;
  bool touching_slabs_ = false;  // a job for that is under way
  std::shared_ptr<StoreShared> shared_;
  std::array<std::unique_ptr<CompactionStrategy>, std::size(kStrategyKinds)> strategies_;
  BlockCache cache_;
  CacheCare cache_care_{cache_};
  HotRows hot_rows_;
  PointReader point_reader_;
  PlainCachedReader plain_cached_reader_;
  CachedReader* cached_reader_;
  BackgroundReader own_reader_;
  std::shared_ptr<IoTokens> io_tokens_;
  MeasuredReader measured_reader_;
  uint64_t shard_ = 0;
  std::map<RangeId, std::shared_ptr<TabletImpl>> tablets_;
  std::vector<std::shared_ptr<InstallJob>> installs_;  // under way; few
  std::set<RangeId> reshaping_;                        // parents and children of the splits and merges under way
  std::shared_ptr<StoreImpl*> self_ = std::make_shared<StoreImpl*>(this);
  Amplification dropped_;  // counts of tablets that are gone
  uint64_t memtable_bytes_ = 0;
  uint64_t sealed_bytes_ = 0;
  Instant flush_begun_ = 0;  // or when the one before ended
  FlushRate flush_rate_;
  RecentRates rates_;
  bool sealing_posted_ = false;
  int out_of_space_ = 0;
  bool failed_ = false;
  Scrubber scrubber_;
};

}  // namespace cairn::storage
