// One LSM tree. Internal to storage/. tablet.cc applies and reads, tablet_flush.cc writes out,
// tablet_fetch.cc reads from disk, tablet_full.cc compacts on request, reshape.cc splits and merges,
// ingest.cc takes in ready-made files.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/memtable/memtable.h"
#include "storage/store_impl.h"
#include "storage/version/edit.h"

namespace cairn::storage {

inline constexpr uint64_t kPassedMin = 64;  // rows that a scan passed in vain: less is not worth a note

class FetchJob;
class IngestJob;

// Thread safety: the loop. Jobs hold what they read by shared ownership and come back through a weak
// reference.
class TabletImpl final : public Tablet, public std::enable_shared_from_this<TabletImpl> {
 public:
  TabletImpl(StoreImpl& store, RangeId range, uint64_t life, std::shared_ptr<const Version> version,
             const AppliedPosition& flushed);
  ~TabletImpl() override;

  Result<void> apply(const AppliedPosition& position, std::string_view operations) override;
  const AppliedPosition& applied() const override { return applied_; }
  const AppliedPosition& flushed() const override { return flushed_; }
  Lookup get(std::string_view row_key) override;
  void expect_place(uint64_t hash) const override { mutable_->prefetch_slot(hash); }
  void expect_row(uint64_t hash) const override { mutable_->prefetch_entry(hash); }
  bool scan(std::string_view prefix, std::string_view start_after,
            const std::function<bool(std::string_view, std::string_view)>& visit) override;
  bool scan(const RowPage& page, const std::function<bool(std::string_view, std::string_view)>& visit) override;
  void fetch(FetchRequest request, std::move_only_function<void(Result<FetchResult>)> done) override;
  void flush() override;
  void compact(std::move_only_function<void(Result<void>)> done) override;
  void checkpoint(std::move_only_function<void(Result<Checkpoint>)> done) override;
  void ingest(const AppliedPosition& position, std::vector<std::string> paths,
              std::move_only_function<void(Result<void>)> done) override;
  void examine(const std::string& file) override;
  TabletStats stats() const override;
  TreeShape shape() override;
  bool writable() const override { return !stalled_ && !corruption_; }
  std::vector<SstableInfo> tables() const override;
  void set_strategy(StrategyKind kind) override;
  void set_compression(Compression compression) override { compression_ = compression; }

  // For the store.
  uint64_t life() const { return life_; }
  RangeId range() const { return range_; }
  std::shared_ptr<const Sstable> table(uint64_t id) const;  // null: not there, or not any more
  uint64_t mutable_bytes() const { return mutable_->bytes(); }
  bool stalled() const { return stalled_; }
  void retire();     // dropped: pending work ends, files go with their last reader
  void surrender();  // the same, but the files are others' now
  // Nothing is applied any more. `quiet` runs on the loop once all that was lies in SSTables, and no edit of this
  // tablet is under way nor will be; or with what prevents it. One at a time.
  void freeze(std::move_only_function<void(Result<void>)> quiet);
  void thaw();
  StrategyKind strategy_kind() const { return strategy_; }
  Compression compression() const { return compression_; }
  void replace(uint64_t life, std::shared_ptr<const Version> version, const AppliedPosition& position);
  void report_corruption(const Error& error);
  void condemn(const AppliedPosition& position, const Error& damage);
  void maybe_compact();

  // For what reads it.
  StoreImpl& store() { return store_; }
  const std::shared_ptr<const Version>& version() const { return version_; }
  std::optional<Error> unfit() const;        // why it cannot be read; nullopt: it can
  std::optional<Error> unfreezable() const;  // why freeze() must not be called
  // What get() does, with blocks from `source`. Counts in `probed`, and in `reads` if it came to the runs.
  Lookup look_up(std::string_view row_key, uint64_t hash, BlockSource& source, RunsProbed& probed, uint64_t& reads);
  void count_reads(uint64_t reads, const RunsProbed& probed);
  // What fetch() does, with a version that is pinned now, all of it in the background.
  void fetch_pinned(FetchRequest request, std::move_only_function<void(Result<FetchResult>)> done);

 private:
  struct Sealed {
    std::shared_ptr<Memtable> table;
    AppliedPosition position;
    uint64_t clear_sequence = 0;
    Tables output;
  };
  struct PendingCheckpoint {
    LogIndex target;
    std::move_only_function<void(Result<Checkpoint>)> done;
  };

  // A compaction on request.
  struct Full {
    LogIndex target;                           // everything up to it lies in SSTables before it begins
    std::optional<std::vector<uint64_t>> ids;  // of the tables that were there then; sorted
    std::vector<std::move_only_function<void(Result<void>)>> done;
  };

  std::shared_ptr<Memtable> new_memtable(bool keep_order = false) {
    return std::make_shared<Memtable>(next_memtable_++, keep_order, store_.slabs());
  }
  void apply_op(const Op& op, uint64_t hash, uint64_t sequence, uint64_t time_ms);
  bool scan(const RowPage& page, uint64_t steps_max,
            const std::function<bool(std::string_view, std::string_view)>& visit);
  void account();
  ReadView view() const;  // with the mutable memtable: for the loop only

