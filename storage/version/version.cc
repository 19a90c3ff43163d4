#include "storage/version/version.h"

#include <algorithm>

#include "base/assert.h"
#include "base/checksum.h"

namespace cairn::storage {

namespace {

// What the manifest does not say about a table.
void complete(SstableInfo& info, const Sstable& table) {
  const SstableInfo& whole = table.info();
  info.trimmed = info.smallest > whole.smallest;
  info.largest = std::max(info.largest, info.smallest);  // all that is left are deleted prefixes
  info.expiring = whole.expiring;
  info.min_expiry_ms = whole.min_expiry_ms;
  info.max_expiry_ms = whole.max_expiry_ms;
  const uint64_t rows_dead = table.properties().point_tombstones + whole.expiring;
  info.dead_from_ms = rows_dead == whole.entries ? whole.max_expiry_ms : ~0ull;
  info.span_begin = info.smallest;
  info.span_end = info.largest + '\0';
  for (const auto& tombstone : table.prefixes().list()) {
    if (info.trimmed && tombstone.prefix < info.smallest) continue;
    info.span_begin = std::min(info.span_begin, tombstone.prefix);
    const std::string end = behind_prefix(tombstone.prefix);
    if (!info.span_end.empty()) info.span_end = end.empty() ? end : std::max(info.span_end, end);
  }
}

}  // namespace

std::string behind_prefix(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && end.back() == '\xff') end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(static_cast<uint8_t>(end.back()) + 1);
  return end;
}

std::shared_ptr<const Version> make_version(std::vector<std::pair<SstableInfo, std::shared_ptr<Sstable>>> tables) {
  std::ranges::sort(tables, [](const auto& a, const auto& b) {
    if (a.first.run != b.first.run) return a.first.run > b.first.run;
    return std::tie(a.first.smallest, a.first.id) < std::tie(b.first.smallest, b.first.id);
  });
  auto version = std::make_shared<Version>();
  for (auto& [info, table] : tables) {
    if (version->runs.empty() || version->runs.back().number != info.run)
      version->runs.emplace_back().number = info.run;
    Run& run = version->runs.back();
    CAIRN_ASSERT_MSG(run.infos.empty() || run.infos.back().largest < info.smallest, "tables of one run overlap");
    run.max_sequence = std::max(run.max_sequence, info.max_sequence.value);
    if (!table->prefixes().empty()) run.with_prefixes.push_back(table.get());
    complete(info, *table);
    run.infos.push_back(std::move(info));
    run.tables.push_back(std::move(table));
  }
  return version;
}

std::vector<std::pair<SstableInfo, std::shared_ptr<Sstable>>> tables_of(const Version& version) {
  std::vector<std::pair<SstableInfo, std::shared_ptr<Sstable>>> tables;
  for (const Run& run : version.runs) {
    for (size_t i = 0; i < run.tables.size(); ++i) tables.emplace_back(run.infos[i], run.tables[i]);
  }
  return tables;
}

Result<const Block*> CachedSource::load(const Sstable& table, uint32_t ordinal, BlockUse use) {
  if (const Block* block = cache_.find(*table.cached(), ordinal, use)) {
    metrics_.cache_hits.add_owned();
    return block;
  }
  metrics_.cache_misses.add_owned();
  CAIRN_TRY(held_, table.read_block_cached(ordinal));
  if (held_) cache_.insert(table.cached(), ordinal, held_, use);
  return held_.get();
}

Result<const Block*> DiskSource::load(const Sstable& table, uint32_t ordinal, BlockUse use) {
  CAIRN_TRY(held_, table.read_block(ordinal));
  bytes_read_ += held_->bytes();
  if (loaded_.size() < remember_) loaded_.push_back({table.cached(), ordinal, use, held_});
  return held_.get();
}

MemtableAnswer find_in_memtable(const Memtable& table, std::string_view key, uint64_t hash, uint64_t& covered,
                                std::string_view& value) {
  if (!table.prefixes().empty()) covered = std::max(covered, table.prefixes().covering(key));
  if (const MemEntry* entry = table.find(key, hash)) {
    if (entry->sequence < covered || static_cast<OpKind>(entry->kind) == OpKind::kDelete) return MemtableAnswer::kGone;
    value = {entry->value, entry->value_size};
    return MemtableAnswer::kFound;
  }
  // Whatever older tables hold is older than the deletion.
  return covered != 0 ? MemtableAnswer::kGone : MemtableAnswer::kNothing;
}

