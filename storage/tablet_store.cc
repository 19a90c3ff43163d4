#include <algorithm>
#include <cstdlib>

#include "base/assert.h"
#include "storage/install.h"
#include "storage/store_impl.h"
#include "storage/tablet_impl.h"

namespace cairn::storage {
namespace {

constexpr unsigned kShardShift = 48;          // file numbers: shard in the top 16 bits
constexpr uint64_t kSealAtLeast = 64u << 10;  // the memory budget never makes tables smaller than this

// DATA/shard-N -> N
uint64_t shard_of(const std::string& dir) {
  size_t at = dir.size();
  while (at > 0 && dir[at - 1] >= '0' && dir[at - 1] <= '9') --at;
  return std::strtoull(dir.c_str() + at, nullptr, 10) & 0xFFFF;
}

}  // namespace

std::optional<uint64_t> parse_sstable_name(std::string_view name) {
  if (name.size() != 20 || !name.ends_with(".sst")) return std::nullopt;
  const std::string hex(name.substr(0, 16));
  char* end = nullptr;
  const uint64_t number = std::strtoull(hex.c_str(), &end, 16);
  return *end == '\0' ? std::optional(number) : std::nullopt;
}

Result<std::shared_ptr<Sstable>> open_table(FileSystem& fs, const std::string& path, const SstableInfo& info) {
  auto table = Sstable::open(fs, path, info.id);
  if (table && info.ingested) (*table)->stamp({info.max_sequence.value, info.max_time_ms});
  return table;
}

Result<std::unique_ptr<TabletStore>> TabletStore::open(Environment env, const std::string& manifest_dir,
                                                       const std::string& sst_dir, const std::string& snap_dir,
                                                       TabletStoreOptions options) {
  CAIRN_TRY_VOID(options.compaction.validate());
  CAIRN_TRY_VOID(options.io.validate());
  auto store = std::make_unique<StoreImpl>(std::move(env), options);
  CAIRN_TRY_VOID(store->start(manifest_dir, sst_dir, snap_dir));
  return std::unique_ptr<TabletStore>(std::move(store));
}

StoreImpl::StoreImpl(Environment env, TabletStoreOptions options)
    : env_(std::move(env)),
      options_(options),
      slabs_(std::make_shared<SlabPool>(options.memtable_bytes)),
      shared_(std::make_shared<StoreShared>()),
      cache_(options.block_cache_bytes),
      hot_rows_(options.hot_row_bytes),
      cached_reader_(env_.cached_reader != nullptr ? env_.cached_reader : &plain_cached_reader_),
      own_reader_(*env_.background, *env_.loop),
      io_tokens_(std::make_shared<IoTokens>(options.io)),
      measured_reader_(env_.reader != nullptr ? *env_.reader : own_reader_, *env_.clock, io_tokens_),
      scrubber_(*this, options.scrub_bytes_per_second) {
  for (const StrategyKind kind : kStrategyKinds) {
    strategies_[static_cast<size_t>(kind)] = make_strategy(kind, options.compaction);
  }
}

StoreImpl::~StoreImpl() {
  if (shared_->deleter) shared_->deleter->close();
}

Result<void> StoreImpl::start(const std::string& manifest_dir, const std::string& sst_dir,
                              const std::string& snap_dir) {
  FileSystem& fs = *env_.fs;
  shared_->fs = &fs;
  shared_->sst_dir = sst_dir;
  shared_->snap_dir = snap_dir;
  const PacedDeleterOptions pace{options_.delete_bytes_per_second, options_.compaction.space.reserve_bytes};
  shared_->deleter = std::make_shared<PacedDeleter>(
      PacedDeleter::Environment{&fs, env_.background, env_.loop, env_.clock, sst_dir}, pace);
  CAIRN_TRY_VOID(fs.create_dirs(sst_dir));
  CAIRN_TRY_VOID(fs.create_dirs(snap_dir));
  CAIRN_TRY(shared_->manifest, Manifest::open(fs, manifest_dir));
  const ManifestState state = shared_->manifest->state();
  shard_ = shard_of(manifest_dir);
  sample_rates();
  uint64_t last = std::max(shard_ << kShardShift, state.last_table);
  CAIRN_TRY(const auto names, fs.list(sst_dir));
  for (const auto& name : names) {
    const auto number = parse_sstable_name(name);
    if (number && *number >> kShardShift == shard_) last = std::max(last, *number);
  }
  shared_->last_number = last;
  for (const auto& [life, tablet] : state.tablets) {
    Tables tables;
    std::optional<Error> damage;
    for (const auto& [id, info] : tablet.tables) {
      auto table = open_table(fs, sstable_path(sst_dir, id), info);
      if (table && (*table)->info().entries != info.entries)
        table = corrupt((*table)->path(), "is not the table of the manifest");
      if (table) {
        tables.emplace_back(info, std::move(*table));
        continue;
      }
      // A damaged or missing file is the end of this tablet only.
      const ErrorCode code = table.error().code;
      if (code != ErrorCode::kCorruption && code != ErrorCode::kNotFound) return std::move(table).error();
      damage = std::move(table).error();
      damage->code = ErrorCode::kCorruption;
    }
    auto opened =
        std::make_shared<TabletImpl>(*this, tablet.range, life, make_version(std::move(tables)), tablet.flushed);
    if (damage) opened->report_corruption(*damage);
    tablets_[tablet.range] = std::move(opened);
  }
  return {};
}

std::vector<RangeId> StoreImpl::tablets() const {
  std::vector<RangeId> ids;
  for (const auto& [range, tablet] : tablets_) ids.push_back(range);
  return ids;
}

Tablet* StoreImpl::find(RangeId range) {
  const auto it = tablets_.find(range);
  return it == tablets_.end() ? nullptr : it->second.get();
}

Result<Tablet*> StoreImpl::create(RangeId range) {
  if (Tablet* there = find(range)) return there;
  const Error taken{ErrorCode::kUnavailable, "range " + std::to_string(range.value) + " is being made already"};
  if (reshaping_.contains(range)) return taken;
  TabletEdit edit;
  edit.life = shared_->manifest->new_life();
  edit.created = range;
  CAIRN_TRY(const bool fits, shared_->manifest->commit({edit}));
  if (!fits) return taken;  // by an installation that was not reported yet
  auto tablet = std::make_shared<TabletImpl>(*this, range, edit.life, std::make_shared<Version>(), AppliedPosition{});
  tablets_[range] = tablet;
  return tablet.get();
}

Result<void> StoreImpl::drop(RangeId range) {
  if (reshaping_.contains(range)) {
    return Error{ErrorCode::kUnavailable, "range " + std::to_string(range.value) + " is being reshaped"};
  }
  for (const auto& job : installs_) {
    if (job->range() == range) job->cancel();
  }
  // An installation may have put another tablet there that this store does not know yet.
  if (const auto edits = shared_->manifest->drops_of(range); !edits.empty()) {
    CAIRN_TRY(const bool fits, shared_->manifest->commit(edits));
    CAIRN_ASSERT_MSG(fits, "nobody else replaces the tablet of a range that is being dropped");
  }
  const auto it = tablets_.find(range);
  if (it == tablets_.end()) return {};
  count_dropped(*it->second);
  it->second->retire();
  tablets_.erase(it);
  return {};
}

void StoreImpl::count_dropped(const TabletImpl& tablet) {
  Amplification counts = tablet.stats().amplification;
  counts.total_bytes = counts.live_bytes = 0;
  dropped_.add(counts);
}

void StoreImpl::install(RangeId range, const std::string& dir, const std::string& manifest,
                        const AppliedPosition& position, std::move_only_function<void(Result<void>)> done) {
  if (reshaping_.contains(range)) {
    const Error busy{ErrorCode::kUnavailable, "range " + std::to_string(range.value) + " is being reshaped"};
    return answer_later(*env_.loop, std::move(done), busy);
  }
  auto job = std::make_shared<InstallJob>(shared_, range, dir, manifest, position);
  auto callback = std::make_shared<std::move_only_function<void(Result<void>)>>(std::move(done));
  installs_.push_back(job);
  env_.background->submit(JobPriority::kHigh, [job, callback, loop = env_.loop, weak = std::weak_ptr(self_)] {
    if (job->step()) return true;
    loop->post([job, callback, weak] {
      const auto self = weak.lock();
      if (!self) return;
      std::erase((*self)->installs_, job);
      (*callback)((*self)->installed(*job));
    });
    return false;
  });
}

Result<void> StoreImpl::install_now(RangeId range, const std::string& dir, const std::string& manifest,
                                    const AppliedPosition& position) {
  InstallJob job(shared_, range, dir, manifest, position);
  while (job.step()) {
  }
  return installed(job);
}

Result<void> StoreImpl::condemn(RangeId range, const AppliedPosition& position, const Error& damage) {
  CAIRN_TRY_VOID(create(range));
  tablets_.at(range)->condemn(position, damage);
  return {};
}

// The manifest knows whether the new tablet is the one that the range has by now.
Result<void> StoreImpl::installed(InstallJob& job) {
  if (!job.result()) return job.result();
  if (!shared_->manifest->has(job.life())) {
    job.discard();
    return Error{ErrorCode::kUnavailable, "the range was dropped or replaced meanwhile"};
  }
  auto& tablet = tablets_[job.range()];
  auto version = make_version(std::move(job.installed()));
  if (tablet) {
    tablet->replace(job.life(), std::move(version), job.position());
  } else {
    tablet = std::make_shared<TabletImpl>(*this, job.range(), job.life(), std::move(version), job.position());
  }
  return {};
}

Result<void> StoreImpl::collect_garbage() {
  const ManifestState state = shared_->manifest->state();
  std::vector<uint64_t> live;
  for (const auto& [life, tablet] : state.tablets) {
    for (const auto& [id, info] : tablet.tables) live.push_back(id);
  }
  std::ranges::sort(live);
  CAIRN_TRY(const auto names, env_.fs->list(shared_->sst_dir));
  const uint64_t started_below = shared_->last_number;
  for (const auto& name : names) {
    // Files of other shards are theirs to judge.
    const auto number = parse_sstable_name(name);
    if (!number || *number >> kShardShift != shard_ || *number > started_below) continue;
    if (!std::ranges::binary_search(live, *number)) shared_->deleter->add(join_path(shared_->sst_dir, name));
  }
  for (const auto& [range, tablet] : tablets_) tablet->maybe_compact();
  return {};
}

// Above the budget the largest memtable is written out; small ones too, but not while others wait for that already.
void StoreImpl::memtable_changed(int64_t delta, int64_t sealed) {
  memtable_bytes_ += static_cast<uint64_t>(delta);
  if (sealed > 0 && sealed_bytes_ == 0) flush_begun_ = env_.clock->now();
  sealed_bytes_ += static_cast<uint64_t>(sealed);
  if (slabs_->lacks() && !touching_slabs_) touch_slabs_ahead();
  if (sealing_posted_ || memtable_bytes_ <= options_.memtable_budget_bytes) return;
  const bool waiting = sealed_bytes_ > 0;
  if (delta <= 0 && waiting) return;
  TabletImpl* largest = nullptr;
  for (const auto& [range, tablet] : tablets_) {
    if (tablet->stalled()) continue;  // nothing of it would be written
    if (largest == nullptr || tablet->mutable_bytes() > largest->mutable_bytes()) largest = tablet.get();
  }
  if (largest == nullptr || largest->mutable_bytes() == 0) return;
  if (waiting && largest->mutable_bytes() < std::min(kSealAtLeast, options_.memtable_bytes)) return;
  sealing_posted_ = true;  // not from inside apply()
  env_.loop->post([weak = std::weak_ptr(self_), range = largest->range()] {
    const auto self = weak.lock();
    if (!self) return;
    (*self)->sealing_posted_ = false;
    if ((*self)->memtable_bytes_ <= (*self)->options_.memtable_budget_bytes) return;
    if (Tablet* tablet = (*self)->find(range)) tablet->flush();
  });
}

void StoreImpl::memtable_flushed(uint64_t bytes) {
  const Instant now = env_.clock->now();
  flush_rate_.flushed(bytes, now - flush_begun_);
  flush_begun_ = now;
}

WritePressure StoreImpl::write_pressure() const {
  WritePressure pressure;
  pressure.limit_bytes = memory_limit();
  pressure.used_bytes = memtable_bytes_;
  pressure.sealed_bytes = sealed_bytes_;
  if (sealed_bytes_ == 0) return pressure;
  pressure.flushing = env_.clock->now() - flush_begun_;
  pressure.flush_rate = flush_rate_.bytes_per_second();
  return pressure;
}

void StoreImpl::touch_slabs_ahead() {
  touching_slabs_ = true;
  env_.background->submit(JobPriority::kHigh, [slabs = slabs_, loop = env_.loop, weak = std::weak_ptr(self_)] {
    if (slabs->lacks()) slabs->touch_one();
    if (slabs->lacks()) return true;
    loop->post([weak] {
      if (const auto self = weak.lock()) (*self)->touching_slabs_ = false;
    });
    return false;
  });
}

// With rests: steps one after another would be a turn of the loop as long as all of them.
void StoreImpl::tend_cache() {
  constexpr Duration kRest = 100 * kMicrosecond;
  env_.loop->run_after(kRest, [weak = std::weak_ptr(self_)] {
    const auto self = weak.lock();
    if (self && (*self)->cache_care_.step()) (*self)->tend_cache();
  });
}

void StoreImpl::set_strategy(StrategyKind kind) {
  options_.strategy = kind;
  for (const auto& [range, tablet] : tablets_) tablet->set_strategy(kind);
}

void StoreImpl::set_compression(Compression compression) {
  options_.compression = compression;
  for (const auto& [range, tablet] : tablets_) tablet->set_compression(compression);
}

Amplification StoreImpl::amplification() const {
  Amplification all = dropped_;
  for (const auto& [range, tablet] : tablets_) all.add(tablet->stats().amplification);
  return all;
}

void StoreImpl::submit_paced(PacedJob::Slice slice) {
  PacedJob::Environment env{env_.background, env_.loop, env_.clock, io_tokens_, self_, [this](Duration wait) {
                              metrics_.io_waits.add_owned();
                              metrics_.io_wait_ns.add_owned(wait);
                            }};
  std::make_shared<PacedJob>(std::move(env), std::move(slice))->submit();
}

void StoreImpl::sample_rates() {
  const TabletStoreMetrics& m = metrics_;
  const uint64_t out = m.bytes_compacted_out.get();
  rates_.sample(env_.clock->now(), {.user_bytes = m.user_bytes.get(),
                                    .written_bytes = m.bytes_flushed.get() + out,
                                    .compaction_bytes = m.bytes_compacted_in.get() + out,
                                    .compaction_ns = m.compaction_ns.get()});
}

StoreGauges StoreImpl::gauges() {
  sample_rates();
  StoreGauges gauges;
  for (const auto& [range, tablet] : tablets_) gauges.tree.add(tablet->shape());
  gauges.temp_bytes = shared_->temp_bytes->load(std::memory_order_relaxed);
  const IoTokens::State io = io_tokens_->state(env_.clock->now());
  gauges.io_rate = io.rate;
  gauges.io_limited = io.limits;
  gauges.cache_packed_bytes = cache_.packed_bytes();
  gauges.cache_unpacked_bytes = cache_.unpacked_bytes();
  gauges.recent_write_amplification = rates_.write_amplification();
  gauges.compaction_bytes_per_second = rates_.compaction_bytes_per_second();
  return gauges;
}

void StoreImpl::release_in_background(std::vector<std::shared_ptr<const void>> owned) {
  if (owned.empty()) return;
  env_.background->submit(JobPriority::kLow, [owned = std::move(owned)]() mutable {
    owned.clear();
    return false;
  });
}

void StoreImpl::fatal(const Error& error) {
  if (failed_) return;
  failed_ = true;
  if (env_.on_fatal) env_.on_fatal(error);
}

Result<std::string> dump_sstable(FileSystem& fs, const std::string& path, bool rows) {
  CAIRN_TRY(const auto table, Sstable::open(fs, path, 0));
  const TableProperties& p = table->properties();
  std::string out = "sstable " + std::to_string(p.info.id) + ": " + std::to_string(p.info.bytes) + " bytes, " +
                    std::to_string(p.blocks) + " blocks, " + std::to_string(p.info.entries) + " rows, " +
                    std::to_string(p.point_tombstones) + " tombstones, " +
                    std::to_string(p.info.tombstones - p.point_tombstones) + " prefix tombstones\n" + "sequences " +
                    std::to_string(p.info.min_sequence.value) + " to " + std::to_string(p.info.max_sequence.value) +
                    ", times " + std::to_string(p.info.min_time_ms) + " to " + std::to_string(p.info.max_time_ms) +
                    "\n";
  const auto printable = [](std::string_view bytes) {
    static constexpr char kHex[] = "0123456789abcdef";
    std::string text;
    for (const char c : bytes) {
      if (c >= ' ' && c <= '~' && c != '\\') {
        text.push_back(c);
      } else {
        text += {'\\', 'x', kHex[static_cast<uint8_t>(c) >> 4], kHex[c & 15]};
      }
    }
    return text;
  };
  out += "keys \"" + printable(p.info.smallest) + "\" to \"" + printable(p.info.largest) + "\"\n";
  for (const auto& t : table->prefixes().list()) {
    out += "delete prefix \"" + printable(t.prefix) + "\" sequence " + std::to_string(t.sequence) + "\n";
  }
  std::string key;
  for (uint32_t b = 0; b < table->blocks(); ++b) {
    const auto block = table->read_block(b);
    if (!block) {
      out += "damage: " + block.error().message + "\n";
      continue;
    }
    for (uint32_t i = 0; rows && i < (*block)->rows(); ++i) {
      const Row row = (*block)->row(i);
      (*block)->key(i, key);
      out += (row.kind == OpKind::kPut ? "put \"" : "delete \"") + printable(key) +
             (row.sequence == kNoSequence ? "\"" : "\" sequence " + std::to_string(row.sequence)) + " time " +
             std::to_string(row.time_ms) + " value \"" + printable(row.value) + "\"\n";
    }
  }
  return out;
}

}  // namespace cairn::storage