  bool seal();
  void next_flush();
  void build(int attempt);
  void built(const std::shared_ptr<OutputJob>& job, int attempt);
  void wait_durable();
  void commit_flush();
  void flush_committed(Result<bool> result);
  void stall(const Error& error);
  void end_stall();
  void compaction_failed(const CompactionPlan& plan, const Error& error);
  void compaction_ended();
  TabletStoreMetrics::Moved& moved_by(const CompactionPlan& plan);
  TabletHealth health() const;
  void start_compaction(CompactionPlan plan);
  OutputPlan output_plan(const CompactionPlan& plan, uint64_t& bytes_in) const;
  void compaction_done(const std::shared_ptr<OutputJob>& job, CompactionPlan plan);
  void commit_compaction(CompactionPlan plan, Tables output, std::optional<std::string> rest);
  void compaction_committed(Result<bool> result, CompactionPlan plan, const TabletEdit& edit, Tables output);
  bool install_compaction(const CompactionPlan& plan, const TabletEdit& edit, Tables output);
  bool start_full();
  void end_full(const Result<void>& result);
  uint64_t next_run() const;
  // Of what a flush writes, or a compaction above older runs.
  Compression fast_compression() const { return compression_ == Compression::kZstd ? Compression::kLz4 : compression_; }
  void count_scan(std::string_view from, uint64_t in_vain);
  void passed_in_vain(std::string_view from, uint64_t rows);
  const CompactionStrategy& strategy() const { return store_.strategy(strategy_); }
  uint64_t estimate_live() const;
  // `dead`: retired tables, and whatever else ends with the version before.
  void set_version(std::shared_ptr<const Version> version, std::vector<std::shared_ptr<const void>> dead = {});
  void serve_checkpoints();
  void end_pending(const Error& error);
  void end_life(std::vector<std::shared_ptr<const void>> dead);
  void check_quiet();
  void end_freeze(const Error& error);
  void start_ingest(std::shared_ptr<IngestJob> job, std::move_only_function<void(Result<void>)> done);
  Result<void> ingested(IngestJob& job);

  void submit_fetch(std::shared_ptr<FetchJob> job);
  void fetched(const std::shared_ptr<FetchJob>& job);

  StoreImpl& store_;
  RangeId range_;
  uint64_t life_;
  bool dropped_ = false;
  uint64_t next_memtable_ = 1;
  std::shared_ptr<Memtable> mutable_;
  uint64_t mutable_clear_ = 0;   // sequence of the newest clear in the mutable memtable; 0 = none
  uint64_t clear_sequence_ = 0;  // everything older is gone, wherever it still lies
  std::vector<Sealed> sealed_;   // oldest first; few, and an empty deque takes 600 bytes
  std::shared_ptr<const Version> version_;
  uint64_t hot_life_;  // of what HotRows holds of version_ as it shows through clear_sequence_
  AppliedPosition applied_, flushed_;
  std::vector<uint64_t> hashes_;                        // of the batch being applied
  int64_t accounted_bytes_ = 0, accounted_sealed_ = 0;  // what the store was told

  bool flushing_ = false;
  bool stalled_ = false;       // the flush of sealed_.front() waits for its next try
  bool out_of_space_ = false;  // ... for want of space
  TimerId retry_timer_ = 0;
  BackgroundErrors flush_errors_, compaction_errors_;
  TimerId compaction_timer_ = 0;  // until it fires no compaction begins
  StrategyKind strategy_;
  Compression compression_;
  bool compacting_ = false;
  Instant compaction_began_ = 0, flush_began_ = 0;  // of the one under way
  TempBytes uninstalled_;                           // of the output that is being committed
  bool committing_ = false;                         // the edit of a compaction is under way
  bool frozen_ = false;
  std::move_only_function<void(Result<void>)> quiet_;  // asked for by freeze(), not yet answered
  // Of the output that is being committed: they go into the cache with it.
  std::vector<std::pair<std::shared_ptr<TableBlocks>, KeptBlock>> kept_blocks_;
  std::vector<Full> full_;                      // one after the other; few
  Amplification amplification_;                 // without what stats() counts
  mutable std::optional<uint64_t> live_bytes_;  // estimate for the present version, once it was asked for
  std::optional<TreeShape> shape_;              // likewise
  uint64_t shape_time_ms_ = 0;                  // when it was that
  std::vector<uint64_t> reshaped_;  // tables that the strategy before has left, until the present one wants nothing
  std::map<uint64_t, uint64_t> passed_;  // rows that scans passed in vain, by table; see ReadOptions
  uint64_t passed_unseen_ = 0;           // since the strategy was last asked
  uint64_t scans_ = 0;
  std::vector<PendingCheckpoint> checkpoints_;
  std::optional<Error> corruption_;
  uint64_t corrupt_since_ms_ = 0;  // wall clock
};

}  // namespace cairn::storage
