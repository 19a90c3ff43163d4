// A tablet's compactions: one at a time, as its strategy picks them. A job reads and writes in the background, its
// result is one manifest edit, and the loop installs the new version. An incremental compaction is a chain of such
// jobs: each writes one table and takes what is in it out of the inputs, so it can end between any two of them, by a
// crash too.
#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "storage/sstable/key_sketch.h"
#include "storage/tablet_impl.h"
#include "storage/version/cursors.h"

namespace cairn::storage {
namespace {

constexpr uint64_t kKeptMax = 16u << 20;  // bytes of blocks that one job brings to the cache: well below a millisecond

bool contains(const std::vector<uint64_t>& ids, uint64_t id) { return std::ranges::find(ids, id) != ids.end(); }

// Some tables of a version merged, with all they need.
class CompactionCursor final : public RowCursor {
 public:
  CompactionCursor(std::shared_ptr<const Version> version, const std::vector<uint64_t>& inputs)
      : version_(std::move(version)), source_(0) {
    for (const Run& run : version_->runs) {
      Run part;
      for (size_t i = 0; i < run.tables.size(); ++i) {
        if (!contains(inputs, run.infos[i].id)) continue;
        part.infos.push_back(run.infos[i]);
        part.tables.push_back(run.tables[i]);
      }
      if (!part.tables.empty()) runs_.push_back(std::move(part));
    }
    std::vector<std::unique_ptr<TwoWayCursor>> children;
    std::vector<PrefixView> prefixes;
    for (Run& run : runs_) {
      children.push_back(run_cursor(run, source_));
      run.note_prefixes();
      prefixes.insert(prefixes.end(), run.prefixes.begin(), run.prefixes.end());
    }
    merge_ = std::make_unique<MergeCursor>(std::move(children), std::move(prefixes));
    version_.reset();  // inputs may go as soon as nobody else reads them
  }
  CursorState seek(std::string_view lower) override { return merge_->seek(lower); }
  CursorState next() override { return merge_->next(); }
  const Row& row() const override { return merge_->row(); }
  const Error& error() const override { return merge_->error(); }
  uint64_t bytes_read() const { return source_.stored_bytes_read(); }

