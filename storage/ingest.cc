#include "storage/ingest.h"

#include <algorithm>
#include <utility>

#include "storage/tablet_impl.h"

namespace cairn::storage {
namespace {
constexpr uint64_t kSliceBytes = 256u << 10;

Error refused(const std::string& path, std::string_view why) {
  return {ErrorCode::kInvalidArgument, path + " " + std::string(why)};
}
}  // namespace

IngestJob::~IngestJob() {
  if (!committed() && !undecided()) retire_all(tables_, nullptr);
}

void IngestJob::discard() {
  if (committed()) retire_all(tables_, shared_->deleter);
}

Result<bool> IngestJob::work() {
  if (next_ < paths_.size()) {
    if (!outside_) {
      CAIRN_TRY_VOID(open_next());
      return true;
    }
    CAIRN_TRY(const bool more, verify());
    if (more) return true;
    CAIRN_TRY_VOID(link());
    ++next_;
    return true;
  }
  CAIRN_TRY_VOID(commit());
  return false;
}

Result<void> IngestJob::open_next() {
  const std::string& path = paths_[next_];
  CAIRN_TRY(outside_, Sstable::open(*shared_->fs, path, 0));
  if (!outside_->prefixes().empty()) return refused(path, "has deleted prefixes");
  if (outside_->blocks() == 0) return refused(path, "has no rows");
  next_block_ = 0;
  rows_ = 0;
  ahead_ = {};
  return {};
}

Result<void> IngestJob::check_order(const Block& block) {
  const std::string& path = paths_[next_];
  const SstableInfo& info = outside_->info();
  std::string key;
  for (uint32_t i = 0; i < block.rows(); ++i, ++rows_) {
    block.key(i, key);
    if (rows_ > 0 && key <= last_key_) return corrupt(path, "has rows out of order");
    if (key < info.smallest || key > info.largest) return corrupt(path, "has rows that its properties do not know");
    last_key_.swap(key);
  }
  return {};
}

// Every checksum, the order of the keys, the number of rows: damage must not come in.
Result<bool> IngestJob::verify() {
  for (uint64_t bytes = 0; next_block_ < outside_->blocks() && bytes < kSliceBytes; ++next_block_) {
    CAIRN_TRY(const auto block, outside_->read_block(next_block_, false, ahead_));
    CAIRN_TRY_VOID(check_order(*block));
    bytes += block->bytes();
  }
  if (next_block_ < outside_->blocks()) return true;
  if (rows_ != outside_->info().entries) return corrupt(paths_[next_], "lacks rows");
  return false;
}

Result<void> IngestJob::link() {
  FileSystem& fs = *shared_->fs;
  {
    CAIRN_TRY(const auto file, fs.open(paths_[next_], OpenMode::kReadWrite));
    CAIRN_TRY_VOID(file->sync());  // whoever built it may have been another process
  }
  SstableInfo info = outside_->info();
  raw_bytes_ += outside_->properties().raw_bytes;
  outside_.reset();
  info.id = shared_->new_number();
  info.run = run_;
  info.level = 0;
  info.min_sequence.value = info.max_sequence.value = position_.index.value << kOrdinalBits;
  info.min_time_ms = info.max_time_ms = position_.time_ms;
  info.ingested = true;
  const std::string path = sstable_path(shared_->sst_dir, info.id);
  CAIRN_TRY_VOID(fs.link(paths_[next_], path));
  auto opened = open_table(fs, path, info);
  if (!opened) {
    (void)fs.remove(path);  // garbage collection finds it otherwise
    return std::move(opened).error();
  }
  tables_.emplace_back(std::move(info), std::move(*opened));
  return {};
}

Result<void> IngestJob::commit() {
  std::ranges::sort(tables_, {}, [](const auto& entry) -> const std::string& { return entry.first.smallest; });
  for (size_t i = 1; i < tables_.size(); ++i) {
    if (tables_[i].first.smallest <= tables_[i - 1].first.largest) {
      return Error{ErrorCode::kInvalidArgument, "files that are taken in together overlap each other"};
    }
  }
  CAIRN_TRY_VOID(shared_->fs->sync_dir(shared_->sst_dir));
  TabletEdit edit;
  edit.life = life_;
  edit.flushed = position_;
  for (const auto& [info, table] : tables_) edit.add(info);
  CAIRN_TRY(const bool fits, commit_edits({edit}));
  if (!fits) return Error{ErrorCode::kUnavailable, "the tablet was dropped"};
  return {};
}

void TabletImpl::ingest(const AppliedPosition& position, std::vector<std::string> paths,
                        std::move_only_function<void(Result<void>)> done) {
  Executor& loop = *store_.env().loop;
  if (const auto error = unfreezable()) return answer_later(loop, std::move(done), *error);
  if (position.index <= applied_.index) return answer_later(loop, std::move(done), {});  // replay
  auto job = std::make_shared<IngestJob>(store_.shared(), life_, position, std::move(paths));
  freeze([weak = weak_from_this(), job = std::move(job), done = std::move(done)](Result<void> quiet) mutable {
    const auto self = weak.lock();
    if (!self || self->dropped_ || self->life_ != job->life()) {
      return done(Error{ErrorCode::kUnavailable, "the tablet was dropped"});
    }
    if (quiet) return self->start_ingest(std::move(job), std::move(done));
    self->thaw();
    done(std::move(quiet));
  });
}

// All that came before lies in SSTables. An SSTable never holds what the local log may yet lose.
void TabletImpl::start_ingest(std::shared_ptr<IngestJob> job, std::move_only_function<void(Result<void>)> done) {
  auto begin = [weak = weak_from_this(), loop = store_.env().loop, background = store_.env().background, job,
                store = store_.alive(),
                done = std::make_shared<std::move_only_function<void(Result<void>)>>(std::move(done))] {
    const auto self = weak.lock();
    if (!self || self->dropped_ || self->life_ != job->life()) {
      return (*done)(Error{ErrorCode::kUnavailable, "the tablet was dropped"});
    }
    job->start(self->next_run());
    background->submit(JobPriority::kHigh, [weak, loop, job, done, store] {
      if (store.expired()) return false;
      if (job->step()) return true;
      loop->post([weak, job, done, store] {
        if (store.expired()) return;
        if (const auto self = weak.lock()) return (*done)(self->ingested(*job));
        job->discard();
        (*done)(Error{ErrorCode::kUnavailable, "the tablet was dropped"});
      });
      return false;
    });
  };
  if (!store_.env().wait_log_durable) return begin();
  store_.env().wait_log_durable(range_, job->position().index, std::move(begin));
}

Result<void> TabletImpl::ingested(IngestJob& job) {
  const bool gone = dropped_ || life_ != job.life();
  if (!job.result()) {
    if (job.undecided()) store_.fatal(job.result().error());
    if (!gone) thaw();
    return job.result();
  }
  if (gone) {
    job.discard();
    return Error{ErrorCode::kUnavailable, "the tablet was dropped"};
  }
  amplification_.user_bytes += job.raw_bytes();
  store_.mutable_metrics().user_bytes.add_owned(job.raw_bytes());
  applied_ = flushed_ = job.position();
  mutable_ = new_memtable(mutable_->keeps_order());  // empty as before: by its id fetches know that they began earlier
  account();
  Tables tables = tables_of(*version_);
  for (auto& entry : job.tables()) tables.push_back(std::move(entry));
  set_version(make_version(std::move(tables)));
  thaw();
  serve_checkpoints();
  if (store_.env().on_flushed) store_.env().on_flushed(range_);  // last: the owner may drop the tablet
  return {};
}

}  // namespace cairn::storage
