// The SSTables of a tablet at one moment, and reading them.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "storage/cache/block_cache.h"
#include "storage/memtable/memtable.h"
#include "storage/row.h"
#include "storage/sstable/sstable.h"
#include "storage/tablet.h"

namespace cairn::storage {

// The deleted prefixes of a memtable or a table, as far as they count there.
struct PrefixView {
  const PrefixTombstones* list;
  std::string_view begin = {}, end = {};  // empty: open
  uint64_t covering(std::string_view key) const {
    if (key < begin || (!end.empty() && key >= end)) return 0;
    return list->covering(key);
  }
};

// Tables with disjoint keys, sorted. `infos` are as the manifest has them.
struct Run {
  uint64_t number = 0;
  uint64_t max_sequence = 0;
  std::vector<std::shared_ptr<Sstable>> tables;
  std::vector<SstableInfo> infos;
  std::vector<PrefixView> prefixes;  // of those that have some; views into `infos`

  void note_prefixes();  // once `tables` and `infos` are complete
};

// Immutable. Thread safety: any thread.
struct Version {
  std::vector<Run> runs;  // newest first
};

// Tables under their place in the tree.
using Tables = std::vector<std::pair<SstableInfo, std::shared_ptr<Sstable>>>;

std::shared_ptr<const Version> make_version(Tables tables);
Tables tables_of(const Version& version);
// See Sstable::retire().
void retire_all(const Tables& tables, const std::shared_ptr<PacedDeleter>& deleter);
// The first string behind all that start with `prefix`; empty: there is none.
std::string behind_prefix(std::string_view prefix);
// Does a deleted prefix of the table say anything about what is left of it?
bool concerns(const SstableInfo& info, std::string_view prefix);
// Bytes of the file that are the tablet's own: those of a shared one are counted where they are needed.
inline uint64_t own_bytes(const SstableInfo& info) { return info.shared ? info.bytes - info.dead_bytes : info.bytes; }
// As a share of the file's rows, what is left of them, about.
uint64_t own_entries(const SstableInfo& info);

// Where blocks come from.
class BlockSource {
 public:
  virtual ~BlockSource() = default;
  // Null: not in memory, and this source may not wait. Valid until the next load() or whatever else the cache is used
  // for; its shared_from_this() keeps it.
  virtual Result<const Block*> load(const Sstable& table, uint32_t ordinal, BlockUse use) = 0;
  // The same for one row, which need not come in a block of its own.
  virtual Result<const BlockRows*> load_rows(const Sstable& table, uint32_t ordinal);
  // What keeps `value`, a view into what load_rows() gave, valid for longer; moves the view to there.
  virtual std::shared_ptr<const void> keep(const BlockRows* rows, std::string_view& value);
  // Hints: load() and a search in the block follow. First step 0, then for all that were hinted at step 1; step 2, if
  // its first rows are going to be read.
  virtual void prefetch(const Sstable&, uint32_t /*ordinal*/, int /*step*/) {}
};

// The loop's: cache, then what the kernel holds.
class CachedSource final : public BlockSource {
 public:
  // `reader` keeps what load_rows() gives. All outlive the source.
  CachedSource(BlockCache& cache, CachedReader& files, PointReader& reader, TabletStoreMetrics& metrics)
      : cache_(cache), files_(files), reader_(reader), metrics_(metrics) {}
  Result<const Block*> load(const Sstable& table, uint32_t ordinal, BlockUse use) override;
  Result<const BlockRows*> load_rows(const Sstable& table, uint32_t ordinal) override;
  std::shared_ptr<const void> keep(const BlockRows* rows, std::string_view& value) override;
  void prefetch(const Sstable& table, uint32_t ordinal, int step) override;

 private:
  // Of a block that the cache has packed. Null: it does not unpack, for memory has rotted, and has to be read again.
  const BlockRows* unpack_rows(const Sstable& table, uint32_t ordinal);
  const Block* unpack(const Sstable& table, uint32_t ordinal, bool for_good);
  std::nullptr_t rotten(const Sstable& table, uint32_t ordinal);
  template <class Rows>
  Rows* found_packed(Rows* rows) {
    metrics_.cache_hits.add_owned();
    metrics_.cache_packed_hits.add_owned();
    return rows;
  }
  Result<const Block*> read(const Sstable& table, uint32_t ordinal, BlockUse use);
  void count_read(bool there);  // `there`: the kernel had it

  BlockCache& cache_;
  CachedReader& files_;
  PointReader& reader_;
  TabletStoreMetrics& metrics_;
  std::shared_ptr<const Block> held_;  // read last; the cache need not have taken it
};

// The background's: the device. Reads ahead where blocks are asked for in their order. Remembers a few of them for the
// loop's cache.
class DiskSource final : public BlockSource {
 public:
  struct Loaded {
    std::shared_ptr<TableBlocks> table;
    uint32_t ordinal;
    BlockUse use;
    std::shared_ptr<const Block> block;
  };
  explicit DiskSource(size_t remember) : remember_(remember) {}
  Result<const Block*> load(const Sstable& table, uint32_t ordinal, BlockUse use) override;
  std::vector<Loaded> take() { return std::move(loaded_); }
  uint64_t bytes_read() const { return bytes_read_; }
  uint64_t stored_bytes_read() const { return stored_bytes_read_; }  // as they lie on the device

 private:
  // One that goes through a table.
  struct Reader {
    const Sstable* table;
    uint32_t last;  // block
    ReadAhead ahead;
  };
  Result<std::shared_ptr<const Block>> read(const Sstable& table, uint32_t ordinal, BlockUse use);

  size_t remember_;
  std::vector<Reader> readers_;
  uint64_t bytes_read_ = 0, stored_bytes_read_ = 0;
  std::vector<Loaded> loaded_;
  std::shared_ptr<const Block> held_;
};

// All that a read at one moment looks at, newest first. Memtables in it are sealed, or it stays on the loop.
struct ReadView {
  std::vector<std::shared_ptr<const Memtable>> memtables;
  std::shared_ptr<const Version> version;
  uint64_t clear_sequence = 0;  // everything older is hidden
};

struct FoundRow {
  Lookup::State state = Lookup::State::kAbsent;
  std::string_view value;
  std::shared_ptr<const void> pin;  // holds the value
  std::optional<Error> error;       // damage or a failed read
};
// The only table of a run that may hold the key; null: none.
const Sstable* table_for(const Run& run, std::string_view key);
// What a lookup did.
struct RunsProbed {
  uint64_t runs = 0;                                         // whose blocks were searched
  uint64_t filter_negatives = 0;                             // that a filter ruled out
  uint64_t false_positives = 0;                              // that were searched in vain
  std::array<uint32_t, CountHistogram::kBuckets> touched{};  // lookups by the runs that each searched
};
// Looks through the runs only: first fetches what their filters will be asked for, all at once, then asks them in turn.
// `covered` = sequence of the newest deleted prefix above the key found in memtables, or 0.
FoundRow find_in_runs(const Version& version, uint64_t clear_sequence, std::string_view key, uint64_t hash,
                      uint64_t covered, BlockSource& source, RunsProbed& probed);
enum class MemtableAnswer : uint8_t { kNothing, kFound, kGone };
// `covered` is raised to the newest deleted prefix above the key.
MemtableAnswer find_in_memtable(const Memtable& table, std::string_view key, uint64_t hash, uint64_t& covered,
                                std::string_view& value);

}  // namespace cairn::storage