 private:
  std::shared_ptr<const Version> version_;
  std::vector<Run> runs_;
  DiskSource source_;
  std::unique_ptr<MergeCursor> merge_;
};

// How the inputs of a compaction change. `rest`: the first key that stays in them.
TabletEdit edit_of(uint64_t life, const Version& version, const CompactionPlan& plan,
                   const std::optional<std::string>& rest) {
  TabletEdit edit;
  edit.life = life;
  for (const Run& run : version.runs) {
    for (const SstableInfo& info : run.infos) {
      if (!contains(plan.inputs, info.id)) continue;
      const bool stays = rest && (info.span_end.empty() || info.span_end > *rest);
      if (stays) {
        // A table whose rows all stay is left alone: deleted prefixes in front of them do no harm.
        if (info.smallest < *rest) edit.trimmed.emplace_back(info.id, *rest);
        continue;
      }
      edit.removed.push_back(info.id);
      if (plan.kind != CompactionPlan::Kind::kMove) continue;
      SstableInfo moved = info;
      moved.run = plan.output_run;
      moved.level = plan.output_level;
      edit.add(moved);
    }
  }
  return edit;
}

}  // namespace

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

void TabletImpl::set_strategy(StrategyKind kind) {
  if (kind != strategy_) {
    reshaped_.clear();
    for (const Run& run : version_->runs) {
      for (const SstableInfo& info : run.infos) reshaped_.push_back(info.id);
    }
    shape_.reset();
  }
  strategy_ = kind;
  maybe_compact();
}

void TabletImpl::maybe_compact() {
  if (compacting_ || compaction_timer_ != 0 || frozen_ || corruption_ || dropped_ || store_.failed()) return;
  if (start_full()) return;
  const std::vector<SstableInfo> infos = tables();
  const auto free = store_.shared()->fs->free_bytes(store_.shared()->sst_dir);
  auto plan = strategy().pick({infos, {}, applied_.time_ms, free ? *free : ~0ull});
  if (plan) return start_compaction(std::move(*plan));
  reshaped_ = {};
}

TreeShape TabletImpl::shape() {
  constexpr uint64_t kFreshMs = 10'000;  // rows expire meanwhile
  if (shape_ && applied_.time_ms < shape_time_ms_ + kFreshMs) return *shape_;
  const std::vector<SstableInfo> infos = tables();
  shape_ = measure_tree({infos, {}, applied_.time_ms}, strategy());
  shape_time_ms_ = applied_.time_ms;
  uint64_t left = 0;
  for (const SstableInfo& info : infos) left += contains(reshaped_, info.id) ? info.bytes : 0;
  shape_->reshape_bytes = std::min(left, shape_->pending_bytes);
  return *shape_;
}

void TabletImpl::start_compaction(CompactionPlan plan) {
  compacting_ = true;
  compaction_began_ = store_.env().clock->now();
  if (plan.kind != CompactionPlan::Kind::kMerge) return commit_compaction(std::move(plan), {}, std::nullopt);
  uint64_t bytes_in = 0;
  OutputPlan output = output_plan(plan, bytes_in);
  // It would only fill the disk, and fail then.
  const uint64_t bytes_out = plan.incremental ? std::min(bytes_in, plan.output_table_bytes_max) : bytes_in;
  const auto free = store_.shared()->fs->free_bytes(store_.shared()->sst_dir);
  if (free && *free < bytes_out) {
    return compaction_failed(plan, {ErrorCode::kNoSpace, "a compaction needs " + std::to_string(bytes_out) +
                                                             " bytes of disk, " + std::to_string(*free) + " are free"});
  }
  auto cursor = std::make_unique<CompactionCursor>(version_, plan.inputs);
  const CompactionCursor* const source = cursor.get();  // lives as long as the job
  auto job = std::make_shared<OutputJob>(std::move(output), std::move(cursor));
  store_.submit_paced([job, source, moved = uint64_t{0}, plan = std::move(plan), loop = store_.env().loop,
                       weak = weak_from_this(), life = life_]() mutable -> PacedSlice {
    if (weak.expired()) return {};
    const bool more = job->step();
    const uint64_t now = std::max(moved, source->bytes_read() + job->bytes_so_far());
    const uint64_t bytes = now - std::exchange(moved, now);
    if (more) return {true, bytes};
    loop->post([job, plan, weak, life] {
      const auto self = weak.lock();
      if (self && self->life_ == life && !self->dropped_) self->compaction_done(job, plan);
    });
    return {false, bytes};
  });
}

OutputPlan TabletImpl::output_plan(const CompactionPlan& plan, uint64_t& bytes_in) const {
  uint64_t oldest = ~0ull;
  SequenceRange sequences{~0ull, 0};
  PrefixTombstones prefixes;
  for (const Run& run : version_->runs) {
    for (size_t i = 0; i < run.tables.size(); ++i) {
      const SstableInfo& info = run.infos[i];
      if (!contains(plan.inputs, info.id)) continue;
      oldest = std::min(oldest, run.number);
      bytes_in += info.bytes;
      sequences.min = std::min(sequences.min, info.min_sequence.value);
      sequences.max = std::max(sequences.max, info.max_sequence.value);
      for (const auto& t : run.tables[i]->prefixes().list()) {
        if (t.prefix < plan.from) continue;  // an output before has it
        if (concerns(info, t.prefix)) prefixes.add(t.prefix, t.sequence, t.time_ms);
      }
    }
  }
  const auto& shared = store_.shared();
  OutputPlan output;
  output.fs = shared->fs;
  output.dir = shared->sst_dir;
  output.new_number = [shared] { return shared->new_number(); };
  // The oldest run stays for long, and most of the bytes are in it.
  const bool stays = !version_->runs.empty() && oldest == version_->runs.back().number;
  output.writer = store_.writer_options(stays ? compression_ : fast_compression());
  output.writer.filter = FilterKind::kFuse;  // what a compaction writes stays for a while
  output.table_bytes_max = plan.output_table_bytes_max;
  output.one_table = plan.incremental;
  output.run = plan.output_run;
  output.level = plan.output_level;
  output.older.emplace(version_, oldest);
  output.now_ms = applied_.time_ms;
  output.prefixes = prefixes.list();
  output.version = version_;
  output.sequences = sequences;
  output.keep_bytes = std::min(store_.cache().room(), kKeptMax);
  output.temp = TempBytes(shared->temp_bytes);
  return output;
}

void TabletImpl::compaction_done(const std::shared_ptr<OutputJob>& job, CompactionPlan plan) {
  if (frozen_) {  // what it has written goes with the job
    compacting_ = false;
    return;
  }
  if (job->error()) {
    // Damaged inputs are the end of it.
    if (job->source_failed()) report_corruption(*job->error());
    return compaction_failed(plan, *job->error());
  }
  store_.mutable_metrics().bytes_compacted_out.add(job->bytes_written());
  amplification_.compacted_out_bytes += job->bytes_written();
  moved_by(plan).written.add_owned(job->bytes_written());
  uninstalled_ = job->take_temp();
  if (job->rest()) plan.from = *job->rest();
  auto written = job->take();
  for (KeptBlock& kept : job->take_kept()) kept_blocks_.emplace_back(written[kept.table]->cached(), std::move(kept));
  Tables output = with_infos(std::move(written), plan.output_run, plan.output_level);
  commit_compaction(std::move(plan), std::move(output), job->rest());
}

void TabletImpl::compaction_ended() {
  compacting_ = false;
  uninstalled_ = {};
  store_.mutable_metrics().compaction_ns.add_owned(store_.env().clock->now() - compaction_began_);
  store_.sample_rates();
}

TabletStoreMetrics::Moved& TabletImpl::moved_by(const CompactionPlan& plan) {
  const StrategyKind kind = parse_strategy_kind(plan.strategy).value_or(strategy_);  // on request: it has no name
  return store_.mutable_metrics().moved[static_cast<size_t>(kind)][static_cast<size_t>(plan.cause)];
}

// Whatever was picked is picked again later.
void TabletImpl::compaction_failed(const CompactionPlan& plan, const Error& error) {
  compaction_ended();
  if (plan.strategy == kFullCompaction) end_full(error);
  if (corruption_) return;
  if (error.code == ErrorCode::kNoSpace) store_.need_space();
  const Duration delay = compaction_errors_.failed(error, store_.env().clock->wall_ms());
  compaction_timer_ = store_.env().loop->run_after(delay, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->compaction_timer_ = 0;
    self->maybe_compact();
  });
}

