// Checkpoints and their installation: hard links plus a manifest that describes them.
#include <algorithm>

#include "base/checksum.h"
#include "storage/file_hash.h"
#include "storage/install.h"
#include "storage/snapshot_check.h"
#include "storage/sstable/table_scrub.h"
#include "storage/tablet_impl.h"
#include "storage/version/edit.h"

namespace cairn::storage {
namespace {

constexpr uint64_t kMagic = 0x50414E534E524943ull;  // "CIRNSNAP"
constexpr uint32_t kVersion = 1;

// Checks every block of a table, in slices, then links and hashes it: damage must not travel.
class CheckpointJob {
 public:
  CheckpointJob(std::shared_ptr<StoreShared> shared, std::shared_ptr<const Version> version,
                const AppliedPosition& position)
      : shared_(std::move(shared)), version_(std::move(version)), all_(tables_of(*version_)) {
    checkpoint_.position = position;
  }
  bool step() {
    auto more = work();
    if (more && *more) return true;
    if (!more) {
      if (!checkpoint_.dir.empty()) (void)remove_tree(*shared_->fs, checkpoint_.dir);
      result_ = Result<Checkpoint>(std::move(more).error());
    }
    return false;
  }
  std::optional<Result<Checkpoint>> result_;

 private:
  Result<bool> work() {
    FileSystem& fs = *shared_->fs;
    if (checkpoint_.dir.empty()) {
      for (std::string dir;;) {
        dir = join_path(shared_->snap_dir, "out-" + std::to_string(shared_->new_number()));
        CAIRN_TRY(const bool taken, fs.exists(dir));
        if (taken) continue;
        CAIRN_TRY_VOID(fs.create_dirs(dir));
        checkpoint_.dir = dir;
        return true;
      }
    }
    if (tables_.size() < all_.size()) {
      const auto& [info, table] = all_[tables_.size()];
      if (!check_) check_ = std::make_unique<TableScrub>(fs, table);
      CAIRN_TRY(const bool more, check_->step());
      if (more) return true;
      check_.reset();
      SnapshotTable entry;
      entry.info = info;
      entry.file.name = table->path().substr(table->path().rfind('/') + 1);
      const std::string path = join_path(checkpoint_.dir, entry.file.name);
      CAIRN_TRY_VOID(fs.link(table->path(), path));
      CAIRN_TRY(const auto file, fs.open(path, OpenMode::kRead));
      CAIRN_TRY(entry.file.bytes, file->size());
      CAIRN_TRY(entry.file.hash, hash_file(*file));
      tables_.push_back(std::move(entry));
      return true;
    }
    CAIRN_TRY_VOID(fs.sync_dir(checkpoint_.dir));
    for (const auto& table : tables_) checkpoint_.files.push_back(table.file);
    checkpoint_.manifest = encode_snapshot_manifest(tables_);
    result_ = Result<Checkpoint>(std::move(checkpoint_));
    return false;
  }

