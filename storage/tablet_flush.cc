// A tablet's way to disk: seal, build, wait for the log, commit, install.
#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/plant.h"
#include "storage/tablet_impl.h"

namespace cairn::storage {
namespace {

constexpr int kAttempts = 3;  // of writing one SSTable

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
  flush_began_ = store_.env().clock->now();
  build(1);
}

// Numbers between two runs are for those that compactions put there.
uint64_t TabletImpl::next_run() const {
  constexpr uint64_t kStep = 1u << 16;
  return version_->runs.empty() ? kStep : version_->runs.front().number + kStep;
}

void TabletImpl::build(int attempt) {
  const Sealed& front = sealed_.front();
  if (front.table->empty()) return wait_durable();
  const auto& shared = store_.shared();
  OutputPlan plan;
  plan.fs = shared->fs;
  plan.dir = shared->sst_dir;
  plan.new_number = [shared] { return shared->new_number(); };
  plan.writer = store_.writer_options(fast_compression());
  plan.run = next_run();
  plan.prefixes = front.table->prefixes().list();
  plan.version = version_;
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
    return stall(*job->error());
  }
  TabletStoreMetrics& metrics = store_.mutable_metrics();
  metrics.flushes.add();
  metrics.bytes_flushed.add(job->bytes_written());
  amplification_.flushed_bytes += job->bytes_written();
  sealed_.front().output = with_infos(job->take(), next_run(), 0);
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
    retire_all(std::exchange(sealed_.front().output, {}), store_.shared()->deleter);
    return stall(result.error());
  }
  flush_errors_.succeeded();
  if (!*result) {
    // A snapshot has taken the tablet's place in the manifest; the loop hears of it next, and flushing_ ends with it.
    CAIRN_ASSERT_MSG(!store_.shared()->manifest->state().tablets.contains(life_), "a flush of a living tablet fits");
    return retire_all(std::exchange(sealed_.front().output, {}), store_.shared()->deleter);
  }
  Sealed& front = sealed_.front();
  Tables tables;
  std::vector<std::shared_ptr<const void>> dead;
  for (auto& [info, table] : tables_of(*version_)) {
    if (info.max_sequence.value < front.clear_sequence) {
      table->retire(store_.shared()->deleter);
      dead.push_back(std::move(table));
    } else {
      tables.emplace_back(std::move(info), std::move(table));
    }
  }
  for (auto& entry : front.output) tables.push_back(std::move(entry));
  store_.memtable_flushed(front.table->bytes());
  dead.push_back(std::move(front.table));
  flushed_ = front.position;
  sealed_.erase(sealed_.begin());
  set_version(make_version(std::move(tables)), std::move(dead));
  flushing_ = false;
  store_.mutable_metrics().flush_time.record_owned(store_.env().clock->now() - flush_began_);
  store_.sample_rates();
  account();
  serve_checkpoints();
  maybe_compact();
  next_flush();
  check_quiet();
  if (store_.env().on_flushed) store_.env().on_flushed(range_);  // last: the owner may drop the tablet
}

// The memtable stays, writes are refused, and the same is tried again in a while.
void TabletImpl::stall(const Error& error) {
  flushing_ = false;
  const bool no_space = error.code == ErrorCode::kNoSpace;
  if (no_space) store_.need_space();
  if (no_space && store_.env().on_no_space && store_.env().on_no_space()) return next_flush();
  stalled_ = true;
  out_of_space_ = no_space;
  const FlushStall cause = no_space ? FlushStall::kNoSpace : FlushStall::kError;
  store_.mutable_metrics().stalls[static_cast<size_t>(cause)].add_owned();
  if (no_space) store_.out_of_space(+1);
  const Duration delay = flush_errors_.failed(error, store_.env().clock->wall_ms());
  retry_timer_ = store_.env().loop->run_after(delay, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || !self->stalled_) return;
    self->retry_timer_ = 0;
    self->end_stall();
    self->next_flush();
  });
}

void TabletImpl::end_stall() {
  stalled_ = false;
  if (std::exchange(out_of_space_, false)) store_.out_of_space(-1);
  if (retry_timer_ != 0) store_.env().loop->cancel(std::exchange(retry_timer_, 0));
}

void TabletImpl::retire() {
  retire_all(tables_of(*version_), store_.shared()->deleter);
  std::vector<std::shared_ptr<const void>> dead;
  for (auto& sealed : sealed_) {
    for (auto& [info, table] : sealed.output) {
      table->retire(store_.shared()->deleter);
      dead.push_back(std::move(table));
    }
    dead.push_back(std::move(sealed.table));
  }
  sealed_.clear();
  end_life(std::move(dead));
  set_version(std::make_shared<Version>());
}

// Blocks in the cache stay: the tables live on.
void TabletImpl::surrender() {
  CAIRN_ASSERT_MSG(sealed_.empty() && mutable_->empty(), "a tablet gives its files away once everything is in them");
  end_life({std::exchange(version_, std::make_shared<Version>())});
}

void TabletImpl::end_life(std::vector<std::shared_ptr<const void>> dead) {
  dropped_ = true;
  end_pending({ErrorCode::kUnavailable, "the tablet was dropped"});
  dead.push_back(std::exchange(mutable_, new_memtable()));
  end_stall();
  if (compaction_timer_ != 0) store_.env().loop->cancel(std::exchange(compaction_timer_, 0));
  flush_errors_.succeeded();
  compaction_errors_.succeeded();
  store_.memtable_changed(-std::exchange(accounted_bytes_, 0), -std::exchange(accounted_sealed_, 0));
  store_.release_in_background(std::move(dead));
}

std::optional<Error> TabletImpl::unfreezable() const {
  if (frozen_) return Error{ErrorCode::kUnavailable, "range " + std::to_string(range_.value) + " is being reshaped"};
  return unfit();
}

void TabletImpl::freeze(std::move_only_function<void(Result<void>)> quiet) {
  CAIRN_ASSERT_MSG(!unfreezable(), "one at a time");
  frozen_ = true;
  quiet_ = std::move(quiet);
  flush();
  check_quiet();
}

void TabletImpl::thaw() {
  frozen_ = false;
  maybe_compact();
}

void TabletImpl::check_quiet() {
  if (!quiet_ || committing_ || flushed_.index < applied_.index) return;
  std::exchange(quiet_, {})({});
}

void TabletImpl::replace(uint64_t life, std::shared_ptr<const Version> version, const AppliedPosition& position) {
  retire();
  dropped_ = false;
  life_ = life;
  set_version(std::move(version));
  mutable_clear_ = clear_sequence_ = 0;
  applied_ = flushed_ = position;
  flushing_ = compacting_ = committing_ = frozen_ = false;
  uninstalled_ = {};
  kept_blocks_.clear();
  reshaped_.clear();
  corruption_.reset();
  account();
}

void TabletImpl::end_pending(const Error& error) {
  auto pending = std::move(checkpoints_);
  checkpoints_.clear();
  for (auto& checkpoint : pending) answer_later(*store_.env().loop, std::move(checkpoint.done), error);
  while (!full_.empty()) end_full(error);
  end_freeze(error);
}

void TabletImpl::end_freeze(const Error& error) {
  if (quiet_) answer_later(*store_.env().loop, std::exchange(quiet_, {}), error);
}

}  // namespace cairn::storage
