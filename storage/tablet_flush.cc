// A tablet's way to disk: seal, build, wait for the log, commit, install; then compaction and checkpoints.
#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/plant.h"
#include "storage/tablet_impl.h"

namespace cairn::storage {
namespace {

constexpr int kAttempts = 3;                          // of writing one SSTable
constexpr Duration kRetryDelay = 500 * kMillisecond;  // after a full disk or a failing one

using Tables = std::vector<std::pair<SstableInfo, std::shared_ptr<Sstable>>>;

// The information that goes into the manifest: what the file says, under its place in the tree.
Tables with_infos(std::vector<std::shared_ptr<Sstable>> tables, uint64_t run, uint32_t level) {
  Tables out;
  for (auto& table : tables) {
    SstableInfo info = table->info();
    info.id = table->number();
    info.run = run;
    info.level = level;
    out.emplace_back(std::move(info), std::move(table));
  }
  return out;
}

// A memtable that its cursor keeps alive.
class OwningMemtableCursor final : public RowCursor {
 public:
  explicit OwningMemtableCursor(std::shared_ptr<const Memtable> table) : table_(std::move(table)), cursor_(*table_) {}
  CursorState seek(std::string_view lower) override { return cursor_.seek(lower); }
  CursorState next() override { return cursor_.next(); }
  const Row& row() const override { return cursor_.row(); }

 private:
  std::shared_ptr<const Memtable> table_;
  MemtableCursor cursor_;
};

// Some runs of a version merged, with all they need.
class CompactionCursor final : public RowCursor {
 public:
  CompactionCursor(std::shared_ptr<const Version> version, const std::vector<uint64_t>& inputs)
      : version_(std::move(version)), source_(0) {
    std::vector<std::unique_ptr<RowCursor>> children;
    std::vector<const PrefixTombstones*> prefixes;
    for (const Run& run : version_->runs) {
      if (std::ranges::find(inputs, run.infos[0].id) == inputs.end()) continue;
      children.push_back(run_cursor(run, source_));
      for (const auto& table : run.tables) {
        if (!table->prefixes().empty()) prefixes.push_back(&table->prefixes());
      }
    }
    merge_ = std::make_unique<MergeCursor>(std::move(children), std::move(prefixes));
  }
  CursorState seek(std::string_view lower) override { return merge_->seek(lower); }
  CursorState next() override { return merge_->next(); }
  const Row& row() const override { return merge_->row(); }
  const Error& error() const override { return merge_->error(); }

