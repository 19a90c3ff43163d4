#include "storage/version/version.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/checksum.h"

namespace cairn::storage {

namespace {

constexpr size_t kReadersMax = 64;  // that read ahead, of one source

// What the manifest does not say about a table.
void complete(SstableInfo& info, const Sstable& table) {
  const SstableInfo& whole = table.info();
  info.trimmed = info.smallest > whole.smallest;
  const uint64_t data = table.data_bytes();
  const uint64_t begin = info.trimmed ? table.bytes_before(info.smallest) : 0;
  const uint64_t end = info.end.empty() ? data : table.bytes_before(info.end);
  info.dead_bytes = std::min(data - (end > begin ? end - begin : 0), info.bytes);
  info.largest = std::max(info.largest, info.smallest);  // all that is left are deleted prefixes
  info.dense_tombstones = whole.dense_tombstones;
  info.expiring = whole.expiring;
  info.min_expiry_ms = whole.min_expiry_ms;
  info.max_expiry_ms = whole.max_expiry_ms;
  const uint64_t rows_dead = table.properties().point_tombstones + whole.expiring;
  info.dead_from_ms = rows_dead == whole.entries ? whole.max_expiry_ms : ~0ull;
  info.span_begin = info.smallest;
  info.span_end = info.largest + '\0';
  for (const auto& tombstone : table.prefixes().list()) {
    if (!concerns(info, tombstone.prefix)) continue;
    info.span_begin = std::min(info.span_begin, tombstone.prefix);
    const std::string end = behind_prefix(tombstone.prefix);
    if (!info.span_end.empty()) info.span_end = end.empty() ? end : std::max(info.span_end, end);
  }
}

}  // namespace

bool concerns(const SstableInfo& info, std::string_view prefix) {
  if (!info.end.empty() && prefix >= info.end) return false;
  const std::string& begin = info.trimmed ? info.smallest : info.begin;
  if (begin.empty() || prefix >= begin) return true;
  const std::string behind = behind_prefix(prefix);
  return behind.empty() || behind > begin;
}

uint64_t own_entries(const SstableInfo& info) {
  if (!info.shared || info.bytes == 0) return info.entries;
  const double share = static_cast<double>(own_bytes(info)) / static_cast<double>(info.bytes);
  return static_cast<uint64_t>(share * static_cast<double>(info.entries));
}

void Run::note_prefixes() {
  prefixes.clear();
  for (size_t i = 0; i < tables.size(); ++i) {
    if (tables[i]->prefixes().empty()) continue;
    const SstableInfo& info = infos[i];
    prefixes.push_back({&tables[i]->prefixes(), info.trimmed ? info.smallest : info.begin, info.end});
  }
}

std::string behind_prefix(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && end.back() == '\xff') end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(static_cast<uint8_t>(end.back()) + 1);
  return end;
}

std::shared_ptr<const Version> make_version(Tables tables) {
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
    complete(info, *table);
    run.infos.push_back(std::move(info));
    run.tables.push_back(std::move(table));
  }
  for (Run& run : version->runs) run.note_prefixes();
  return version;
}

Tables tables_of(const Version& version) {
  Tables tables;
  for (const Run& run : version.runs) {
    for (size_t i = 0; i < run.tables.size(); ++i) tables.emplace_back(run.infos[i], run.tables[i]);
  }
  return tables;
}

void retire_all(const Tables& tables, const std::shared_ptr<PacedDeleter>& deleter) {
  for (const auto& [info, table] : tables) table->retire(deleter);
}

Result<const BlockRows*> BlockSource::load_rows(const Sstable& table, uint32_t ordinal) {
  CAIRN_TRY(const Block* block, load(table, ordinal, BlockUse::kPoint));
  return block;
}

std::shared_ptr<const void> BlockSource::keep(const BlockRows* rows, std::string_view&) {
  return static_cast<const Block*>(rows)->shared_from_this();
}