const Sstable* table_for(const Run& run, std::string_view key) {
  if (run.tables.size() == 1)
    return key >= run.infos[0].smallest && key <= run.infos[0].largest ? run.tables[0].get() : nullptr;
  const auto it = std::ranges::upper_bound(run.infos, key, {}, &SstableInfo::smallest);
  if (it == run.infos.begin() || key > std::prev(it)->largest) return nullptr;
  return run.tables[static_cast<size_t>(std::prev(it) - run.infos.begin())].get();
}

namespace {

// The next run of a lookup that has a table for the key.
struct Candidate {
  const Run* run;
  const Sstable* table;  // null: the run only has deleted prefixes to ask
};
constexpr size_t kCandidatesAtOnce = 16;

// Takes up to kCandidatesAtOnce runs from `at` on.
size_t collect(const Version& version, size_t& at, uint64_t clear_sequence, std::string_view key, uint64_t hash,
               Candidate* out) {
  size_t n = 0;
  for (; at < version.runs.size() && n < kCandidatesAtOnce; ++at) {
    const Run& run = version.runs[at];
    if (run.max_sequence < clear_sequence) continue;
    const Sstable* table = table_for(run, key);
    if (table == nullptr && run.with_prefixes.empty()) continue;
    if (table != nullptr) table->filter().prefetch(hash);
    out[n++] = {&run, table};
  }
  return n;
}

enum class Probe : uint8_t { kGoOn, kEnd };

Probe probe_table(const Sstable& table, std::string_view key, uint64_t hash, uint64_t covered, BlockSource& source,
                  FoundRow& found) {
  const uint32_t ordinal = table.block_for(key);
  if (ordinal == table.blocks()) return Probe::kGoOn;
  auto loaded = source.load(table, ordinal, BlockUse::kPoint);
  if (!loaded || *loaded == nullptr) {
    found.state = Lookup::State::kNeedsDisk;
    if (!loaded) found.error = std::move(loaded).error();
    return Probe::kEnd;
  }
  const Block& block = **loaded;
  const uint32_t row = block.find(key, hash);
  if (row == block.rows()) return Probe::kGoOn;
  if (block.kind(row) == OpKind::kDelete || (covered != 0 && block.sequence(row) < covered)) return Probe::kEnd;
  found.state = Lookup::State::kFound;
  found.value = block.value(row);
  found.block = block.shared_from_this();
  return Probe::kEnd;
}

}  // namespace

FoundRow find_in_runs(const Version& version, uint64_t clear_sequence, std::string_view key, uint64_t hash,
                      uint64_t covered, BlockSource& source, RunsProbed& probed) {
  FoundRow found;
  Candidate candidates[kCandidatesAtOnce];
  for (size_t at = 0; at < version.runs.size() && covered == 0;) {
    const size_t n = collect(version, at, clear_sequence, key, hash, candidates);
    for (size_t i = 0; i < n && covered == 0; ++i) {
      const auto& [run, table] = candidates[i];
      for (const Sstable* other : run->with_prefixes) covered = std::max(covered, other->prefixes().covering(key));
      if (table == nullptr) continue;
      if (!table->filter().may_contain(hash)) {
        ++probed.filter_negatives;
        continue;
      }
      ++probed.runs;
      if (probe_table(*table, key, hash, covered, source, found) == Probe::kEnd) return found;
    }
  }
  return found;
}

namespace {

class RunCursor final : public RowCursor {
 public:
  RunCursor(const Run& run, BlockSource& source) : run_(run), source_(source) {}

  CursorState seek(std::string_view lower) override {
    const auto it = std::ranges::lower_bound(run_.infos, lower, {}, &SstableInfo::largest);
    table_ = static_cast<size_t>(it - run_.infos.begin());
    while (table_ < run_.tables.size()) {
      lower = std::max<std::string_view>(lower, run_.infos[table_].smallest);
      ordinal_ = run_.tables[table_]->block_for(lower);
      if (ordinal_ < run_.tables[table_]->blocks()) {
        const CursorState state = open(BlockUse::kPoint);
        if (state != CursorState::kRow) return state;
        slot_ = block_->lower_bound(lower);
        return slot_ < block_->rows() ? show() : step_block();
      }
      ++table_;
    }
    return CursorState::kEnd;
  }
  CursorState next() override {
    if (++slot_ < block_->rows()) return show();
    return step_block();
  }
  const Row& row() const override { return row_; }
  const Error& error() const override { return error_; }