void TabletImpl::commit_compaction(CompactionPlan plan, Tables output, std::optional<std::string> rest) {
  committing_ = true;
  // Inputs that a clear has taken meanwhile make the edit unfit, as they should.
  TabletEdit edit = edit_of(life_, *version_, plan, rest);
  for (const uint64_t id : plan.inputs) {
    const bool there = std::ranges::any_of(version_->runs, [&](const Run& run) {
      return std::ranges::find(run.infos, id, &SstableInfo::id) != run.infos.end();
    });
    if (!there) edit.removed.push_back(id);
  }
  for (const auto& [info, table] : output) edit.added.push_back(info);
  store_.env().background->submit(
      JobPriority::kLow,
      [shared = store_.shared(), edit = std::move(edit), plan = std::move(plan), output = std::move(output),
       life = life_, loop = store_.env().loop, store = store_.alive(), weak = weak_from_this()]() mutable {
        auto result = std::make_shared<Result<bool>>(shared->manifest->commit({edit}));
        // After any other failure the edit may be in the file all the same: then the output must stay.
        const bool unwritten = *result ? !**result : result->error().code == ErrorCode::kNoSpace;
        if (unwritten) retire_all(output, shared->deleter);
        loop->post([result, edit = std::move(edit), plan = std::move(plan), output = std::move(output), weak, life,
                    store, deleter = shared->deleter]() mutable {
          const auto self = weak.lock();
          if (self && self->life_ == life && !self->dropped_) {
            return self->compaction_committed(std::move(*result), std::move(plan), edit, std::move(output));
          }
          // Dropped since: its version did not have them.
          if (!store.expired() && *result) retire_all(output, deleter);
        });
        return false;
      });
}

void TabletImpl::compaction_committed(Result<bool> result, CompactionPlan plan, const TabletEdit& edit, Tables output) {
  auto kept_blocks = std::exchange(kept_blocks_, {});
  committing_ = false;
  if (!result) {
    if (result.error().code != ErrorCode::kNoSpace) store_.fatal(result.error());
    compaction_failed(plan, result.error());
    return check_quiet();
  }
  compaction_ended();
  compaction_errors_.succeeded();
  // Unfit: a clear was faster.
  const bool installed = *result && install_compaction(plan, edit, std::move(output));
  if (frozen_) return check_quiet();
  if (!installed) return maybe_compact();
  for (auto& [table, kept] : kept_blocks) store_.bring_to_cache(std::move(table), kept.ordinal, std::move(kept.block));
  std::erase_if(plan.inputs, [&](uint64_t id) { return contains(edit.removed, id); });
  const bool goes_on = plan.strategy == kFullCompaction || plan.strategy == strategy().name();
  if (plan.incremental && !plan.inputs.empty() && goes_on && !corruption_) {
    return start_compaction(std::move(plan));
  }
  store_.mutable_metrics().compactions.add();
  maybe_compact();
}

