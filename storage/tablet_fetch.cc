// Reads that may wait for a disk.
//
// The job works on what was sealed when fetch() was called; nothing is sealed for its sake, except for whole
// scans. What the loop has applied since, and what its mutable memtable held at the call, is laid over the
// rows when they come back, so the answer is as of the moment it is given. If a memtable that the job did not
// see was flushed in between, the job starts again on the newer version.
#include <algorithm>

#include "base/checksum.h"
#include "storage/row_fetch.h"
#include "storage/tablet_impl.h"
#include "storage/version/cursors.h"

namespace cairn::storage {
namespace {
constexpr uint64_t kSliceBytes = 256u << 10;
constexpr uint64_t kSliceRows = 2048;
constexpr size_t kBlocksToCache = 64;  // of one fetch
}  // namespace

class FetchJob {
 public:
  using Rows = std::vector<std::pair<std::string, std::string>>;
  struct PrefixState {
    Rows disk;              // live rows as of the view, after start_after
    bool complete = false;  // up to the end of the prefix
    uint64_t wanted = 0;    // rows to have before coming back
    uint64_t bytes = 0;     // of `disk`
  };

  FetchJob(FetchRequest request, std::move_only_function<void(Result<FetchResult>)> done)
      : request(std::move(request)), done(std::move(done)) {}

  void start(ReadView now, uint64_t mutable_id, uint64_t tablet_life) {
    view = std::move(now);
    newest_unseen = mutable_id;
    life = tablet_life;
    rows.assign(request.rows.size(), std::nullopt);
    prefixes.assign(request.prefixes.size(), {});
    for (size_t i = 0; i < prefixes.size(); ++i) prefixes[i].wanted = request.prefixes[i].rows_max;
    next_row = 0;
    next_prefix = 0;
    cursor.reset();
    source = std::make_unique<DiskSource>(kBlocksToCache);
  }

  // On a background thread. True while more remains.
  bool step() {
    const uint64_t begin = source->bytes_read();
    bool more = true;
    for (uint64_t n = 0; n < kSliceRows && source->bytes_read() - begin < kSliceBytes && more; ++n) more = one();
    note_passed();
    return more;
  }

  FetchRequest request;
  std::move_only_function<void(Result<FetchResult>)> done;
  ReadView view;
  uint64_t newest_unseen = 0;  // id of the memtable that was mutable at the call
  uint64_t life = 0;
  std::vector<std::optional<std::string>> rows;
  std::vector<PrefixState> prefixes;
  uint64_t reads = 0;  // of rows, that went to the runs
  RunsProbed probed;
  std::optional<Error> error;
  std::unique_ptr<DiskSource> source;
  size_t next_prefix = 0;
  std::unique_ptr<MergeCursor> cursor;
  bool visited = false;                                  // once only, whatever is read again
  std::vector<std::pair<std::string, uint64_t>> passed;  // rows in vain, and about where

