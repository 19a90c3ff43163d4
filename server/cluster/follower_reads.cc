#include "server/cluster/follower_reads.h"

#include <algorithm>

#include "base/plant.h"
#include "server/commands/transaction.h"
#include "server/replica/follower_view.h"
#include "server/resp/reply_parser.h"

namespace cairn::server {
namespace {
constexpr Duration kLagMax = 200 * kMillisecond;  // a replica further behind than this leaves its reads to the leader
constexpr uint32_t kFetchesMax = 4;               // writes to the key may make each one ask for other rows

// Internal commands need what only the leader has, but for transactions that read and watch nothing.
bool any_replica_can(const CommandCall& call) {
  if (call.spec == &kExecReadingCommand) return call.argv.size() > 2 && call.argv[1].empty();
  return (call.spec->flags & kReadOnly) != 0 && call.spec->evaluate != nullptr && call.spec->name.front() != '\x01';
}
}  // namespace

FollowerReads::Taken FollowerReads::offer(const CommandCall& call, RangeId range, RespWriter& reply) {
  const Key key{call.target.id, range};
  const auto stream = streams_.find(key);
  const bool wait = stream != streams_.end() && !stream->second.behind.empty();
  Replica* replica = host_.find_replica(range);
  const bool possible = replica != nullptr && replica->may_follow() && any_replica_can(call) &&
                        host_.read_only(call.target.id) && !host_.forwarding_busy(call.target.id, range);
  if (wait || (stream != streams_.end() && !possible)) {
    stream->second.behind.emplace_back(call);
    return Taken::kLater;
  }
  if (!possible) return Taken::kNo;
  auto read = std::make_shared<Read>();
  if (fresh(range, *replica, read->index)) {
    storage::FetchRequest missing;
    const auto status = evaluate(*replica, call, read->index, nullptr, reply, missing);
    if (status == EvalStatus::kDone) return Taken::kReplied;
    if (!status) return Taken::kNo;
    read->wanted = std::move(missing);
  }
  read->range = range;
  read->command = OwnedCommand(call);
  ++streams_[key].reads;
  if (read->index.index.value == 0) {
    gathered_[range].push_back(std::move(read));
  } else {
    fetch(read, *replica, {});
  }
  return Taken::kLater;
}

// What the leader has said not long ago holds, and the replica has got that far.
bool FollowerReads::fresh(RangeId range, const Replica& replica, ReadIndex& index) const {
  if (CAIRN_PLANTED("follower-read-without-index")) {
    index = {LogIndex{1}, 0};
    return true;
  }
  if (staleness_ == 0) return false;
  const auto known = known_.find(range);
  if (known == known_.end() || host_.now() >= known->second.asked + staleness_ ||
      replica.applied() < known->second.index.index) {
    return false;
  }
  index = known->second.index;
  return true;
}

void FollowerReads::ask() {
  for (auto& [range, reads] : std::exchange(gathered_, {})) {
    metrics_.rounds.add_owned();
    host_.ask_read_index(range, [this, range, asked = host_.now(), reads = std::move(reads)](std::string_view reply) {
      answered(range, asked, reads, reply);
    });
  }
}

void FollowerReads::answered(RangeId range, Instant asked, const Reads& reads, std::string_view reply) {
  ReplyHead head;
  std::optional<ReadIndex> index;
  if (read_reply_head(reply, head) == ReplyState::kComplete && head.type == '$') index = ReadIndex::decode(head.text);
  if (!index) {  // no leader in time
    for (const auto& read : reads) {
      const ReplyTarget target = read->command.target();
      finish({target.id, range});
      host_.deliver(target, reply);
    }
    return;
  }
  if (staleness_ != 0) {
    Known& known = known_[range];
    if (asked >= known.asked) known = {*index, asked};
  }
  Reads& waiting = waiting_[range];
  for (const auto& read : reads) {
    read->index = *index;
    read->deadline = host_.now() + kLagMax;
    waiting.push_back(read);
  }
  applied(range);
}

void FollowerReads::applied(RangeId range) {
  const auto found = waiting_.find(range);
  if (found == waiting_.end()) return;
  const Replica* replica = host_.find_replica(range);
  Reads ready;
  for (auto at = found->second.begin(); at != found->second.end();) {
    const auto next = std::next(at);
    if (replica == nullptr || replica->applied() >= (*at)->index.index) {
      ready.splice(ready.end(), found->second, at);
    }
    at = next;
  }
  if (found->second.empty()) waiting_.erase(found);
  for (const auto& read : ready) run(read);
}

void FollowerReads::expire() {
  const Instant now = host_.now();
  Reads late;
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    Reads& reads = at->second;
    for (auto read = reads.begin(); read != reads.end();) {
      const auto next = std::next(read);
      if (now >= (*read)->deadline) late.splice(late.end(), reads, read);
      read = next;
    }
    at = reads.empty() ? waiting_.erase(at) : std::next(at);
  }
  for (const auto& read : late) pass_on(*read);
}