  std::shared_ptr<StoreShared> shared_;
  std::shared_ptr<const Version> version_;
  Tables all_;
  std::vector<SnapshotTable> tables_;
  std::unique_ptr<TableScrub> check_;  // of the table that is next
  Checkpoint checkpoint_;
};

}  // namespace

std::string encode_snapshot_manifest(const std::vector<SnapshotTable>& tables) {
  std::string out;
  put_u64(out, kMagic);
  put_u32(out, kVersion);
  uint32_t features = 0;
  for (const SnapshotTable& table : tables) features |= features_of(table.info);
  put_u32(out, features);
  put_varint(out, tables.size());
  for (const auto& table : tables) {
    put_bytes(out, table.file.name);
    put_varint(out, table.file.bytes);
    put_u64(out, table.file.hash);
    put_info(out, table.info);
    if ((features & kFeatureBounded) != 0) {
      put_bytes(out, table.info.begin);
      put_bytes(out, table.info.end);
    }
    if ((features & kFeatureIngested) != 0) put_u8(out, table.info.ingested ? 1 : 0);
  }
  put_u32(out, crc32c(out));
  return out;
}

Result<std::vector<SnapshotTable>> decode_snapshot_manifest(std::string_view bytes) {
  const Error bad{ErrorCode::kCorruption, "malformed snapshot manifest"};
  if (bytes.size() < 4 ||
      get_fixed<uint32_t>(bytes.data() + bytes.size() - 4) != crc32c(bytes.substr(0, bytes.size() - 4))) {
    return bad;
  }
  Decoder in(bytes.substr(0, bytes.size() - 4));
  if (in.u64() != kMagic) return bad;
  const uint32_t version = in.u32();
  const uint32_t features = in.u32();
  if (version != kVersion || (features & ~kManifestFeaturesKnown) != 0) {
    return Error{ErrorCode::kUnsupported, "snapshot manifest of version " + std::to_string(version)};
  }
  std::vector<SnapshotTable> tables;
  for (uint64_t n = in.varint(); n > 0 && in.ok(); --n) {
    SnapshotTable& table = tables.emplace_back();
    table.file.name = in.bytes();
    table.file.bytes = in.varint();
    table.file.hash = in.u64();
    table.info = get_info(in);
    if ((features & kFeatureBounded) != 0) {
      table.info.begin = in.bytes();
      table.info.end = in.bytes();
    }
    if ((features & kFeatureIngested) != 0) table.info.ingested = in.u8() != 0;
    if (table.file.name.empty() || table.file.name.find('/') != std::string::npos || table.file.name[0] == '.')
      return bad;
  }
  if (!in.ok() || !in.at_end()) return bad;
  return tables;
}

void TabletImpl::checkpoint(std::move_only_function<void(Result<Checkpoint>)> done) {
  if (const auto error = unfit()) return answer_later(*store_.env().loop, std::move(done), *error);
  checkpoints_.push_back({applied_.index, std::move(done)});
  flush();
  serve_checkpoints();
}

void TabletImpl::serve_checkpoints() {
  while (!checkpoints_.empty() && checkpoints_.front().target <= flushed_.index) {
    auto job = std::make_shared<CheckpointJob>(store_.shared(), version_, flushed_);
    auto done =
        std::make_shared<std::move_only_function<void(Result<Checkpoint>)>>(std::move(checkpoints_.front().done));
    checkpoints_.erase(checkpoints_.begin());
    store_.env().background->submit(JobPriority::kLow, [job, done, loop = store_.env().loop, store = store_.alive(),
                                                        weak = weak_from_this(), life = life_] {
      if (job->step()) return true;
      loop->post([job, done, store, weak, life] {
        if (store.expired()) return;
        const auto self = weak.lock();
        if (!*job->result_ && self && self->life_ == life) self->report_corruption(job->result_->error());
        (*done)(std::move(*job->result_));
      });
      return false;
    });
  }
}

void TabletImpl::examine(const std::string& file) {
  const auto number = parse_sstable_name(file);
  auto table = number ? this->table(*number) : nullptr;
  if (!table) return;
  auto check = std::make_shared<TableScrub>(*store_.env().fs, std::move(table));
  store_.env().background->submit(JobPriority::kLow, [check, id = *number, loop = store_.env().loop,
                                                      store = store_.alive(), weak = weak_from_this(), life = life_] {
    if (store.expired()) return false;
    const auto more = check->step();
    if (more) return *more;
    loop->post([check, id, store, weak, life, error = more.error()] {
      const auto self = weak.lock();
      if (!store.expired() && self && self->life_ == life && self->table(id)) self->report_corruption(error);
    });
    return false;
  });
}

InstallJob::InstallJob(std::shared_ptr<StoreShared> shared, RangeId range, std::string dir, std::string manifest,
                       const AppliedPosition& position)
    : EditJob(std::move(shared)),
      range_(range),
      dir_(std::move(dir)),
      manifest_(std::move(manifest)),
      position_(position) {}

InstallJob::~InstallJob() {
  if (!committed() && !undecided()) retire_all(installed_, shared_->deleter);
}

void InstallJob::cancel() {
  const std::lock_guard lock(commit_mutex_);
  cancelled_ = true;
}

void InstallJob::discard() {
  if (committed()) retire_all(installed_, shared_->deleter);
}

Result<bool> InstallJob::work() {
  auto more = advance();
  if (!more) return with_context(std::move(more).error(), "snapshot " + dir_);
  return more;
}

Result<bool> InstallJob::advance() {
  if (!tables_) {
    CAIRN_TRY(auto tables, decode_snapshot_manifest(manifest_));
    tables_ = std::move(tables);
    return true;
  }
  if (next_ < tables_->size()) {
    CAIRN_TRY_VOID(verify_and_link((*tables_)[next_]));
    ++next_;
    return true;
  }
  CAIRN_TRY_VOID(commit());
  return false;
}

Result<void> InstallJob::verify_and_link(const SnapshotTable& table) {
  FileSystem& fs = *shared_->fs;
  const std::string path = join_path(dir_, table.file.name);
  // Though it was checked when it came: that may be a start ago.
  CAIRN_TRY_VOID(check_snapshot_file(fs, dir_, table.file));
  {
    CAIRN_TRY(const auto file, fs.open(path, OpenMode::kReadWrite));
    CAIRN_TRY_VOID(file->sync());
  }
  SstableInfo info = table.info;
  info.id = shared_->new_number();
  const std::string target = sstable_path(shared_->sst_dir, info.id);
  CAIRN_TRY_VOID(fs.link(path, target));
  auto opened = open_table(fs, target, info);
  if (!opened) {
    (void)fs.remove(target);
    return std::move(opened).error();
  }
  installed_.emplace_back(std::move(info), std::move(*opened));
  return {};
}

// The old tablet goes and the new one comes in one record.
Result<void> InstallJob::commit() {
  CAIRN_TRY_VOID(shared_->fs->sync_dir(shared_->sst_dir));
  const std::lock_guard lock(commit_mutex_);
  if (cancelled_) return Error{ErrorCode::kUnavailable, "the range was dropped meanwhile"};
  while (true) {
    std::vector<TabletEdit> edits = shared_->manifest->drops_of(range_);
    TabletEdit& create = edits.emplace_back();
    create.life = life_ = shared_->manifest->new_life();
    create.created = range_;
    create.flushed = position_;
    for (auto& [info, table] : installed_) {
      info.trimmed = info.smallest > table->info().smallest;
      create.add(info);
    }
    CAIRN_TRY(const bool fits, commit_edits(edits));
    if (fits) return {};
  }
}

}  // namespace cairn::storage
