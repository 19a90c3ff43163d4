// Evaluation on the leader: one command after another against overlay and tablet, never waiting for a disk.
#include <algorithm>

#include "base/assert.h"
#include "base/codec.h"
#include "base/plant.h"
#include "server/commands/row_format.h"
#include "server/commands/transaction.h"
#include "server/replica/replica.h"

namespace cairn::server {
namespace {
constexpr std::string_view kMisconf =
    "MISCONF the disk of the node that leads this range is full: writes are refused until there is space";
constexpr std::string_view kCannotWrite =
    "MISCONF rows of this range cannot be written to disk: writes are refused until they can";
constexpr std::string_view kBusy = "BUSY too many commands wait for the disk";

bool is_due(std::string_view meta_row, uint64_t now_ms) {
  MetaRow row;
  return decode_meta_row(meta_row, row) && row.expire_ms != 0 && row.expire_ms <= now_ms;
}
}  // namespace

void Replica::begin_turn() {
  host_.touch(*this);
  if (turn_ms_ == 0) turn_ms_ = std::max(host_.wall_ms(), newest_ms_);
  if (!counter_loaded_) {
    // The own-term no-op is applied, so the tablet holds every earlier counter.
    counter_loaded_ = true;
    version_counter_ = tablet_.applied().version_counter;
    remove_open_chunks();
  }
}

void Replica::begin_batch() {
  if (batch_.bytes().empty()) put_u64(batch_.mutable_bytes(), 0);  // header, filled when it is proposed
}

bool Replica::execute(const CommandCall& call, RespWriter& reply) {
  begin_turn();
  if (call.spec == &kCountKeysCommand) {
    count_keys(call);
    return false;
  }
  if (call.spec == &kRangeStatusCommand) {
    const size_t start = reply.size();
    reply.bulk(status().encode());
    seen_batch_ = 0;
    return settle(call, reply, start, false, next_order_++);
  }
  if (call.spec == &kReadIndexCommand) {
    const size_t start = reply.size();
    reply.bulk(ReadIndex{core_->commit_index(), turn_ms_}.encode());
    host_.metrics().read_indexes.add_owned();
    seen_batch_ = 0;
    return settle(call, reply, start, false, next_order_++);
  }
  if ((call.spec->flags & kDenyOom) != 0 && !can_store()) {
    reply.error(no_room_error());
    return true;
  }
  const bool hold_back = must_hold(call);
  if (hold_back || (!waiting_.empty() && conflicts(call))) {
    Waiting* waiting = enqueue(call);
    if (waiting == nullptr) {
      reply.error(kBusy);
      return true;
    }
    if (hold_back) {
      hold(*waiting);
      host_.metrics().writes_held.add_owned();
    }
    return false;
  }
  return evaluate(call, reply, nullptr);
}

bool Replica::read_at_once(const CommandCall& call, RespWriter& reply) {
  begin_turn();
  const size_t reply_start = reply.size();
  seen_batch_ = 0;
  committed_.begin(nullptr);
  EvalContext context{*this, reply, sharding::KeyspaceId{0}, call.slot};
  const EvalStatus status = call.spec->evaluate(context, call.argv);
  committed_.end();
  drop_kept();
  if (committed_.misses()) (void)committed_.take_missing();
  // As in settle(): the clock is asked after the rows.
  if (status == EvalStatus::kDone && seen_batch_ <= done_batch_ && core_->may_serve(host_.now())) {
    host_.metrics().evaluations.add_owned();
    host_.metrics().reads_by_lease.add_owned();
    return true;
  }
  reply.rollback(reply_start);
  return false;
}

bool Replica::evaluate(const CommandCall& call, RespWriter& reply, Waiting* waiting) {
  begin_batch();
  const auto mark = batch_.mark();
  const uint64_t counter = version_counter_;
  const size_t reply_start = reply.size();
  overlay_.begin();
  seen_batch_ = 0;
  ++evaluation_;
  committed_.begin(waiting != nullptr ? &waiting->fetched : nullptr);
  begin_chunks(waiting);
  KeyLookups lookups;
  EvalContext context{*this, reply, sharding::KeyspaceId{0}, call.slot, &lookups, asks_for_keys(*call.spec)};
  const EvalStatus status = call.spec->evaluate(context, call.argv);
  committed_.end();
  drop_kept();
  evaluated_ = nullptr;
  host_.metrics().evaluations.add_owned();
  const bool chunks = !wanted_chunks_.empty();  // the effects are void
  if (status == EvalStatus::kDone && !chunks) {
    host_.metrics().lookups.add(lookups);
    const uint64_t order = waiting != nullptr ? waiting->order : next_order_++;
    if (!watched_.empty()) note_changes(mark.bytes);
    if (batch_.count() != mark.count) host_.wrote(batch_.bytes().size() - mark.bytes);
    return settle(call, reply, reply_start, batch_.count() != mark.count, order);
  }
  batch_.rollback(mark);
  overlay_.rollback();
  if (!chunks) version_counter_ = counter;  // otherwise a new collection keeps its version
  if (status == EvalStatus::kRefused) {
    (void)committed_.take_missing();
    return settle(call, reply, reply_start, false, waiting != nullptr ? waiting->order : next_order_++);
  }
  reply.rollback(reply_start);
  if (waiting == nullptr) waiting = enqueue(call);
  if (waiting == nullptr) {
    (void)committed_.take_missing();
    reply.error(kBusy);
    return true;
  }
  if (chunks && !committed_.misses()) {
    start_chunks(*waiting);
  } else {
    start_fetch(*waiting);
  }
  return false;
}

// The watched keys among those that this evaluation has written.
void Replica::note_changes(size_t batch_bytes_before) {
  storage::BatchReader written(std::string_view(batch_.bytes()).substr(batch_bytes_before));
  storage::Op op;
  while (written.next(op)) {
    if (op.kind == storage::OpKind::kClear) {
      watched_.all_changed(evaluation_);
    } else {
      watched_.changed(sharding::key_prefix_of(op.key), evaluation_);
    }
  }
}

// Decides what the reply waits for. True: nothing.
bool Replica::settle(const CommandCall& call, RespWriter& reply, size_t reply_start, bool effects, uint64_t order) {
  if (effects) {
    batch_replies_.push_back({call.target, reply.buffer().substr(reply_start), order, 0, true, OwnedCommand(call)});
    reply.rollback(reply_start);
    if (batch_.bytes().size() >= options_.batch_bytes_max) propose_batch();
    return false;
  }
  const uint64_t wait_batch = seen_batch_ > done_batch_ ? seen_batch_ : 0;
  // The value was taken above; now the clock is asked. In this order the check is the linearization point.
  const bool leased = core_->may_serve(host_.now());
  if (leased && wait_batch == 0) {
    host_.metrics().reads_by_lease.add_owned();
    return true;
  }
  if (CAIRN_PLANTED("uncommitted-read")) return true;
  if (!leased && round_ == 0) round_ = ++last_round_;
  park({call.target, reply.buffer().substr(reply_start), order, leased ? 0 : round_, false, OwnedCommand(call)},
       wait_batch);
  reply.rollback(reply_start);
  return false;
}

void Replica::park(ParkedReply parked, uint64_t wait_batch) {
  if (wait_batch == 0) {
    rounds_[parked.read_round].push_back(std::move(parked));
  } else if (wait_batch == batch_number_) {
    batch_replies_.push_back(std::move(parked));
  } else {
    CAIRN_ASSERT(!pending_.empty() && wait_batch >= pending_.front().number);
    pending_[wait_batch - pending_.front().number].replies.push_back(std::move(parked));
  }
}

uint64_t Replica::newest_batch() const {
  if (!batch_.empty()) return batch_number_;
  return pending_.empty() ? 0 : pending_.back().number;
}

void Replica::after_batch(uint64_t batch, Task task) {
  if (batch <= done_batch_) {
    task();
  } else {
    after_batch_.emplace(batch, std::move(task));
  }
}

void Replica::write(const std::function<void(RowView&)>& effects, const ReplyTarget& target) {
  begin_turn();
  begin_batch();
  overlay_.begin();
  seen_batch_ = 0;
  const auto mark = batch_.mark();
  effects(*this);
  if (batch_.count() == mark.count) {
    host_.deliver(target, "+OK\r\n");
    return;
  }
  batch_replies_.push_back({target, "+OK\r\n", next_order_++, 0, true, {}});
}

// ---- commands that wait for rows ----

bool Replica::conflicts(const CommandCall& call) const {
  bool found = false;
  for_each_key(*call.spec, call.argv, [&](std::string_view key) { found = found || locks_.find(key) != locks_.end(); });
  return found;
}

Replica::Waiting* Replica::enqueue(const CommandCall& call) {
  auto waiting = std::make_unique<Waiting>();
  waiting->command = OwnedCommand(call);
  if (waiting_bytes_ + waiting->command.size() > options_.waiting_bytes_max) return nullptr;
  waiting_bytes_ += waiting->command.size();
  waiting->id = next_waiting_++;
  waiting->order = next_order_++;
  waiting->data_epoch = data_epoch_;
  for_each_key(*call.spec, call.argv, [&](std::string_view key) { waiting->keys.emplace_back(key); });
  std::sort(waiting->keys.begin(), waiting->keys.end());
  waiting->keys.erase(std::unique(waiting->keys.begin(), waiting->keys.end()), waiting->keys.end());
  for (const std::string& key : waiting->keys) locks_[key].push_back(waiting->id);
  Waiting* raw = waiting.get();
  waiting_.emplace(raw->id, std::move(waiting));
  return raw;
}

bool Replica::at_front(const Waiting& waiting) const {
  return std::all_of(waiting.keys.begin(), waiting.keys.end(),
                     [&](const std::string& key) { return locks_.find(key)->second.front() == waiting.id; });
}

void Replica::start_fetch(Waiting& waiting) {
  waiting.fetching = true;
  storage::FetchRequest request = committed_.take_missing();
  // A prefix is read as of now: effects on it that are still pending would be neither in the overlay nor in what was
  // read.
  const uint64_t barrier = request.prefixes.empty() ? 0 : newest_batch();
  after_batch(barrier, [this, id = waiting.id, leadership = leadership_, request = std::move(request)]() mutable {
    if (leadership != leadership_) return;  // the command was handed on
    std::vector<std::string> rows = request.rows;
    std::vector<storage::RowPage> pages = request.prefixes;
    host_.metrics().row_fetches.add_owned();
    tablet_.fetch(std::move(request), [this, alive = alive_, id, leadership, rows = std::move(rows),
                                       pages = std::move(pages)](Result<storage::FetchResult> result) mutable {
      if (*alive) fetch_done(id, leadership, std::move(rows), pages, std::move(result));
    });
  });
}

void Replica::fetch_done(uint64_t id, uint64_t leadership, std::vector<std::string> row_keys,
                         const std::vector<storage::RowPage>& pages, Result<storage::FetchResult> result) {
  if (leadership != leadership_) return;  // another leadership: the command was handed on
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return;
  Waiting& waiting = *found->second;
  waiting.fetching = false;
  if (!result) {
    // Whose files are damaged leads no longer, a moment from now: lose_leadership() has the command run elsewhere.
    const bool damage = result.error().code == ErrorCode::kCorruption;
    if (damage && core_->configuration().voters.size() > 1) return;
    std::string reply = "-ERR reading the key from disk failed: " + to_string(result.error()) + "\r\n";
    host_.deliver(waiting.command.target(), reply);
    finish_waiting(id);
    return;
  }
  waiting.fetched.add(std::move(row_keys), pages, std::move(*result));
  run_waiting(id);
}

void Replica::run_waiting(uint64_t id) {
  const auto found = waiting_.find(id);
  if (found == waiting_.end() || found->second->fetching || found->second->held || found->second->chunking ||
      !at_front(*found->second))
    return;
  Waiting& waiting = *found->second;
  if (!leads()) {  // stepping down or handing over: whoever leads next runs it
    std::vector<std::string_view> argv;
    const OwnedCommand command = std::move(waiting.command);
    finish_waiting(id);
    host_.redispatch(command.call(argv), range_);
    return;
  }
  begin_turn();
  if (waiting.data_epoch != data_epoch_ && !CAIRN_PLANTED("fetched-row-survives-clear")) {
    waiting.fetched.clear();
    if (!CAIRN_PLANTED("chunks-survive-clear")) discard_chunks(waiting);
    waiting.data_epoch = data_epoch_;
  }
  std::vector<std::string_view> argv;
  const CommandCall call = waiting.command.call(argv);
  if (must_hold(call)) return hold(waiting);
  std::string bytes;
  RespWriter reply(bytes, call.proto);
  const uint64_t leadership = leadership_;
  const bool replied = evaluate(call, reply, &waiting);
  if (leadership != leadership_) return;
  if (!replied && (waiting.fetching || waiting.chunking)) return;
  if (replied) host_.deliver(call.target, bytes);
  finish_waiting(id);
}

void Replica::hold(Waiting& waiting) {
  waiting.held = true;
  held_.push_back(waiting.id);
}

std::string_view Replica::no_room_error() const { return host_.has_room() ? kCannotWrite : kMisconf; }

void Replica::refuse_for_room(const Waiting& waiting) {
  host_.deliver(waiting.command.target(), "-" + std::string(no_room_error()) + "\r\n");
  finish_waiting(waiting.id);
}

bool Replica::must_hold(const CommandCall& call) const {
  if ((call.spec->flags & kDenyOom) == 0) return false;
  if (!host_.admits_writes()) return true;
  size_t bytes = 0;
  for (const std::string_view argument : call.argv) bytes += argument.size();
  return bytes > options_.batch_bytes_max && !host_.has_memory_for_large();
}

void Replica::resume_held() {
  const std::vector<uint64_t> held = std::exchange(held_, {});
  for (auto at = held.begin(); at != held.end(); ++at) {
    if (can_store() && !host_.admits_writes()) {
      held_.insert(held_.end(), at, held.end());
      break;
    }
    const uint64_t id = *at;
    const auto found = waiting_.find(id);
    if (found == waiting_.end()) continue;
    found->second->held = false;
    if (can_store()) {
      run_waiting(id);
    } else if (at_front(*found->second)) {
      refuse_for_room(*found->second);
    }
  }
  if (!chunking_.empty()) host_.touch(*this);
}

void Replica::finish_waiting(uint64_t id) {
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return;
  const std::unique_ptr<Waiting> waiting = std::move(found->second);
  waiting_.erase(found);
  waiting_bytes_ -= std::min<uint64_t>(waiting_bytes_, waiting->command.size());
  discard_chunks(*waiting);
  std::vector<uint64_t> next;
  for (const std::string& key : waiting->keys) {
    const auto lock = locks_.find(key);
    CAIRN_ASSERT(lock != locks_.end() && lock->second.front() == id);
    lock->second.pop_front();
    if (lock->second.empty()) {
      locks_.erase(lock);
    } else {
      next.push_back(lock->second.front());
    }
  }
  // Posted behind the current one by recursion at most as deep as commands queue on one key; each runs at memory speed.
  std::sort(next.begin(), next.end());
  for (uint64_t other : next) run_waiting(other);
}

// DBSIZE of this range: once everything pending is committed, meta rows that are not due are counted in the background.
void Replica::count_keys(const CommandCall& call) {
  const uint64_t order = next_order_++;
  // What was evaluated so far counts, what follows in the same turn does not: the batch ends here.
  const uint64_t leadership = leadership_;
  propose_batch();
  if (leadership != leadership_) {  // refused: this command is run again like those of the batch
    host_.redispatch(call, range_);
    return;
  }
  auto command = std::make_shared<OwnedCommand>(call);
  auto count = std::make_shared<int64_t>(0);
  after_batch(newest_batch(), [this, command, count, order, leadership = leadership_] {
    if (leadership != leadership_) {
      std::vector<std::string_view> argv;
      host_.redispatch(command->call(argv), range_);
      return;
    }
    storage::FetchRequest request;
    request.visit = [count, now = std::max(host_.wall_ms(), newest_ms_)](std::string_view key, std::string_view value) {
      if (sharding::is_meta_row(key) && !is_due(value, now)) ++*count;
      return true;
    };
    tablet_.fetch(std::move(request),
                  [this, alive = alive_, command, count, order, leadership](Result<storage::FetchResult> result) {
                    if (!*alive) return;
                    std::vector<std::string_view> argv;
                    const CommandCall call = command->call(argv);
                    if (leadership != leadership_ || !leads()) {
                      host_.redispatch(call, range_);
                      return;
                    }
                    std::string bytes;
                    RespWriter reply(bytes, call.proto);
                    if (!result) {
                      reply.error("ERR counting keys failed: " + result.error().message);
                    } else {
                      reply.integer(*count);
                    }
                    begin_turn();
                    seen_batch_ = 0;
                    if (settle(call, reply, 0, false, order)) host_.deliver(call.target, bytes);
                  });
  });
}

}  // namespace cairn::server