 private:
  // What the cursor has passed in vain since the last time.
  void note_passed() {
    if (!cursor) return;
    const uint64_t rows = cursor->passed_in_vain() - std::exchange(passed_before, cursor->passed_in_vain());
    if (rows >= kPassedMin) passed.emplace_back(at == CursorState::kRow ? cursor->row().key : std::string_view(), rows);
  }
  void open_cursor() {
    cursor = merge_view(view, *source);
    passed_before = 0;
  }
  bool fail(const Error& e) {
    error = e;
    return false;
  }
  // One row. False at the end.
  bool one() {
    if (next_row < rows.size()) return find(next_row++);
    while (next_prefix < prefixes.size()) {
      const int progress = extend(prefixes[next_prefix], request.prefixes[next_prefix]);
      if (progress < 0) return false;
      if (progress > 0) return true;
      ++next_prefix;
      note_passed();
      cursor.reset();
    }
    if (!request.visit || visited) return false;
    visited = !visit();
    return !visited && !error;
  }
  bool find(size_t i) {
    const std::string& key = request.rows[i];
    const uint64_t hash = hash64(key);
    uint64_t covered = 0;
    std::string_view value;
    for (const auto& table : view.memtables) {
      const MemtableAnswer answer = find_in_memtable(*table, key, hash, covered, value);
      if (answer == MemtableAnswer::kNothing) continue;
      if (answer == MemtableAnswer::kFound) rows[i] = std::string(value);
      return true;
    }
    ++reads;
    const FoundRow found = find_in_runs(*view.version, view.clear_sequence, key, hash, covered, *source, probed);
    if (found.error) return fail(*found.error);
    if (found.state == Lookup::State::kFound) rows[i] = std::string(found.value);
    return true;
  }
  // 1: a step was made; 0: enough of this prefix; -1: failed.
  int extend(PrefixState& state, const RowPage& prefix) {
    if (state.complete || state.disk.size() >= state.wanted || state.bytes >= prefix.bytes_max) return 0;
    if (!cursor) {
      open_cursor();
      RowPage rest = prefix;
      if (!state.disk.empty()) {
        rest.start_after = state.disk.back().first;
        rest.start_included = false;
      }
      at = seek_page(*cursor, rest);
    }
    if (at == CursorState::kFailed) return fail(cursor->error()), -1;
    if (at != CursorState::kRow || !cursor->row().key.starts_with(prefix.prefix)) {
      state.complete = true;
      return 0;
    }
    const Row& row = cursor->row();
    if (const std::string next = prefix.skipped_to(row.key); !next.empty()) {
      at = prefix.reverse ? cursor->next() : cursor->seek(next);
      return 1;
    }
    if (row.kind == OpKind::kPut) {
      const std::string_view value = prefix.cut(row.value);
      state.bytes += row.key.size() + value.size();
      state.disk.emplace_back(row.key, value);
    }
    at = cursor->next();
    return 1;
  }
  bool visit() {
    if (!cursor) {
      open_cursor();
      at = cursor->seek({});
    }
    if (at == CursorState::kFailed) return fail(cursor->error());
    if (at != CursorState::kRow) return false;
    const Row& row = cursor->row();
    if (row.kind == OpKind::kPut && !request.visit(row.key, row.value)) return false;
    at = cursor->next();
    return true;
  }