void FollowerReads::run(const std::shared_ptr<Read>& read) {
  Replica* replica = host_.find_replica(read->range);
  // One that leads by now has effects of its own that a reader must see.
  if (replica == nullptr || !replica->may_follow() || replica->leads()) return pass_on(*read);
  std::vector<std::string_view> argv;
  const CommandCall call = read->command.call(argv);
  std::string bytes;
  RespWriter reply(bytes, call.proto);
  storage::FetchRequest missing;
  const auto status = evaluate(*replica, call, read->index, &read->fetched, reply, missing);
  if (!status || (status == EvalStatus::kNeedsRows && read->fetches >= kFetchesMax)) return pass_on(*read);
  if (status == EvalStatus::kNeedsRows) return fetch(read, *replica, std::move(missing));
  finish({call.target.id, read->range});
  host_.deliver(call.target, bytes);
}

std::optional<EvalStatus> FollowerReads::evaluate(Replica& replica, const CommandCall& call, const ReadIndex& index,
                                                  const FetchedRows* fetched, RespWriter& reply,
                                                  storage::FetchRequest& missing) {
  FollowerView view(replica.tablet(), fetched, index.time_ms, [this] { return host_.random(); });
  const size_t start = reply.size();
  KeyLookups lookups;
  EvalContext context{view, reply, sharding::KeyspaceId{0}, call.slot, &lookups, asks_for_keys(*call.spec)};
  const EvalStatus status = call.spec->evaluate(context, call.argv);
  if (status == EvalStatus::kDone && !view.leader_wanted()) {
    metrics_.served.add_owned();
    metrics_.lookups.add(lookups);
    return status;
  }
  reply.rollback(start);
  if (status != EvalStatus::kNeedsRows || view.leader_wanted()) return std::nullopt;
  missing = view.take_missing();
  return status;
}

void FollowerReads::fetch(const std::shared_ptr<Read>& read, Replica& replica, storage::FetchRequest missing) {
  ++read->fetches;
  const uint64_t id = next_fetch_++;
  fetching_.emplace(id, read);
  storage::FetchRequest& wanted = read->wanted;
  std::move(missing.rows.begin(), missing.rows.end(), std::back_inserter(wanted.rows));
  std::move(missing.prefixes.begin(), missing.prefixes.end(), std::back_inserter(wanted.prefixes));
  storage::FetchRequest request;
  request.rows = wanted.rows;
  request.prefixes = wanted.prefixes;
  replica.tablet().fetch(std::move(request), [this, alive = alive_, id](Result<storage::FetchResult> result) {
    if (!*alive) return;
    const auto found = fetching_.find(id);
    if (found == fetching_.end()) return;
    const std::shared_ptr<Read> read = std::move(found->second);
    fetching_.erase(found);
    if (!result) return pass_on(*read);
    read->fetched.clear();
    read->fetched.add(read->wanted.rows, read->wanted.prefixes, std::move(*result));
    run(read);
  });
}

void FollowerReads::pass_on(Read& read) {
  metrics_.passed_on.add_owned();
  std::vector<std::string_view> argv;
  const CommandCall call = read.command.call(argv);
  host_.forward(call, read.range);
  finish({call.target.id, read.range});
}

void FollowerReads::finish(const Key& key) {
  auto found = streams_.find(key);
  if (found == streams_.end() || --found->second.reads > 0) return;
  // Forwarding may deliver a reply, which may bring further commands of the stream, or end it.
  std::vector<std::string_view> argv;
  while (found != streams_.end() && found->second.reads == 0) {
    if (found->second.behind.empty()) {
      streams_.erase(found);
      return;
    }
    const OwnedCommand command = std::move(found->second.behind.front());
    found->second.behind.pop_front();
    host_.forward(command.call(argv), key.second);
    found = streams_.find(key);
  }
}

void FollowerReads::session_closed(uint64_t session) {
  streams_.erase(streams_.lower_bound({session, RangeId{0}}), streams_.lower_bound({session + 1, RangeId{0}}));
}

void FollowerReads::fail_all(std::string_view error) {
  std::vector<ReplyTarget> targets;
  for (const auto* lists : {&gathered_, &waiting_}) {
    for (const auto& [range, reads] : *lists) {
      for (const auto& read : reads) targets.push_back(read->command.target());
    }
  }
  for (const auto& [id, read] : fetching_) targets.push_back(read->command.target());
  for (const auto& [key, stream] : streams_) {
    for (const OwnedCommand& command : stream.behind) targets.push_back(command.target());
  }
  gathered_.clear();
  waiting_.clear();
  fetching_.clear();
  streams_.clear();
  for (const ReplyTarget& target : targets) host_.deliver(target, error);
}

}  // namespace cairn::server
