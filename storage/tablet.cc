#include "storage/tablet.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/checksum.h"
#include "storage/tablet_impl.h"
#include "storage/version/cursors.h"

namespace cairn::storage {
namespace {
constexpr size_t kPrefetchAhead = 6;        // rows
constexpr uint64_t kScanStepsMax = 20'000;  // of a page on the loop: some milliseconds
// Of what scans pass in vain.
constexpr uint64_t kPassedLook = 1 << 14;  // rows, between two looks at whether it is enough
constexpr uint64_t kScansPerSample = 16;   // that stand for the runs of all of them
constexpr uint64_t kRowsPerRun = 2;        // that a search in a run takes as long as
constexpr size_t kHashesKept = 1 << 16;    // of an unusually large batch the scratch memory is given back

// True: the page was visited to its end. `steps_max`: rows that the cursor may show, tombstones included. `state`: of
// the cursor at last.
template <class Cursor>
bool visit_page(Cursor& cursor, const RowPage& page, uint64_t steps_max,
                const std::function<bool(std::string_view, std::string_view)>& visit, CursorState& state) {
  uint64_t rows = 0, bytes = 0, steps = 0;
  state = seek_page(cursor, page);
  while (state == CursorState::kRow && !page.full(rows, bytes)) {
    const Row& row = cursor.row();
    if (!row.key.starts_with(page.prefix)) return true;
    if (steps++ == steps_max) return false;
    if (page.skip != nullptr) {
      if (const std::string next = page.skipped_to(row.key); !next.empty()) {
        state = page.reverse ? cursor.next() : cursor.seek(next);
        continue;
      }
    }
    if (row.kind == OpKind::kPut) {
      const std::string_view value = page.cut(row.value);
      ++rows;
      bytes += row.key.size() + value.size();
      if (!visit(row.key, value)) return true;
    }
    state = cursor.next();
  }
  return state == CursorState::kEnd || page.full(rows, bytes);
}
}  // namespace

TabletImpl::TabletImpl(StoreImpl& store, RangeId range, uint64_t life, std::shared_ptr<const Version> version,
                       const AppliedPosition& flushed)
    : store_(store),
      range_(range),
      life_(life),
      version_(std::move(version)),
      hot_life_(store.hot_rows().new_life()),
      applied_(flushed),
      flushed_(flushed),
      strategy_(store.options().strategy),
      compression_(store.options().compression) {
  mutable_ = new_memtable();
  account();
}

TabletImpl::~TabletImpl() = default;

Result<void> TabletImpl::apply(const AppliedPosition& position, std::string_view operations) {
  if (position.index <= applied_.index) return {};  // replay
  if (frozen_) return Error{ErrorCode::kUnavailable, "range " + std::to_string(range_.value) + " is being reshaped"};
  Op op;
  hashes_.clear();
  uint64_t user_bytes = 0;
  BatchReader check(operations);
  while (check.next(op)) {
    user_bytes += op.key.size() + op.value.size();
    hashes_.push_back(hash64(op.key));
    mutable_->prefetch_slot(hashes_.back());
  }
  if (!check.ok() || hashes_.size() >= uint64_t{1} << kOrdinalBits) {
    return Error{ErrorCode::kCorruption, "range " + std::to_string(range_.value) + " index " +
                                             std::to_string(position.index.value) + ": malformed operations"};
  }
  amplification_.user_bytes += user_bytes;
  store_.mutable_metrics().user_bytes.add_owned(user_bytes);
  // A window's rows never share a memtable with those of the next.
  if (const uint64_t window = strategy().window_ms();
      window != 0 && position.time_ms / window != applied_.time_ms / window && !mutable_->empty()) {
    flush();
  }
  uint64_t sequence = position.index.value << kOrdinalBits;
  BatchReader reader(operations);
  for (size_t i = 0; reader.next(op); ++i) {
    if (i + kPrefetchAhead < hashes_.size()) mutable_->prefetch_entry(hashes_[i + kPrefetchAhead]);
    apply_op(op, hashes_[i], sequence++, position.time_ms);
  }
  if (hashes_.capacity() > kHashesKept) hashes_ = {};
  applied_ = position;
  account();
  if (mutable_->bytes() >= store_.options().memtable_bytes) flush();
  return {};
}

void TabletImpl::apply_op(const Op& op, uint64_t hash, uint64_t sequence, uint64_t time_ms) {
  switch (op.kind) {
    case OpKind::kPut: mutable_->put(op.key, hash, op.value, sequence, time_ms); break;
    case OpKind::kDelete: mutable_->remove(op.key, hash, sequence, time_ms); break;
    case OpKind::kPrefixDelete: mutable_->remove_prefix(op.key, sequence, time_ms); break;
    case OpKind::kClear:
      store_.release_in_background({std::exchange(mutable_, new_memtable(mutable_->keeps_order()))});
      mutable_clear_ = clear_sequence_ = sequence;
      hot_life_ = store_.hot_rows().new_life();
      break;
  }
}

// Tells the store how much memory the memtables take now.
void TabletImpl::account() {
  int64_t sealed = 0;
  for (const auto& memtable : sealed_) sealed += static_cast<int64_t>(memtable.table->bytes());
  const int64_t bytes = static_cast<int64_t>(mutable_->bytes()) + sealed;
  const int64_t delta = bytes - std::exchange(accounted_bytes_, bytes);
  const int64_t sealed_delta = sealed - std::exchange(accounted_sealed_, sealed);
  if (delta != 0 || sealed_delta != 0) store_.memtable_changed(delta, sealed_delta);
}

Lookup TabletImpl::get(std::string_view row_key) {
  CachedSource source(store_.cache(), store_.cached_reader(), store_.point_reader(), store_.mutable_metrics());
  RunsProbed probed;
  uint64_t reads = 0;
  Lookup answer = look_up(row_key, hash64(row_key), source, probed, reads);
  // What needs the disk is counted when it has been there.
  if (reads != 0 && answer.state != Lookup::State::kNeedsDisk) count_reads(reads, probed);
  return answer;
}

Lookup TabletImpl::look_up(std::string_view row_key, uint64_t hash, BlockSource& source, RunsProbed& probed,
                           uint64_t& reads) {
  Lookup answer;
  store_.hot_rows().prefetch(hash);
  uint64_t covered = 0;
  MemtableAnswer found = find_in_memtable(*mutable_, row_key, hash, covered, answer.value);
  if (found == MemtableAnswer::kNothing && !sealed_.empty()) {
    for (auto it = sealed_.rbegin(); it != sealed_.rend() && found == MemtableAnswer::kNothing; ++it) {
      if (it->position.index.value < clear_sequence_ >> kOrdinalBits) break;
      found = find_in_memtable(*it->table, row_key, hash, covered, answer.value);
      if (found == MemtableAnswer::kFound) answer.pin = it->table;
    }
  }
  if (found != MemtableAnswer::kNothing) {
    answer.state = found == MemtableAnswer::kFound ? Lookup::State::kFound : Lookup::State::kAbsent;
    return answer;
  }
  if (corruption_) {
    answer.state = Lookup::State::kNeedsDisk;  // fetch() tells what is wrong
    return answer;
  }
  if (version_->runs.empty()) return answer;
  // No memtable knows the key or hides it: what the tables hold is the answer.
  HotRows& hot = store_.hot_rows();
  if (HotRows::Found known = hot.find(hot_life_, row_key, hash); known.pin) {
    store_.mutable_metrics().hot_row_hits.add_owned();
    answer = {Lookup::State::kFound, known.value, std::move(known.pin)};
    return answer;
  }
  ++reads;
  FoundRow row = find_in_runs(*version_, clear_sequence_, row_key, hash, covered, source, probed);
  // What needs the disk is looked up again when it has been there.
  if (row.state != Lookup::State::kNeedsDisk) store_.mutable_metrics().hot_row_misses.add_owned();
  if (row.error) report_corruption(*row.error);
  if (row.state == Lookup::State::kFound) hot.offer(hot_life_, row_key, hash, row.value);
  answer.state = row.state;
  answer.value = row.value;
  answer.pin = std::move(row.pin);
  return answer;
}

void TabletImpl::count_reads(uint64_t reads, const RunsProbed& probed) {
  amplification_.reads += reads;
  amplification_.runs_probed += probed.runs;
  TabletStoreMetrics& metrics = store_.mutable_metrics();
  metrics.filter_negatives.add_owned(probed.filter_negatives);
  metrics.filter_false_positives.add_owned(probed.false_positives);
  metrics.filter_true_positives.add_owned(probed.runs - probed.false_positives);
  if (reads == 1) return metrics.runs_touched.record_owned(probed.runs);
  for (size_t i = 0; i < probed.touched.size(); ++i) {
    if (probed.touched[i] != 0) metrics.runs_touched.add_owned(i, probed.touched[i]);
  }
  metrics.runs_touched.add_sum_owned(probed.runs);
}

ReadView TabletImpl::view() const {
  ReadView view;
  view.memtables.push_back(mutable_);
  for (auto it = sealed_.rbegin(); it != sealed_.rend(); ++it) {
    if (it->position.index.value < clear_sequence_ >> kOrdinalBits) break;
    view.memtables.push_back(it->table);
  }
  view.version = version_;
  view.clear_sequence = clear_sequence_;
  return view;
}

bool TabletImpl::scan(std::string_view prefix, std::string_view start_after,
                      const std::function<bool(std::string_view, std::string_view)>& visit) {
  RowPage page;
  page.prefix = prefix;
  page.start_after = start_after;
  return scan(page, ~0ull, visit);
}

bool TabletImpl::scan(const RowPage& page, const std::function<bool(std::string_view, std::string_view)>& visit) {
  return scan(page, kScanStepsMax, visit);
}

bool TabletImpl::scan(const RowPage& page, uint64_t steps_max,
                      const std::function<bool(std::string_view, std::string_view)>& visit) {
  if (corruption_) return false;
  CursorState state = CursorState::kEnd;
  if (sealed_.empty() && version_->runs.empty() && mutable_->prefixes().empty()) {  // nothing to merge
    MemtableCursor cursor(*mutable_);
    return visit_page(cursor, page, steps_max, visit, state);
  }
  const ReadView now = view();
  CachedSource source(store_.cache(), store_.cached_reader(), store_.point_reader(), store_.mutable_metrics());
  const auto cursor = merge_view(now, source);
  cursor->limit_steps(steps_max);
  const bool whole = visit_page(*cursor, page, ~0ull, visit, state);
  count_scan(std::max<std::string_view>(page.prefix, page.start_after), cursor->passed_in_vain());
  if (state == CursorState::kFailed) report_corruption(cursor->error());
  return whole;
}

// Of a page, a sampled one tells about its runs too.
void TabletImpl::count_scan(std::string_view from, uint64_t in_vain) {
  if (++scans_ % kScansPerSample == 0) {
    const auto has_key = [&](const Run& run) { return table_for(run, from) != nullptr; };
    const auto runs = static_cast<uint64_t>(std::ranges::count_if(version_->runs, has_key));
    in_vain += runs < 2 ? 0 : (runs - 1) * kScansPerSample * kRowsPerRun;
  }
  if (in_vain >= kPassedMin) passed_in_vain(from, in_vain);
}

// Charged to the oldest run, whose tables are the finest grid there is.
void TabletImpl::passed_in_vain(std::string_view from, uint64_t rows) {
  if (version_->runs.empty()) return;
  const auto& infos = version_->runs.back().infos;
  const auto at = std::ranges::lower_bound(infos, from, {}, &SstableInfo::largest);
  passed_[at == infos.end() ? infos.back().id : at->id] += rows;
  passed_unseen_ += rows;
  if (passed_unseen_ < kPassedLook) return;
  passed_unseen_ = 0;
  maybe_compact();
}

// Only damage is a property of the tablet; a failed read may succeed next time.
void TabletImpl::report_corruption(const Error& error) {
  if (error.code != ErrorCode::kCorruption) return;
  store_.mutable_metrics().corrupt_blocks.add();
  if (corruption_ || dropped_) return;
  corruption_ = error;
  while (!full_.empty()) end_full(error);
  end_freeze(error);
  corrupt_since_ms_ = store_.env().clock->wall_ms();
  // Never from inside a read: the owner's answer is to tear the replica down.
  store_.env().loop->post([weak = weak_from_this(), error] {
    const auto self = weak.lock();
    if (self && !self->dropped_ && self->store_.env().on_corruption)
      self->store_.env().on_corruption(self->range_, error);
  });
}

// Its SSTables stay, for the manifest has them: they go with the next snapshot.
void TabletImpl::condemn(const AppliedPosition& position, const Error& damage) {
  CAIRN_ASSERT_MSG(mutable_->empty() && sealed_.empty(), "a tablet is condemned before anything is applied");
  applied_ = flushed_ = position;
  report_corruption({ErrorCode::kCorruption, damage.message});
}

TabletStats TabletImpl::stats() const {
  TabletStats stats;
  stats.applied = applied_;
  stats.flushed = flushed_;
  stats.memtable_bytes = static_cast<uint64_t>(accounted_bytes_);
  stats.entries_estimate = mutable_->rows();
  for (const auto& sealed : sealed_) stats.entries_estimate += sealed.table->rows();
  stats.runs = version_->runs.size();
  for (const Run& run : version_->runs) {
    stats.sstables += run.tables.size();
    for (const auto& info : run.infos) {
      stats.sstable_bytes += own_bytes(info);
      stats.entries_estimate += own_entries(info);
    }
  }
  stats.strategy = strategy_;
  stats.compression = compression_;
  stats.compacting = compacting_;
  if (!full_.empty()) stats.full_compaction_at = full_.back().target.value;
  stats.amplification = amplification_;
  stats.amplification.total_bytes = stats.sstable_bytes;
  stats.amplification.live_bytes = estimate_live();
  stats.corrupt = corruption_.has_value();
  if (corruption_) stats.corruption = corruption_->message;
  stats.health = health();
  return stats;
}

std::shared_ptr<const Sstable> TabletImpl::table(uint64_t id) const {
  for (const Run& run : version_->runs) {
    const auto found = std::ranges::find(run.infos, id, &SstableInfo::id);
    if (found != run.infos.end()) return run.tables[static_cast<size_t>(found - run.infos.begin())];
  }
  return nullptr;
}

TabletHealth TabletImpl::health() const {
  if (corruption_) return {TabletCondition::kFailed, corruption_->message, corrupt_since_ms_, 1};
  if (stalled_) return flush_errors_.health(TabletCondition::kReadOnly);
  if (compaction_errors_.any()) return compaction_errors_.health(TabletCondition::kRetrying);
  return flush_errors_.health(TabletCondition::kRetrying);  // one is being tried again
}

std::vector<SstableInfo> TabletImpl::tables() const {
  std::vector<SstableInfo> all;
  for (const Run& run : version_->runs) all.insert(all.end(), run.infos.begin(), run.infos.end());
  if (passed_.empty()) return all;
  for (SstableInfo& info : all) {
    if (const auto it = passed_.find(info.id); it != passed_.end()) info.passed = it->second;
  }
  return all;
}

}  // namespace cairn::storage