 private:
  CursorState step_block() {
    ++ordinal_;
    while (ordinal_ >= run_.tables[table_]->blocks()) {
      ordinal_ = 0;
      if (++table_ == run_.tables.size()) return CursorState::kEnd;
      if (run_.infos[table_].trimmed) return seek(run_.infos[table_].smallest);
    }
    const CursorState state = open(BlockUse::kScan);
    if (state != CursorState::kRow) return state;
    slot_ = 0;
    return show();
  }
  CursorState open(BlockUse use) {
    auto block = source_.load(*run_.tables[table_], ordinal_, use);
    if (!block) {
      error_ = std::move(block).error();
      return CursorState::kFailed;
    }
    if (*block == nullptr) return CursorState::kNeedsDisk;
    block_ = (*block)->shared_from_this();
    return CursorState::kRow;
  }
  CursorState show() {
    row_ = block_->row(slot_);
    block_->key(slot_, key_);
    row_.key = key_;
    return CursorState::kRow;
  }

  const Run& run_;
  BlockSource& source_;
  size_t table_ = 0;
  uint32_t ordinal_ = 0, slot_ = 0;
  std::shared_ptr<const Block> block_;
  std::string key_;
  Row row_;
  Error error_;
};

}  // namespace

std::unique_ptr<RowCursor> run_cursor(const Run& run, BlockSource& source) {
  return std::make_unique<RunCursor>(run, source);
}

MergeCursor::MergeCursor(std::vector<std::unique_ptr<RowCursor>> children,
                         std::vector<const PrefixTombstones*> prefixes)
    : prefixes_(std::move(prefixes)) {
  for (auto& cursor : children) children_.push_back({std::move(cursor), CursorState::kEnd});
}

CursorState MergeCursor::seek(std::string_view lower) {
  for (auto& child : children_) child.state = child.cursor->seek(lower);
  return settle();
}

CursorState MergeCursor::next() {
  pass();
  return settle();
}

// Moves every child behind the present key. The winner goes last: its key is what the others are compared
// with.
void MergeCursor::pass() {
  const std::string_view key = children_[winner_].cursor->row().key;
  for (size_t i = winner_ + 1; i < children_.size(); ++i) {
    Child& child = children_[i];
    if (child.state != CursorState::kRow || child.cursor->row().key != key) continue;
    ++dropped_;
    child.state = child.cursor->next();
  }
  children_[winner_].state = children_[winner_].cursor->next();
}

CursorState MergeCursor::settle() {
  while (true) {
    if (steps_left_ == 0) return CursorState::kNeedsDisk;
    --steps_left_;
    bool any = false;
    for (size_t i = 0; i < children_.size(); ++i) {
      const Child& child = children_[i];
      if (child.state == CursorState::kEnd) continue;
      if (child.state != CursorState::kRow) {
        winner_ = i;
        return child.state;
      }
      if (!any || child.cursor->row().key < children_[winner_].cursor->row().key) winner_ = i;
      any = true;
    }
    if (!any) return CursorState::kEnd;
    if (!hidden(row())) return CursorState::kRow;
    ++dropped_;
    pass();
  }
}

bool MergeCursor::hidden(const Row& row) const {
  for (const PrefixTombstones* list : prefixes_) {
    if (list->covering(row.key) > row.sequence) return true;
  }
  return false;
}

std::unique_ptr<MergeCursor> merge_view(const ReadView& view, BlockSource& source) {
  std::vector<std::unique_ptr<RowCursor>> children;
  std::vector<const PrefixTombstones*> prefixes;
  for (const auto& table : view.memtables) {
    children.push_back(std::make_unique<MemtableCursor>(*table));
    if (!table->prefixes().empty()) prefixes.push_back(&table->prefixes());
  }
  for (const Run& run : view.version->runs) {
    if (run.max_sequence < view.clear_sequence) continue;
    children.push_back(run_cursor(run, source));
    for (const auto& table : run.tables) {
      if (!table->prefixes().empty()) prefixes.push_back(&table->prefixes());
    }
  }
  return std::make_unique<MergeCursor>(std::move(children), std::move(prefixes));
}

}  // namespace cairn::storage