 private:
  std::shared_ptr<const Version> version_;
  DiskSource source_;
  std::unique_ptr<MergeCursor> merge_;
};

SstableWriterOptions writer_options(const TabletStoreOptions& options) {
  return {options.block_bytes, options.filter_bits_per_key, options.compress};
}

}  // namespace

bool TabletImpl::seal() {
  const LogIndex covered = sealed_.empty() ? flushed_.index : sealed_.back().position.index;
  if (applied_.index == covered) return false;
  const bool keep_order = mutable_->keeps_order();
  mutable_->seal();
  sealed_.push_back({std::move(mutable_), applied_, mutable_clear_, {}});
  mutable_ = new_memtable(keep_order);
  mutable_clear_ = 0;
  account();
  return true;
}

void TabletImpl::flush() {
  // A damaged tablet may lack tables that the manifest has: what it wrote would not fit beside them.
  if (dropped_ || corruption_) return;
  seal();
  next_flush();
}

void TabletImpl::next_flush() {
  if (flushing_ || stalled_ || sealed_.empty() || dropped_ || corruption_ || store_.failed()) return;
  flushing_ = true;
  build(1);
}

void TabletImpl::build(int attempt) {
  const Sealed& front = sealed_.front();
  if (front.table->empty()) return wait_durable();
  const auto& shared = store_.shared();
  OutputPlan plan;
  plan.fs = shared->fs;
  plan.dir = shared->sst_dir;
  plan.new_number = [shared] { return shared->new_number(); };
  plan.writer = writer_options(store_.options());
  plan.run = version_->runs.empty() ? 1 : version_->runs.front().number + 1;
  plan.prefixes = front.table->prefixes().list();
  auto job = std::make_shared<OutputJob>(std::move(plan), std::make_unique<OwningMemtableCursor>(front.table));
  store_.env().background->submit(JobPriority::kHigh,
                                  [job, attempt, loop = store_.env().loop, weak = weak_from_this(), life = life_] {
                                    if (job->step()) return true;
                                    loop->post([job, attempt, weak, life] {
                                      const auto self = weak.lock();
                                      if (self && self->life_ == life && !self->dropped_) self->built(job, attempt);
                                    });
                                    return false;
                                  });
}

void TabletImpl::built(const std::shared_ptr<OutputJob>& job, int attempt) {
  if (job->error()) {
    // What was written is not to be trusted, so a retry means another file.
    if (job->error()->code != ErrorCode::kNoSpace && attempt < kAttempts) return build(attempt + 1);
    return stall();
  }
  TabletStoreMetrics& metrics = store_.mutable_metrics();
  metrics.flushes.add();
  metrics.bytes_flushed.add(job->bytes_written());
  const uint64_t run = version_->runs.empty() ? 1 : version_->runs.front().number + 1;
  sealed_.front().output = with_infos(job->take(), run, 0);
  wait_durable();
}

void TabletImpl::wait_durable() {
  auto then = [weak = weak_from_this(), life = life_] {
    const auto self = weak.lock();
    if (self && self->life_ == life && !self->dropped_) self->commit_flush();
  };
  if (CAIRN_PLANTED("sst-above-durable-index") || !store_.env().wait_log_durable) return then();
  store_.env().wait_log_durable(range_, sealed_.front().position.index, std::move(then));
}

void TabletImpl::commit_flush() {
  const Sealed& front = sealed_.front();
  TabletEdit edit;
  edit.life = life_;
  edit.flushed = front.position;
  if (CAIRN_PLANTED("flush-edit-without-index")) edit.flushed->index = edit.flushed->index.next();
  edit.clear_sequence = front.clear_sequence;
  for (const auto& [info, table] : front.output) edit.added.push_back(info);
  store_.env().background->submit(JobPriority::kHigh, [shared = store_.shared(), edit = std::move(edit), life = life_,
                                                       loop = store_.env().loop, weak = weak_from_this()]() mutable {
    auto result = std::make_shared<Result<bool>>(shared->manifest->commit({edit}));
    loop->post([result, weak, life] {
      const auto self = weak.lock();
      if (self && self->life_ == life && !self->dropped_) self->flush_committed(std::move(*result));
    });
    return false;
  });
}

void TabletImpl::flush_committed(Result<bool> result) {
  if (!result) {
    if (result.error().code != ErrorCode::kNoSpace) return store_.fatal(result.error());
    for (const auto& [info, table] : sealed_.front().output) table->retire();
    sealed_.front().output.clear();
    return stall();
  }
  CAIRN_ASSERT_MSG(*result, "a flush of a living tablet always fits the manifest");
  Sealed& front = sealed_.front();
  Tables tables;
  for (auto& [info, table] : tables_of(*version_)) {
    if (info.max_sequence.value < front.clear_sequence) {
      table->retire();
    } else {
      tables.emplace_back(std::move(info), std::move(table));
    }
  }
  for (auto& entry : front.output) tables.push_back(std::move(entry));
  version_ = make_version(std::move(tables));
  flushed_ = front.position;
  sealed_.pop_front();
  flushing_ = false;
  account();
  serve_checkpoints();
  maybe_compact();
  next_flush();
  if (store_.env().on_flushed) store_.env().on_flushed(range_);  // last: the owner may drop the tablet
}

// The memtable stays, writes are refused, and the same is tried again in a while.
void TabletImpl::stall() {
  flushing_ = false;
  stalled_ = true;
  store_.stalled(+1);
  retry_timer_ = store_.env().loop->run_after(kRetryDelay, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || !self->stalled_) return;
    self->retry_timer_ = 0;
    self->stalled_ = false;
    self->store_.stalled(-1);
    self->next_flush();
  });
}

void TabletImpl::maybe_compact() {
  if (compacting_ || corruption_ || dropped_ || store_.failed()) return;
  const std::vector<SstableInfo> infos = tables();
  const auto plan = store_.strategy().pick({infos, busy_, applied_.time_ms});
  if (!plan) return;
  uint64_t newest = 0, bytes_in = 0;
  PrefixTombstones prefixes;
  for (const Run& run : version_->runs) {
    for (size_t i = 0; i < run.tables.size(); ++i) {
      if (std::ranges::find(plan->inputs, run.infos[i].id) == plan->inputs.end()) continue;
      newest = std::max(newest, run.number);
      bytes_in += run.infos[i].bytes;
      for (const auto& t : run.tables[i]->prefixes().list()) prefixes.add(t.prefix, t.sequence, t.time_ms);
    }
  }
  const auto& shared = store_.shared();
  OutputPlan output;
  output.fs = shared->fs;
  output.dir = shared->sst_dir;
  output.new_number = [shared] { return shared->new_number(); };
  output.writer = writer_options(store_.options());
  output.table_bytes_max = plan->output_table_bytes_max;
  output.run = newest;
  output.level = plan->output_level;
  const uint64_t oldest_id = version_->runs.back().infos[0].id;
  output.drop_tombstones = std::ranges::find(plan->inputs, oldest_id) != plan->inputs.end();
  output.prefixes = prefixes.list();
  compacting_ = true;
  busy_ = plan->inputs;
  store_.mutable_metrics().bytes_compacted_in.add(bytes_in);
  auto job = std::make_shared<OutputJob>(std::move(output), std::make_unique<CompactionCursor>(version_, plan->inputs));
  store_.env().background->submit(JobPriority::kLow, [job, inputs = plan->inputs, level = plan->output_level, newest,
                                                      loop = store_.env().loop, weak = weak_from_this(), life = life_] {
    if (weak.expired()) return false;
    if (job->step()) return true;
    loop->post([job, inputs, level, newest, weak, life] {
      const auto self = weak.lock();
      if (self && self->life_ == life && !self->dropped_) self->compaction_done(job, inputs, level, newest);
    });
    return false;
  });
}

