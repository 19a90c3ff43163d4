#include "storage/reshape.h"

#include <algorithm>
#include <utility>

#include "storage/install.h"
#include "storage/tablet_impl.h"
#include "storage/version/cursors.h"

namespace cairn::storage {
namespace {

// Which sides of a key the rows and the deleted prefixes of a table lie on.
struct Sides {
  bool left_rows = false, right_rows = false;
  std::optional<std::string> left_prefix;  // the first; where what it says about the table begins
  bool right_prefix = false;
  bool reaches_over = false;  // a deleted prefix has keys on both, if not the table's
  bool left() const { return left_rows || left_prefix; }
  bool right() const { return right_rows || right_prefix; }
};

// `before`: the last row of the run's table before it. A deleted prefix up to there is another table's by now: a
// compaction that goes through the run has taken it, and left this table as it was.
Sides sides_of(const SstableInfo& info, const Sstable& table, const std::string& key, std::string_view before = {}) {
  Sides sides;
  sides.left_rows = info.smallest < key;
  sides.right_rows = info.largest >= key;
  for (const PrefixTombstone& tombstone : table.prefixes().list()) {
    if (!concerns(info, tombstone.prefix) || (!before.empty() && tombstone.prefix <= before)) continue;
    const std::string behind = behind_prefix(tombstone.prefix);
    const bool right = behind.empty() || behind > key;
    if (right && (info.end.empty() || info.end > key)) sides.right_prefix = true;
    if (right && tombstone.prefix < key) sides.reaches_over = true;
    const std::string& begin = std::max(tombstone.prefix, info.trimmed ? info.smallest : info.begin);
    if (begin < key && !sides.left_prefix) sides.left_prefix = begin;
  }
  return sides;
}

AppliedPosition newer(const AppliedPosition& a, const AppliedPosition& b) {
  AppliedPosition both = a.index < b.index ? b : a;
  both.time_ms = std::max(a.time_ms, b.time_ms);
  both.version_counter = std::max(a.version_counter, b.version_counter);
  return both;
}

}  // namespace

ReshapeJob::ReshapeJob(std::shared_ptr<StoreShared> shared, std::string key, std::vector<RangeId> children)
    : EditJob(std::move(shared)), key_(std::move(key)) {
  for (const RangeId range : children) children_.emplace_back().range = range;
}

ReshapeJob::~ReshapeJob() {
  if (committed() || undecided()) return;
  for (const auto& table : linked_) table->retire(nullptr);
}

void ReshapeJob::start(std::vector<Parent> parents) {
  parents_ = std::move(parents);
  AppliedPosition position = parents_.front().flushed;
  for (size_t i = 0; i < parents_.size(); ++i) {
    position = newer(position, parents_[i].flushed);
    for (auto& entry : tables_of(*parents_[i].version)) {
      todo_.push_back(std::move(entry));
      below_.push_back(i == 0);
    }
  }
  for (Child& child : children_) child.position = position;
}

Result<bool> ReshapeJob::work() {
  if (next_ < todo_.size()) {
    const auto& [info, table] = todo_[next_];
    if (children_.size() == 1) {
      CAIRN_TRY_VOID(place(info, table, below_[next_]));
    } else {
      CAIRN_TRY_VOID(divide(info, table));
    }
    ++next_;
    return true;
  }
  if (!linked_.empty()) CAIRN_TRY_VOID(shared_->fs->sync_dir(shared_->sst_dir));
  CAIRN_TRY_VOID(commit());
  return false;
}

// Runs of the same number become one: all tables of the one tablet lie below those of the other.
Result<void> ReshapeJob::place(const SstableInfo& info, const std::shared_ptr<Sstable>& table, bool below) {
  const Sides sides = sides_of(info, *table, key_);
  if (sides.reaches_over || (below ? sides.right_prefix : sides.left_prefix.has_value())) {
    return Error{ErrorCode::kUnavailable, table->path() + " has a deleted prefix on the other side of the key"};
  }
  if (below ? sides.right_rows : sides.left_rows) {
    return Error{ErrorCode::kInvalidArgument, table->path() + " has rows on the other side of the key"};
  }
  children_[0].tables.emplace_back(info, table);
  return {};
}

Result<void> ReshapeJob::divide(const SstableInfo& info, const std::shared_ptr<Sstable>& table) {
  const bool follows = next_ > 0 && todo_[next_ - 1].first.run == info.run;
  const Sides sides =
      sides_of(info, *table, key_, follows ? std::string_view(todo_[next_ - 1].first.largest) : std::string_view());
  if (!sides.right()) {
    children_[0].tables.emplace_back(info, table);
    return {};
  }
  if (!sides.left()) {
    children_[1].tables.emplace_back(info, table);
    return {};
  }
  CAIRN_TRY_VOID(add_left(info, table, sides.left_prefix));
  return add_right(info, *table);
}

// Ends with the last row below the key: tables of a run are told apart by rows.
Result<void> ReshapeJob::add_left(const SstableInfo& info, const std::shared_ptr<Sstable>& table,
                                  const std::optional<std::string>& prefix) {
  SstableInfo left = info;
  left.end = key_;
  left.shared = true;
  Run run;
  run.infos.push_back(info);
  run.tables.push_back(table);
  DiskSource source(0);
  const auto cursor = run_cursor(run, source);
  const CursorState state = cursor->seek_back(key_);
  if (state == CursorState::kFailed) return Error(cursor->error());
  if (state == CursorState::kRow) {
    left.largest = cursor->row().key;
  } else {
    if (!prefix) return {};
    left.smallest = left.largest = *prefix;
  }
  left.trimmed = left.smallest > table->info().smallest;
  children_[0].tables.emplace_back(std::move(left), table);
  return {};
}

// Under a name of its own: so either may go without the other, and the file goes with both.
Result<void> ReshapeJob::add_right(const SstableInfo& info, const Sstable& table) {
  SstableInfo right = info;
  right.id = shared_->new_number();
  right.begin = key_;
  right.shared = true;
  right.smallest = std::max(right.smallest, key_);
  right.largest = std::max(right.largest, right.smallest);  // all that is left are deleted prefixes
  right.trimmed = right.smallest > table.info().smallest;
  const std::string path = sstable_path(shared_->sst_dir, right.id);
  CAIRN_TRY_VOID(shared_->fs->link(table.path(), path));
  auto opened = open_table(*shared_->fs, path, right);
  if (!opened) {
    (void)shared_->fs->remove(path);  // garbage collection finds it otherwise
    return std::move(opened).error();
  }
  linked_.push_back(*opened);
  children_[1].tables.emplace_back(std::move(right), std::move(*opened));
  return {};
}

Result<void> ReshapeJob::commit() {
  std::vector<TabletEdit> edits;
  for (const Parent& parent : parents_) {
    TabletEdit& drop = edits.emplace_back();
    drop.life = parent.life;
    drop.dropped = true;
  }
  for (Child& child : children_) {
    TabletEdit& create = edits.emplace_back();
    create.life = child.life = shared_->manifest->new_life();
    create.created = child.range;
    create.flushed = child.position;
    for (const auto& [info, table] : child.tables) create.add(info);
  }
  CAIRN_TRY(const bool fits, commit_edits(edits));
  if (!fits) return Error{ErrorCode::kUnavailable, "a tablet was dropped meanwhile"};
  return {};
}

std::optional<Error> StoreImpl::unfit_to_reshape(std::initializer_list<RangeId> parents,
                                                 std::initializer_list<RangeId> children) const {
  for (const auto& ranges : {parents, children}) {
    for (const RangeId range : ranges) {
      const auto named = "range " + std::to_string(range.value);
      if (reshaping_.contains(range)) return Error{ErrorCode::kUnavailable, named + " is being reshaped"};
      if (std::ranges::any_of(installs_, [&](const auto& job) { return job->range() == range; })) {
        return Error{ErrorCode::kUnavailable, "a snapshot is being installed in " + named};
      }
    }
  }
  for (const RangeId range : parents) {
    if (!tablets_.contains(range))
      return Error{ErrorCode::kNotFound, "no tablet of range " + std::to_string(range.value)};
  }
  for (const RangeId range : children) {
    if (tablets_.contains(range) && std::ranges::find(parents, range) == parents.end()) {
      return Error{ErrorCode::kAlreadyExists, "range " + std::to_string(range.value) + " exists"};
    }
  }
  return std::nullopt;
}

// Until `done` is called nobody else has a say in these ranges.
std::move_only_function<void(Result<void>)> StoreImpl::reserve(std::initializer_list<RangeId> parents,
                                                               std::initializer_list<RangeId> children,
                                                               std::move_only_function<void(Result<void>)> done) {
  std::set<RangeId> ranges(parents);
  ranges.insert(children);
  reshaping_.insert(ranges.begin(), ranges.end());
  return [store = alive(), ranges = std::move(ranges), done = std::move(done)](Result<void> result) mutable {
    if (const auto self = store.lock()) {
      for (const RangeId range : ranges) (*self)->reshaping_.erase(range);
    }
    done(std::move(result));
  };
}

void StoreImpl::split(RangeId parent, std::string_view key, RangeId left, RangeId right,
                      std::move_only_function<void(Result<void>)> done) {
  auto refusal = unfit_to_reshape({parent}, {left, right});
  if (key.empty() || left == right) refusal = Error{ErrorCode::kInvalidArgument, "a split makes two tablets"};
  if (refusal) return answer_later(*env_.loop, std::move(done), *refusal);
  auto job = std::make_shared<ReshapeJob>(shared_, std::string(key), std::vector{left, right});
  reshape(std::move(job), {tablets_.at(parent)}, 0, reserve({parent}, {left, right}, std::move(done)));
}

void StoreImpl::merge(RangeId left, RangeId right, std::string_view key, RangeId merged,
                      std::move_only_function<void(Result<void>)> done) {
  auto refusal = unfit_to_reshape({left, right}, {merged});
  if (key.empty() || left == right) refusal = Error{ErrorCode::kInvalidArgument, "a merge takes two tablets"};
  if (refusal) return answer_later(*env_.loop, std::move(done), *refusal);
  auto job = std::make_shared<ReshapeJob>(shared_, std::string(key), std::vector{merged});
  reshape(std::move(job), {tablets_.at(left), tablets_.at(right)}, 0,
          reserve({left, right}, {merged}, std::move(done)));
}

// Freezes one parent after the other; then the job runs. `quiet`: so many are.
void StoreImpl::reshape(std::shared_ptr<ReshapeJob> job, std::vector<std::shared_ptr<TabletImpl>> parents, size_t quiet,
                        std::move_only_function<void(Result<void>)> done) {
  if (quiet < parents.size()) {
    TabletImpl& next = *parents[quiet];
    if (const auto error = next.unfreezable()) {
      for (size_t i = 0; i < quiet; ++i) parents[i]->thaw();
      return answer_later(*env_.loop, std::move(done), *error);
    }
    next.freeze([this, store = alive(), job = std::move(job), parents, quiet,
                 done = std::move(done)](Result<void> result) mutable {
      if (store.expired()) return;
      if (result) return reshape(std::move(job), std::move(parents), quiet + 1, std::move(done));
      for (size_t i = 0; i <= quiet; ++i) parents[i]->thaw();  // those behind may be frozen by others
      done(std::move(result));
    });
    return;
  }
  std::vector<ReshapeJob::Parent> from;
  for (const auto& parent : parents) from.push_back({parent->life(), parent->version(), parent->flushed()});
  job->start(std::move(from));
  auto callback = std::make_shared<std::move_only_function<void(Result<void>)>>(std::move(done));
  env_.background->submit(JobPriority::kHigh, [job, parents, callback, loop = env_.loop, alive = alive()] {
    if (alive.expired()) return false;
    if (job->step()) return true;
    loop->post([job, parents, callback, alive] {
      const auto self = alive.lock();
      if (self) (*callback)((*self)->reshaped(*job, parents));
    });
    return false;
  });
}

Result<void> StoreImpl::reshaped(ReshapeJob& job, const std::vector<std::shared_ptr<TabletImpl>>& parents) {
  if (!job.result()) {
    const Error error = job.result().error();
    if (job.undecided()) fatal(error);
    for (const auto& parent : parents) {
      if (error.code == ErrorCode::kCorruption && parents.size() == 1) parent->report_corruption(error);
      parent->thaw();
    }
    return error;
  }
  const StrategyKind strategy = parents.front()->strategy_kind();
  const Compression compression = parents.front()->compression();
  for (const auto& parent : parents) {
    count_dropped(*parent);
    parent->surrender();
    const auto at = tablets_.find(parent->range());
    if (at != tablets_.end() && at->second == parent) tablets_.erase(at);
  }
  for (ReshapeJob::Child& child : job.children()) {
    auto tablet = std::make_shared<TabletImpl>(*this, child.range, child.life, make_version(std::move(child.tables)),
                                               child.position);
    tablets_[child.range] = tablet;
    tablet->set_compression(compression);
    tablet->set_strategy(strategy);  // looks for what there is to compact, too
  }
  return {};
}

}  // namespace cairn::storage