bool TabletImpl::install_compaction(const CompactionPlan& plan, const TabletEdit& edit, Tables output) {
  Tables old = tables_of(*version_), tables;
  const auto inputs = std::ranges::count_if(old, [&](const auto& t) { return contains(plan.inputs, t.first.id); });
  if (static_cast<size_t>(inputs) < plan.inputs.size()) {
    // A clear that entered the manifest later was reported earlier: the output is as dead as its inputs.
    retire_all(output, store_.shared()->deleter);
    return false;
  }
  std::vector<std::shared_ptr<const void>> dead;
  uint64_t bytes_in = 0;  // an input that several slices read counts once, when the last of them has taken it
  for (auto& [info, table] : old) {
    if (contains(edit.removed, info.id)) {
      const auto moved = std::ranges::find(edit.added, info.id, &SstableInfo::id);
      if (moved == edit.added.end()) {
        if (plan.kind == CompactionPlan::Kind::kMerge) bytes_in += info.bytes;
        table->retire(store_.shared()->deleter);
        dead.push_back(std::move(table));
        continue;
      }
      info = *moved;
    }
    const auto trim = std::ranges::find(edit.trimmed, info.id, &std::pair<uint64_t, std::string>::first);
    if (trim != edit.trimmed.end()) {
      CAIRN_ASSERT_MSG(trim->second >= info.smallest, "a table is only ever trimmed further");
      info.smallest = trim->second;
    }
    tables.emplace_back(std::move(info), std::move(table));
  }
  for (auto& entry : output) tables.push_back(std::move(entry));
  store_.mutable_metrics().bytes_compacted_in.add(bytes_in);
  moved_by(plan).read.add_owned(bytes_in);
  amplification_.compacted_in_bytes += bytes_in;
  set_version(make_version(std::move(tables)), std::move(dead));
  return true;
}

void TabletImpl::set_version(std::shared_ptr<const Version> version, std::vector<std::shared_ptr<const void>> dead) {
  std::vector<const Sstable*> kept;
  for (const Run& run : version->runs) {
    for (const auto& table : run.tables) kept.push_back(table.get());
  }
  std::ranges::sort(kept);
  auto before = std::exchange(version_, std::move(version));
  hot_life_ = store_.hot_rows().new_life();
  for (const Run& run : before->runs) {
    for (const auto& table : run.tables) {
      if (!std::ranges::binary_search(kept, table.get())) store_.drop_from_cache(table->cached());
    }
  }
  live_bytes_.reset();
  shape_.reset();
  if (!passed_.empty()) {
    std::vector<uint64_t> ids;
    for (const Run& run : version_->runs) {
      for (const SstableInfo& info : run.infos) ids.push_back(info.id);
    }
    std::ranges::sort(ids);
    std::erase_if(passed_, [&](const auto& charge) { return !std::ranges::binary_search(ids, charge.first); });
  }
  dead.push_back(std::move(before));
  store_.release_in_background(std::move(dead));
}

// Rows that would be left if everything were merged into one run, times what a row takes.
uint64_t TabletImpl::estimate_live() const {
  if (live_bytes_) return *live_bytes_;
  KeySketch sketch;
  uint64_t entries = 0, tombstones = 0, bytes = 0, unsketched = 0;
  for (const Run& run : version_->runs) {
    for (size_t i = 0; i < run.tables.size(); ++i) {
      const SstableInfo& info = run.infos[i];
      const uint64_t own = own_entries(info);
      entries += own;
      tombstones += info.tombstones * own / std::max<uint64_t>(info.entries, 1);
      bytes += own_bytes(info);
      // The sketch is the whole file's.
      if (info.shared || !sketch.join(run.tables[i]->properties().sketch)) unsketched += own;
    }
  }
  if (entries == 0 || tombstones >= entries) return *(live_bytes_ = 0);
  const double keys = std::min(sketch.estimate() + static_cast<double>(unsketched), static_cast<double>(entries));
  const double rows = std::max(0.0, keys - static_cast<double>(tombstones));
  live_bytes_ = static_cast<uint64_t>(rows * static_cast<double>(bytes) / static_cast<double>(entries - tombstones));
  return *live_bytes_;
}

}  // namespace cairn::storage