Result<const Block*> CachedSource::load(const Sstable& table, uint32_t ordinal, BlockUse use) {
  if (const Block* block = cache_.find(*table.cached(), ordinal, use)) {
    metrics_.cache_hits.add_owned();
    return block;
  }
  if (cache_.find_packed(*table.cached(), ordinal, use) != nullptr) {
    if (const Block* block = unpack(table, ordinal, cache_.unpacks(*table.cached(), ordinal))) return block;
  }
  metrics_.cache_misses.add_owned();
  return read(table, ordinal, use);
}

Result<const BlockRows*> CachedSource::load_rows(const Sstable& table, uint32_t ordinal) {
  TableBlocks& blocks = *table.cached();
  if (const Block* block = cache_.find(blocks, ordinal, BlockUse::kPoint)) {
    metrics_.cache_hits.add_owned();
    return block;
  }
  if (cache_.find_packed(blocks, ordinal, BlockUse::kPoint) != nullptr) {
    if (const BlockRows* rows = unpack_rows(table, ordinal)) return rows;
  }
  metrics_.cache_misses.add_owned();
  const BlockForm form = cache_.wants(blocks, ordinal);
  if (table.stored_bytes(ordinal) > PointReader::kStoredBytesMax || form == BlockForm::kUnpacked) {
    CAIRN_TRY(const Block* block, read(table, ordinal, BlockUse::kPoint));
    return block;
  }
  CAIRN_TRY(const BlockRows* rows, table.read_rows_cached(ordinal, files_, reader_));
  count_read(rows != nullptr);
  if (rows == nullptr) return rows;
  if (form == BlockForm::kPacked) {
    cache_.insert(table.cached(), ordinal, reader_.stored(), BlockUse::kPoint);
  } else {
    cache_.passed_by(blocks, ordinal);
  }
  return rows;
}

std::shared_ptr<const void> CachedSource::keep(const BlockRows* rows, std::string_view& value) {
  return reader_.holds(rows) ? reader_.keep(value) : BlockSource::keep(rows, value);
}

const BlockRows* CachedSource::unpack_rows(const Sstable& table, uint32_t ordinal) {
  if (cache_.unpacks(*table.cached(), ordinal)) return unpack(table, ordinal, true);
  const auto rows = table.unpack(cache_.find_packed(*table.cached(), ordinal, BlockUse::kScan)->stored(), reader_);
  return rows ? found_packed(*rows) : rotten(table, ordinal);
}

const Block* CachedSource::unpack(const Sstable& table, uint32_t ordinal, bool for_good) {
  auto block = table.unpack(cache_.find_packed(*table.cached(), ordinal, BlockUse::kScan)->stored(), cache_.memory());
  if (!block) return rotten(table, ordinal);
  held_ = std::move(*block);
  if (for_good) cache_.unpacked(table.cached(), ordinal, held_);
  return found_packed(held_.get());
}

std::nullptr_t CachedSource::rotten(const Sstable& table, uint32_t ordinal) {
  cache_.forget(*table.cached(), ordinal);
  return nullptr;
}

Result<const Block*> CachedSource::read(const Sstable& table, uint32_t ordinal, BlockUse use) {
  std::string buffer;
  CAIRN_TRY(const auto stored, table.read_stored_cached(ordinal, files_, buffer));
  count_read(stored.has_value());
  if (!stored) return nullptr;
  auto block = table.unpack(*stored, cache_.memory());
  if (!block && block.error().code == ErrorCode::kCorruption) return nullptr;  // as read_stored_cached()
  CAIRN_TRY(held_, std::move(block));
  if (cache_.full()) {
    cache_.insert(table.cached(), ordinal, *stored, use);
  } else {
    cache_.insert(table.cached(), ordinal, held_, use);
  }
  return held_.get();
}

void CachedSource::count_read(bool there) {
  (there ? metrics_.page_hits : metrics_.page_misses).add_owned();
  cache_.was_read(!there);
}