  size_t next_row = 0;
  uint64_t passed_before = 0;
  CursorState at = CursorState::kEnd;
};

std::optional<Error> TabletImpl::unfit() const {
  if (corruption_) return corruption_;
  if (dropped_) return Error{ErrorCode::kUnavailable, "the tablet was dropped"};
  return std::nullopt;
}

void TabletImpl::fetch(FetchRequest request, std::move_only_function<void(Result<FetchResult>)> done) {
  if (const auto error = unfit()) return answer_later(*store_.env().loop, std::move(done), *error);
  store_.mutable_metrics().disk_fetches.add();
  if (request.prefixes.empty() && !request.visit && request.rows.size() <= RowFetch::kRowsMax) {
    const auto fetch = std::make_shared<RowFetch>(*this, std::move(request), std::move(done));
    store_.env().loop->post([fetch] { fetch->look(); });
    return;
  }
  fetch_pinned(std::move(request), std::move(done));
}

void TabletImpl::fetch_pinned(FetchRequest request, std::move_only_function<void(Result<FetchResult>)> done) {
  if (request.visit) flush();  // a visit cannot be patched afterwards: everything it sees must be sealed
  submit_fetch(std::make_shared<FetchJob>(std::move(request), std::move(done)));
}

void TabletImpl::submit_fetch(std::shared_ptr<FetchJob> job) {
  if (!job->view.version) {
    ReadView sealed = view();
    sealed.memtables.erase(sealed.memtables.begin());
    job->start(std::move(sealed), mutable_->id(), life_);
  }
  store_.env().background->submit(JobPriority::kHigh,
                                  [job, loop = store_.env().loop, weak = weak_from_this(), store = store_.alive()] {
                                    if (job->step()) return true;
                                    loop->post([job, weak, store] {
                                      if (store.expired()) return;
                                      if (const auto self = weak.lock()) return self->fetched(job);
                                      job->done(Error{ErrorCode::kUnavailable, "the tablet was dropped"});
                                    });
                                    return false;
                                  });
}

void TabletImpl::fetched(const std::shared_ptr<FetchJob>& job) {
  if (dropped_) return job->done(Error{ErrorCode::kUnavailable, "the tablet was dropped"});
  if (job->error) {
    if (job->life == life_) report_corruption(*job->error);
    return job->done(*job->error);
  }
  count_reads(std::exchange(job->reads, 0), std::exchange(job->probed, {}));
  if (job->life == life_) {
    for (const auto& [key, rows] : std::exchange(job->passed, {})) passed_in_vain(key, rows);
    for (auto& loaded : job->source->take()) {
      if (loaded.use == BlockUse::kPoint) {
        store_.cache().offer(loaded.table, loaded.ordinal, std::move(loaded.block));
      } else {
        store_.cache().insert(loaded.table, loaded.ordinal, std::move(loaded.block), loaded.use);
      }
    }
  }
  // Memtables the job has not seen, newest first.
  std::vector<std::shared_ptr<const Memtable>> unseen;
  for (auto& table : view().memtables) {
    if (table->id() >= job->newest_unseen) unseen.push_back(table);
  }
  const uint64_t oldest = sealed_.empty() ? mutable_->id() : sealed_.front().table->id();
  const bool patched = !job->request.rows.empty() || !job->request.prefixes.empty();
  if (patched && (job->life != life_ || oldest > job->newest_unseen)) {
    job->view = {};
    return submit_fetch(job);
  }
  const bool cleared = clear_sequence_ > job->view.clear_sequence;
  FetchResult result;
  for (size_t i = 0; i < job->rows.size(); ++i) {
    const std::string& key = job->request.rows[i];
    std::optional<std::string> row;
    if (!cleared) row = job->rows[i];
    const uint64_t hash = hash64(key);
    uint64_t covered = 0;
    std::string_view value;
    for (const auto& table : unseen) {
      const MemtableAnswer answer = find_in_memtable(*table, key, hash, covered, value);
      if (answer == MemtableAnswer::kNothing) continue;
      row.reset();
      if (answer == MemtableAnswer::kFound) row = std::string(value);
      break;
    }
    result.rows.push_back(std::move(row));
  }
  ReadView overlay{unseen, std::make_shared<Version>(), 0};
  DiskSource nothing(0);
  bool more = false;
  for (size_t i = 0; i < job->prefixes.size(); ++i) {
    const RowPage& prefix = job->request.prefixes[i];
    FetchJob::PrefixState& state = job->prefixes[i];
    // Both sides in key order; the overlay wins, and hides what its deleted prefixes cover.
    FetchJob::Rows merged;
    uint64_t bytes = 0;
    const auto full = [&] { return prefix.full(merged.size(), bytes); };
    const auto take = [&](std::string_view key, std::string_view value) {
      bytes += key.size() + value.size();
      merged.emplace_back(key, value);
    };
    const auto cursor = merge_view(overlay, nothing);
    CursorState at = seek_page(*cursor, prefix);
    const auto overlay_row = [&] { return at == CursorState::kRow && cursor->row().key.starts_with(prefix.prefix); };
    size_t d = 0;
    while (!full()) {
      const bool disk = d < state.disk.size();
      if (!disk && !state.complete) break;  // nothing is known behind the last row that was read
      if (overlay_row()) {
        if (const std::string next = prefix.skipped_to(cursor->row().key); !next.empty()) {
          at = prefix.reverse ? cursor->next() : cursor->seek(next);
          continue;
        }
      }
      if (overlay_row() && (!disk || !prefix.in_order(state.disk[d].first, cursor->row().key))) {
        if (disk && cursor->row().key == state.disk[d].first) ++d;
        if (cursor->row().kind == OpKind::kPut) take(cursor->row().key, prefix.cut(cursor->row().value));
        at = cursor->next();
        continue;
      }
      if (!disk) break;
      const auto& [key, value] = state.disk[d++];
      const bool gone = cleared || std::ranges::any_of(unseen, [&](const auto& table) {
                          return !table->prefixes().empty() && table->prefixes().covering(key) != 0;
                        });
      if (!gone) take(key, value);
    }
    if (!full() && !state.complete) {
      // Deletions ate some of the rows: read on.
      more = true;
      state.wanted =
          state.disk.size() + std::max<uint64_t>(64, std::min<uint64_t>(prefix.rows_max, 4096) - merged.size());
      state.bytes = std::min(state.bytes, bytes);
      job->next_prefix = std::min(job->next_prefix, i);
    }
    result.prefixes.push_back(std::move(merged));
  }
  if (more) {
    job->cursor.reset();
    return submit_fetch(job);
  }
  job->done(std::move(result));
}

}  // namespace cairn::storage