void TabletImpl::compaction_done(const std::shared_ptr<OutputJob>& job, const std::vector<uint64_t>& inputs,
                                 uint32_t level, uint64_t run) {
  if (job->error()) {
    // Tried again after the next flush; damaged inputs are the end of it.
    compacting_ = false;
    busy_.clear();
    if (job->source_failed()) report_corruption(*job->error());
    return;
  }
  Tables output = with_infos(job->take(), run, level);
  TabletEdit edit;
  edit.life = life_;
  edit.removed = inputs;
  for (const auto& [info, table] : output) edit.added.push_back(info);
  store_.mutable_metrics().compactions.add();
  store_.mutable_metrics().bytes_compacted_out.add(job->bytes_written());
  store_.env().background->submit(
      JobPriority::kLow, [shared = store_.shared(), edit = std::move(edit), inputs, output = std::move(output),
                          life = life_, loop = store_.env().loop, weak = weak_from_this()]() mutable {
        auto result = std::make_shared<Result<bool>>(shared->manifest->commit({edit}));
        // After any other failure the edit may be in the file all the same: then the output must stay.
        const bool unwritten = *result ? !**result : result->error().code == ErrorCode::kNoSpace;
        if (unwritten) {
          for (const auto& [info, table] : output) table->retire();
        }
        loop->post([result, inputs, output = std::move(output), weak, life]() mutable {
          const auto self = weak.lock();
          if (self && self->life_ == life && !self->dropped_) {
            self->compaction_committed(std::move(*result), inputs, std::move(output));
          }
        });
        return false;
      });
}

void TabletImpl::compaction_committed(Result<bool> result, const std::vector<uint64_t>& inputs, Tables output) {
  compacting_ = false;
  busy_.clear();
  if (!result) {
    if (result.error().code != ErrorCode::kNoSpace) store_.fatal(result.error());
    return;
  }
  if (!*result) return maybe_compact();  // a clear was faster
  Tables tables;
  size_t found = 0;
  Tables old = tables_of(*version_);
  for (auto& [info, table] : old) {
    if (std::ranges::find(inputs, info.id) == inputs.end()) continue;
    ++found;
    table->retire();
  }
  if (found < inputs.size()) {
    // A clear that entered the manifest later was reported earlier: the output is as dead as its inputs.
    for (const auto& [info, table] : output) table->retire();
    return;
  }
  for (auto& entry : old) {
    if (std::ranges::find(inputs, entry.first.id) == inputs.end()) tables.push_back(std::move(entry));
  }
  for (auto& entry : output) tables.push_back(std::move(entry));
  version_ = make_version(std::move(tables));
  maybe_compact();
}

void TabletImpl::retire() {
  dropped_ = true;
  end_pending({ErrorCode::kUnavailable, "the tablet was dropped"});
  for (const auto& [info, table] : tables_of(*version_)) table->retire();
  for (const auto& sealed : sealed_) {
    for (const auto& [info, table] : sealed.output) table->retire();
  }
  if (stalled_) store_.stalled(-1);
  stalled_ = false;
  if (retry_timer_ != 0) store_.env().loop->cancel(retry_timer_);
  retry_timer_ = 0;
  const auto delta = -static_cast<int64_t>(accounted_bytes_);
  accounted_bytes_ = 0;
  store_.memtable_changed(delta, -std::exchange(accounted_sealed_, 0));
}

void TabletImpl::replace(uint64_t life, std::shared_ptr<const Version> version, const AppliedPosition& position) {
  retire();
  dropped_ = false;
  life_ = life;
  version_ = std::move(version);
  sealed_.clear();
  mutable_ = new_memtable();
  mutable_clear_ = clear_sequence_ = 0;
  applied_ = flushed_ = position;
  flushing_ = compacting_ = false;
  busy_.clear();
  corruption_.reset();
  account();
}

void TabletImpl::end_pending(const Error& error) {
  auto pending = std::move(checkpoints_);
  checkpoints_.clear();
  for (auto& checkpoint : pending) {
    store_.env().loop->post([done = std::move(checkpoint.done), error]() mutable { done(error); });
  }
}

}  // namespace cairn::storage