void CachedSource::prefetch(const Sstable& table, uint32_t ordinal, int step) {
  const Block* block = cache_.find(*table.cached(), ordinal, BlockUse::kScan);
  if (block == nullptr) return;
  if (step == 1) return block->prefetch();
  if (step > 1) return block->prefetch_rows();
  const auto* bytes = reinterpret_cast<const char*>(block);
  for (size_t at = 0; at < sizeof(Block); at += kCacheLine) __builtin_prefetch(bytes + at);
}

Result<const Block*> DiskSource::load(const Sstable& table, uint32_t ordinal, BlockUse use) {
  CAIRN_TRY(held_, read(table, ordinal, use));
  bytes_read_ += held_->bytes();
  stored_bytes_read_ += table.stored_bytes(ordinal);
  if (loaded_.size() < remember_) loaded_.push_back({table.cached(), ordinal, use, held_});
  return held_.get();
}

Result<std::shared_ptr<const Block>> DiskSource::read(const Sstable& table, uint32_t ordinal, BlockUse use) {
  const auto reader = std::ranges::find(readers_, &table, &Reader::table);
  if (reader == readers_.end()) {
    if (table.blocks() > 1 && readers_.size() < kReadersMax) readers_.push_back({&table, ordinal, {}});
    return table.read_block(ordinal);
  }
  const uint32_t before = std::exchange(reader->last, ordinal);
  const bool back = ordinal + 1 == before;
  if (use == BlockUse::kPoint || (ordinal != before + 1 && !back)) {
    reader->ahead = {};
    return table.read_block(ordinal);
  }
  auto block = table.read_block(ordinal, back, reader->ahead);
  if (ordinal == (back ? 0 : table.blocks() - 1)) readers_.erase(reader);  // the run goes on in another table
  return block;
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
    if (table == nullptr && run.prefixes.empty()) continue;
    if (table != nullptr) table->filter().prefetch(hash);
    out[n++] = {&run, table};
  }
  return n;
}

enum class Probe : uint8_t { kNoKey, kAnswered, kFailed };

Probe probe_table(const Sstable& table, std::string_view key, uint64_t hash, uint64_t covered, BlockSource& source,
                  FoundRow& found) {
  const uint32_t ordinal = table.block_for(key);
  if (ordinal == table.blocks()) return Probe::kNoKey;
  auto loaded = source.load_rows(table, ordinal);
  if (!loaded || *loaded == nullptr) {
    found.state = Lookup::State::kNeedsDisk;
    if (!loaded) found.error = std::move(loaded).error();
    return Probe::kFailed;
  }
  const BlockRows& block = **loaded;
  const uint32_t row = block.find(key, hash);
  if (row == block.rows()) return Probe::kNoKey;
  if (block.kind(row) == OpKind::kDelete || (covered != 0 && block.sequence(row) < covered)) return Probe::kAnswered;
  found.state = Lookup::State::kFound;
  found.value = block.value(row);
  found.pin = source.keep(&block, found.value);
  return Probe::kAnswered;
}

}  // namespace

FoundRow find_in_runs(const Version& version, uint64_t clear_sequence, std::string_view key, uint64_t hash,
                      uint64_t covered, BlockSource& source, RunsProbed& probed) {
  FoundRow found;
  const uint64_t before = probed.runs;
  const auto touched = [&] { ++probed.touched[CountHistogram::bucket_of(probed.runs - before)]; };
  Candidate candidates[kCandidatesAtOnce];
  for (size_t at = 0; at < version.runs.size() && covered == 0;) {
    const size_t n = collect(version, at, clear_sequence, key, hash, candidates);
    for (size_t i = 0; i < n && covered == 0; ++i) {
      const auto& [run, table] = candidates[i];
      for (const PrefixView& prefixes : run->prefixes) covered = std::max(covered, prefixes.covering(key));
      if (table == nullptr) continue;
      if (!table->filter().may_contain(hash)) {
        ++probed.filter_negatives;
        continue;
      }
      ++probed.runs;
      const Probe probe = probe_table(*table, key, hash, covered, source, found);
      if (probe == Probe::kFailed) return found;
      if (probe == Probe::kAnswered) return touched(), found;
      ++probed.false_positives;
    }
  }
  touched();
  return found;
}

}  // namespace cairn::storage
