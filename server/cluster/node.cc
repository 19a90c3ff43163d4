#include "server/cluster/node.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/assert.h"
#include "base/codec.h"
#include "server/resp/reply_parser.h"
#include "server/session/session.h"

namespace cairn::server {
namespace {
constexpr Duration kTick = 50 * kMillisecond;
// Of frames that a peer has not taken: above it the next command of that peer waits.
constexpr uint64_t kReplyQueueMax = 32u << 20;
constexpr Duration kReplyQueueLook = kMillisecond;
constexpr uint64_t kSystemSessions = uint64_t{1} << 63;  // stream ids of the node's own commands
}  // namespace

Node::Node(NodeEnvironment env, NodeOptions options)
    : env_(std::move(env)),
      options_(std::move(options)),
      forwarding_(static_cast<ForwardingHost&>(*this), options_.wait_for_leader),
      follower_reads_(static_cast<FollowerReadsHost&>(*this), options_.follower_staleness),
      hub_(options_.parameters),
      large_commands_(options_.large_commands_bytes,
                      [this](uint64_t session, size_t bytes) { room_granted(session, bytes); }),
      alive_(std::make_shared<bool>(true)) {
  hub_.output_ready = env_.session_output;
  hub_.run_after = [this](Duration delay, Task task) {
    env_.loop->run_after(delay, [this, alive = alive_, task = std::move(task)]() mutable {
      if (!*alive || stopped_) return;
      task();
      end_turn();
    });
  };
  snapshots_ = std::make_unique<Snapshots>(static_cast<SnapshotHost&>(*this), env_, options_);
}

Node::~Node() {
  *alive_ = false;
  stopped_ = true;
}

// ---- turns ----

void Node::touch(Replica& replica) { touched_.insert(replica.range()); }

void Node::end_turn() {
  if (ending_turn_ || stopped_ || !log_) return;
  ending_turn_ = true;
  while (!touched_.empty() || follower_reads_.gathering()) {
    follower_reads_.ask();
    const std::set<RangeId> ranges = std::exchange(touched_, {});
    for (RangeId range : ranges) {
      Replica* replica = find_replica(range);
      if (replica == nullptr) continue;
      // While a log write is under way its successor gathers what is evaluated: one entry, message and sync for all.
      const bool gather = log_->writing();
      replica->end_turn(gather);
      if (gather && replica->has_unproposed()) gathering_.insert(range);
      follower_reads_.applied(range);
      if (replica->awaits_log()) awaiting_log_.push_back(replica);
      const Instant deadline = replica->core().next_deadline();
      Instant& known = deadline_of_.try_emplace(range, kNever).first->second;
      if (known != deadline) {
        deadlines_.erase({known, range});
        known = deadline;
        if (deadline != kNever) deadlines_.insert({deadline, range});
      }
    }
    // Appends leave before the own write starts: peers' disks work at the same time as ours.
    env_.data->flush();
    transport_dirty_ = false;
    log_->flush();
  }
  if (transport_dirty_) env_.data->flush();
  transport_dirty_ = false;
  ending_turn_ = false;
  arm_deadline_timer();
}

void Node::arm_deadline_timer() {
  if (stopped_)
    return;  // nothing would be done about what is due: the timer would fire for ever, and the loop never end
  const Instant next = deadlines_.empty() ? kNever : deadlines_.begin()->first;
  if (next >= deadline_armed_) return;  // an earlier wake-up finds this one
  if (deadline_timer_ != 0) env_.loop->cancel(deadline_timer_);
  const Instant now = env_.clock->now();
  deadline_armed_ = next;
  deadline_timer_ = env_.loop->run_after(next > now ? next - now : 0, [this, alive = alive_] {
    if (!*alive) return;
    deadline_timer_ = 0;
    deadline_armed_ = kNever;
    const Instant now = env_.clock->now();
    std::vector<RangeId> due;
    for (const auto& [at, range] : deadlines_) {
      if (at > now) break;
      due.push_back(range);
    }
    for (RangeId range : due) {
      if (Replica* replica = find_replica(range)) replica->step(consensus::TimeReached{});
      touched_.insert(range);
    }
    // The turn's end goes on and sets the timer again: a log write here would split what the turn brings in two.
  });
}

void Node::on_log_durable(LogPosition position) {
  if (position > seen_durable_) {
    seen_durable_ = position;
    durable_moved_ = env_.clock->now();
  }
  const std::vector<Replica*> waiting = std::exchange(awaiting_log_, {});
  for (Replica* replica : waiting) {
    replica->log_durable(position);
    if (replica->awaits_log()) awaiting_log_.push_back(replica);
  }
  std::sort(awaiting_log_.begin(), awaiting_log_.end(),
            [](const Replica* a, const Replica* b) { return a->range() < b->range(); });
  awaiting_log_.erase(std::unique(awaiting_log_.begin(), awaiting_log_.end()), awaiting_log_.end());
  while (!after_durable_.empty() && after_durable_.begin()->first <= position) {
    Task task = std::move(after_durable_.begin()->second);
    after_durable_.erase(after_durable_.begin());
    task();
  }
  touched_.merge(gathering_);
  gathering_.clear();
  if (!ending_turn_) end_turn();
}

void Node::when_log_durable(Task task) {
  const LogPosition end = log_->end();
  if (log_->durable() >= end) {
    env_.loop->post(std::move(task));  // never inside the caller
    return;
  }
  after_durable_.emplace(end, std::move(task));
  log_->flush();
}

void Node::tick() {
  if (stopped_) return;
  const Instant now = env_.clock->now();
  snapshots_->tick(now);
  if (forwarding_.waiting() > 0) forwarding_.pump_all();
  follower_reads_.expire();
  large_commands_.tick(now);
  if (log_) {
    for (RangeId range : log_->pinning_groups(options_.log_budget_bytes)) {
      if (Replica* replica = find_replica(range)) {
        replica->tablet().flush();
        replica->compact_log(true);
      }
    }
    if (!log_->has_room()) log_->flush();  // looks for space again
    resume_writes();
    announce_addresses();
    plan_system();
    hand_back();
  }
  end_turn();
  env_.loop->run_after(kTick, [this, alive = alive_] {
    if (*alive) tick();
  });
}

// ---- replicas' needs ----

Replica* Node::find_replica(RangeId range) {
  const auto found = replicas_.find(range);
  return found == replicas_.end() ? nullptr : found->second.get();
}

bool Node::has_memory_for_large() const {
  uint64_t pending = 0;
  for (const auto& [range, replica] : replicas_) pending += replica->pending_bytes();
  return pending < options_.large_pending_bytes && memtable_bytes() < options_.store.memtable_budget_bytes;
}

bool Node::has_room() const { return log_->has_room() && store_->has_room(); }

void Node::resume_writes() {
  if (!has_memory() && has_room()) return;
  for (const auto& [range, replica] : replicas_) replica->resume_held();
}

void Node::send(NodeId to, RangeId range, ReplicaId from, ReplicaId to_replica, const consensus::Message& message) {
  if (to_replica.value == 0) {
    // The replica there, as the configuration of the group names it.
    if (const Replica* replica = find_replica(range)) {
      if (const auto* member = replica->core().configuration().find(to)) to_replica = member->replica;
    }
    if (to_replica.value == 0) {
      const auto heard = heard_replicas_.find({range, to});
      if (heard == heard_replicas_.end()) return;
      to_replica = heard->second;
    }
  }
  std::string frame;
  ConsensusFrame::encode_header(frame, range, from, to_replica);
  consensus::encode_message(frame, message);
  env_.data->send(to, Channel::kData, std::move(frame));
  transport_dirty_ = true;
}

void Node::send_forward(NodeId to, std::string frame) {
  env_.data->send(to, Channel::kData, std::move(frame));
  transport_dirty_ = true;
}

void Node::send_bulk(NodeId to, std::string frame) {
  env_.data->send(to, Channel::kBulk, std::move(frame));
  env_.data->flush();
}

void Node::deliver(const ReplyTarget& target, std::string_view reply) {
  switch (target.kind) {
    case ReplyTarget::Kind::kSession: {
      Session* session = hub_.find(target.id);
      if (session == nullptr) return;  // the client is gone
      session->deliver(target.sequence, reply);
      env_.session_output(target.id);
      return;
    }
    case ReplyTarget::Kind::kPeer: {
      ForwardReplyFrame frame;
      frame.request = target.id;
      frame.reply = reply;
      send_forward(target.node, frame.encode());
      return;
    }
    case ReplyTarget::Kind::kCallback: {
      const auto found = callbacks_.find(target.id);
      if (found == callbacks_.end()) return;
      const auto done = std::move(found->second);
      callbacks_.erase(found);
      done(reply);
      return;
    }
  }
}

uint64_t Node::add_callback(std::function<void(std::string_view)> done) {
  callbacks_.emplace(next_callback_, std::move(done));
  return next_callback_++;
}

void Node::redispatch(const CommandCall& call, RangeId range) {
  switch (call.target.kind) {
    case ReplyTarget::Kind::kSession: forwarding_.add(call.target.id, range, call); return;
    case ReplyTarget::Kind::kCallback: forwarding_.add(kSystemSessions | call.target.id, range, call); return;
    case ReplyTarget::Kind::kPeer: {
      // Its node tries again; what that connection sent after it comes back too (target.sequence = its session).
      ForwardReplyFrame frame;
      frame.request = call.target.id;
      frame.status = ForwardReplyFrame::Status::kRefused;
      frame.leader = leader_of(range);
      refused_.refuse(call.target.node, call.target.sequence, range, call.target.epoch);
      send_forward(call.target.node, frame.encode());
      return;
    }
  }
}

void Node::status_changed(Replica& replica) {
  if (replica.core().role() == consensus::Role::kLeader) leader_hints_[replica.range()] = identity_.node;
  if (replica.core().leader().value != 0) leader_hints_[replica.range()] = replica.core().leader();
  pump_later(0);
}

void Node::need_snapshot(Replica& replica, const consensus::NeedSnapshot& need) {
  // Posted: the core is in the middle of a step.
  env_.loop->post([this, alive = alive_, range = replica.range(), need] {
    if (!*alive || stopped_) return;
    if (Replica* replica = find_replica(range)) snapshots_->want(*replica, need);
    end_turn();
  });
}

void Node::event(Replica& replica, const consensus::Event& event) {
  using Kind = consensus::Event::Kind;
  switch (event.kind) {
    case Kind::kBecameLeader:
      metrics_.elections_won.add_owned();
      note(LogLevel::kInfo, fmt::format("range {}: leader of term {}", replica.range().value, event.term.value));
      return;
    case Kind::kSteppedDown:
      note(LogLevel::kInfo,
           fmt::format("range {}: stepped down in term {} {}", replica.range().value, event.term.value, event.detail));
      return;
    case Kind::kSuspect:
      note(LogLevel::kError, fmt::format("range {}: replica is damaged; it no longer votes or serves {}",
                                         replica.range().value, event.detail));
      return;
    case Kind::kConfigurationChanged:
    case Kind::kTransferStarted:
    case Kind::kTransferFailed:
      note(LogLevel::kInfo,
           fmt::format("range {}: {} {}", replica.range().value,
                       event.kind == Kind::kConfigurationChanged ? "configuration" : "transfer", event.detail));
      return;
    default: return;
  }
}

void Node::replica_failed(Replica& replica, const Error& error) {
  note(LogLevel::kError, fmt::format("range {}: {}", replica.range().value, to_string(error)));
  env_.loop->post([this, alive = alive_, range = replica.range()] {
    if (!*alive || stopped_) return;
    if (Replica* replica = find_replica(range)) replica->storage_damaged();
    end_turn();
  });
}

// ---- liveness ----

const consensus::PeerLiveness& Node::peer(NodeId node) const {
  static const consensus::PeerLiveness kUnknown;
  const auto found = liveness_.find(node);
  return found == liveness_.end() ? kUnknown : found->second.liveness;
}

void Node::on_liveness(const PeerReport& report) {
  if (stopped_) return;
  const auto [at, inserted] = liveness_.try_emplace(report.node);
  const consensus::PeerLiveness before = at->second.liveness;
  at->second = report;
  const auto& now = report.liveness;
  if (!inserted && before.incarnation == now.incarnation && before.granted == now.granted && before.held == now.held &&
      before.reachable == now.reachable) {
    return;  // a renewal: cores read held_until when they need it
  }
  for (const auto& [range, replica] : replicas_) replica->step(consensus::LivenessChanged{report.node});
  if (before.reachable && !now.reachable) {
    note(LogLevel::kWarn, fmt::format("node {} is unreachable", report.node.value));
    forwarding_.peer_lost(report.node);
    snapshots_->peer_lost(report.node);
  } else if (!before.reachable && now.reachable) {
    note(LogLevel::kInfo, fmt::format("node {} is reachable", report.node.value));
    reachable_since_ms_[report.node] = env_.clock->wall_ms();
  }
  end_turn();
}

// ---- frames ----

void Node::on_frame(const PeerIdentity& from, Channel channel, SharedBytes frame) {
  if (stopped_ || !log_) return;
  if (channel == Channel::kBulk) {
    snapshots_->on_frame(from.node, std::move(frame));
    return;
  }
  switch (static_cast<FrameKind>(frame_kind(frame.view()))) {
    case FrameKind::kConsensus: {
      const auto consensus = ConsensusFrame::decode(frame);
      if (!consensus) return;
      Replica* replica = find_replica(consensus->range);
      if (replica == nullptr || replica->id() != consensus->to) return;  // unknown ranges and other lives: dropped
      const auto* member = replica->core().configuration().find(from.node);
      if (member != nullptr && member->replica != consensus->from) return;
      if (member == nullptr) heard_replicas_[{consensus->range, from.node}] = consensus->from;
      auto message = consensus::decode_message(consensus->message);
      if (!message) return;
      // A follower whose flushes lag takes nothing more either: its leader sends it again, and the others go on.
      const auto* append = std::get_if<consensus::AppendRequest>(&*message);
      if (append != nullptr && !append->entries.empty() && consensus->range != kSystemRange && !has_memory()) return;
      replica->receive(from.node, std::move(*message));
      return;
    }
    case FrameKind::kForward: on_forward(from, frame); return;
    case FrameKind::kForwardReply:
      if (const auto reply = ForwardReplyFrame::decode(frame.view())) forwarding_.on_reply(from.node, *reply);
      return;
    default: return;
  }
}

// Large replies must not pile up for a peer faster than it takes them.
void Node::on_forward(const PeerIdentity& from, const SharedBytes& bytes) {
  const auto deferred = deferred_forwards_.find(from.node);
  if (deferred == deferred_forwards_.end() && env_.data->queued_bytes(from.node, Channel::kData) <= kReplyQueueMax) {
    return run_forward(from, bytes);
  }
  deferred_forwards_[from.node].emplace_back(from, bytes);
  if (std::exchange(deferred_armed_, true)) return;
  env_.loop->run_after(kReplyQueueLook, [this, alive = alive_] {
    if (*alive && !stopped_) run_deferred_forwards();
  });
}

void Node::run_deferred_forwards() {
  deferred_armed_ = false;
  auto waiting = std::exchange(deferred_forwards_, {});
  for (auto& [node, frames] : waiting) {
    for (auto& [from, bytes] : frames) on_forward(from, bytes);
  }
  end_turn();
}

void Node::run_forward(const PeerIdentity& from, const SharedBytes& bytes) {
  const auto frame = ForwardFrame::decode(bytes.view());
  if (!frame) return;
  const CommandSpec* spec = find_any_command(frame->argv.front());
  Replica* replica = find_replica(frame->range);
  if (spec == nullptr || replica == nullptr || !replica->leads() ||
      refused_.refused(from.node, frame->session, frame->range, frame->epoch)) {
    ForwardReplyFrame reply;
    reply.request = frame->request;
    reply.status = ForwardReplyFrame::Status::kRefused;
    reply.leader = replica != nullptr ? replica->core().leader() : NodeId{};
    refused_.refuse(from.node, frame->session, frame->range, frame->epoch);
    send_forward(from.node, reply.encode());
    return;
  }
  CommandCall call;
  call.spec = spec;
  call.argv = frame->argv;
  call.slot = frame->slot;
  call.proto = frame->proto;
  call.target = {ReplyTarget::Kind::kPeer, from.node, frame->request, frame->session, frame->epoch};
  std::string bytes_out;
  RespWriter reply(bytes_out, frame->proto);
  if (replica->execute(call, reply)) deliver(call.target, bytes_out);
}

void Node::on_disconnected(NodeId peer, Channel channel, bool refused) {
  (void)refused;
  if (stopped_) return;
  if (channel == Channel::kData) {
    refused_.forget(peer);
    deferred_forwards_.erase(peer);
    forwarding_.peer_lost(peer);
  } else if (channel == Channel::kBulk) {
    snapshots_->peer_lost(peer);
  }
  end_turn();
}

// ---- commands ----

bool Node::leads(RangeId range) {
  Replica* replica = find_replica(range);
  return replica != nullptr && replica->leads();
}

bool Node::execute_here(RangeId range, const CommandCall& call, std::string& bytes) {
  RespWriter reply(bytes, call.proto);
  return find_replica(range)->execute(call, reply);
}

NodeId Node::leader_of(RangeId range) {
  if (const Replica* replica = find_replica(range)) {
    const NodeId leader = replica->core().leader();
    // Here but not accepting commands yet, or unknown: wait for it.
    if (leader == identity_.node || leader.value == 0) return {};
    return peer(leader).reachable ? leader : NodeId{};
  }
  if (const auto hint = leader_hints_.find(range); hint != leader_hints_.end() && peer(hint->second).reachable) {
    return hint->second;
  }
  if (const NodeId owner = directory_.owner(range); owner.value != 0 && peer(owner).reachable) return owner;
  const auto found = directory_.ranges().find(range);
  if (found == directory_.ranges().end()) return {};
  for (const auto& [node, replica] : found->second.members) {
    if (peer(node).reachable) return node;
  }
  return {};
}

void Node::learn_leader(RangeId range, NodeId leader) {
  if (leader.value != 0 && leader != identity_.node) {
    leader_hints_[range] = leader;
  } else {
    leader_hints_.erase(range);
  }
}

void Node::pump_later(Duration delay) {
  if (pump_armed_ || forwarding_.waiting() == 0) return;
  pump_armed_ = true;
  env_.loop->run_after(delay, [this, alive = alive_] {
    if (!*alive || stopped_) return;
    pump_armed_ = false;
    forwarding_.pump_all();
    end_turn();
  });
}

bool Node::dispatch(uint64_t session, RangeId range, const CommandCall& call, RespWriter& reply, Instant deadline) {
  if (!forwarding_.busy(session, range)) {
    Replica* replica = find_replica(range);
    if (replica != nullptr && replica->leads()) return replica->execute(call, reply);
  }
  forwarding_.add(session, range, call, deadline);
  return false;
}

RangeId Node::range_of_slot(uint16_t slot) const {
  if (by_slot_.empty()) return {};
  const Replica* replica = by_slot_[slot];
  return replica != nullptr ? replica->range() : directory_.range_of_slot(slot);
}

bool Node::execute(const CommandSpec& spec, Argv argv, uint16_t slot, ReplySlot where, int proto, RespWriter& reply) {
  const CommandCall call{
      &spec, argv, slot, static_cast<uint8_t>(proto), {ReplyTarget::Kind::kSession, {}, where.session, where.sequence}};
  metrics_.commands.add_owned();
  if (forwarding_.unrouted(where.session)) {
    forwarding_.add_unrouted(where.session, call);
    return false;
  }
  Replica* replica = by_slot_.empty() ? nullptr : by_slot_[slot];
  const bool reading = replica != nullptr && follower_reads_.busy(where.session, replica->range());
  if (replica != nullptr && replica->leads() && !reading && !forwarding_.busy(where.session, replica->range())) {
    metrics_.commands_local.add_owned();
    return replica->execute(call, reply);
  }
  if (replica != nullptr) {
    const auto taken = follower_reads_.offer(call, replica->range(), reply);
    if (taken != FollowerReads::Taken::kNo) return taken == FollowerReads::Taken::kReplied;
  }
  if (const RangeId range = range_of_slot(slot); range.value != 0) {
    forwarding_.add(where.session, range, call);
  } else {
    forwarding_.add_unrouted(where.session, call);
  }
  return false;
}

bool Node::route(const CommandCall& call, Instant deadline) {
  if (call.spec->place == CommandPlace::kEverywhere || call.spec->place == CommandPlace::kWalk) {
    if (!ranges_known()) return false;
    run_everywhere(call, deadline);
    return true;
  }
  const RangeId range = range_of_slot(call.slot);
  if (range.value == 0) return false;
  std::string bytes;
  RespWriter reply(bytes, call.proto);
  if (dispatch(call.target.id, range, call, reply, deadline)) deliver(call.target, bytes);
  return true;
}

void Node::execute_everywhere(const CommandSpec& spec, Argv argv, ReplySlot where, int proto) {
  const CommandCall call{
      &spec, argv, 0, static_cast<uint8_t>(proto), {ReplyTarget::Kind::kSession, {}, where.session, where.sequence}};
  if (!ranges_known() || forwarding_.unrouted(where.session)) {
    forwarding_.add_unrouted(where.session, call);
  } else {
    run_everywhere(call, kNever);
  }
}

// Each page is its own turn of the loop. They need no place among the commands of the connection: it sends nothing more
// before it has the reply.
void Node::ask_range(Argv argv, uint16_t slot, std::function<void(std::string_view)> done) {
  auto command = std::make_shared<OwnedCommand>(CommandCall{&kScanRangeCommand, argv, slot, 2, {}});
  env_.loop->post([this, alive = alive_, command, done = std::move(done)]() mutable {
    if (!*alive || stopped_) return;
    const uint64_t callback = add_callback(std::move(done));
    std::vector<std::string_view> argv;
    CommandCall call = command->call(argv);
    call.target = {ReplyTarget::Kind::kCallback, {}, callback, 0};
    const RangeId range = range_of_slot(call.slot);
    CAIRN_ASSERT(range.value != 0);  // no walk begins before the ranges are known, and they cover all slots
    std::string bytes;
    RespWriter reply(bytes, call.proto);
    if (dispatch(kSystemSessions | callback, range, call, reply)) deliver(call.target, bytes);
    end_turn();
  });
}

void Node::run_walk(const CommandCall& call) {
  KeyspaceWalk::start(*this, call.target.id, *call.spec, call.argv, call.proto,
                      [this, target = call.target](std::string_view reply) { deliver(target, reply); });
}

void Node::run_everywhere(const CommandCall& call, Instant deadline) {
  if (call.spec->place == CommandPlace::kWalk) return run_walk(call);
  struct Gather {
    size_t left = 0;
    int64_t sum = 0;
    std::string error;
  };
  auto gather = std::make_shared<Gather>();
  const bool count = call.spec->evaluate == nullptr;
  const std::string_view count_argv[] = {kCountKeysCommand.name};
  const auto finish = [this, gather, target = call.target, count, proto = call.proto] {
    std::string bytes;
    RespWriter reply(bytes, proto);
    if (!gather->error.empty()) {
      reply.raw(gather->error);
    } else if (count) {
      reply.integer(gather->sum);
    } else {
      reply.ok();
    }
    deliver(target, bytes);
  };
  std::vector<RangeId> ranges;
  for (const auto& [id, range] : directory_.ranges()) ranges.push_back(id);
  gather->left = ranges.size();
  for (RangeId range : ranges) {
    const uint64_t callback = add_callback([gather, finish](std::string_view reply) {
      if (reply.starts_with(':')) {
        gather->sum += std::strtoll(std::string(reply.substr(1)).c_str(), nullptr, 10);
      } else if (reply.starts_with('-') && gather->error.empty()) {
        gather->error = reply;
      }
      if (--gather->left == 0) finish();
    });
    CommandCall part = call;
    if (count) {
      part.spec = &kCountKeysCommand;
      part.argv = count_argv;
    }
    part.target = {ReplyTarget::Kind::kCallback, {}, callback, 0};
    std::string bytes;
    RespWriter reply(bytes, call.proto);
    if (dispatch(call.target.id, range, part, reply, deadline)) {
      // Never inside this call: the session expects the reply later.
      env_.loop->post([this, alive = alive_, callback, bytes] {
        if (*alive) deliver({ReplyTarget::Kind::kCallback, {}, callback, 0}, bytes);
      });
    }
  }
}

// A command of the node's own, without arguments.
void Node::ask_leader(const CommandSpec& spec, RangeId range, std::function<void(std::string_view)> done) {
  const uint64_t callback = add_callback(std::move(done));
  const std::string_view argv[] = {spec.name};
  const CommandCall call{&spec, argv, 0, 2, {ReplyTarget::Kind::kCallback, {}, callback, 0}};
  std::string bytes;
  RespWriter reply(bytes, 2);
  if (dispatch(kSystemSessions | callback, range, call, reply)) deliver(call.target, bytes);
}

void Node::confirmed_status(RangeId range, std::function<void(std::optional<RangeStatus>)> done) {
  ask_leader(kRangeStatusCommand, range, [done = std::move(done)](std::string_view reply) {
    std::optional<RangeStatus> status;
    ReplyHead head;
    if (read_reply_head(reply, head) == ReplyState::kComplete && head.type == '$') {
      status = RangeStatus::decode(head.text);
    }
    done(std::move(status));
  });
  end_turn();
}

void Node::ask_read_index(RangeId range, std::function<void(std::string_view)> done) {
  ask_leader(kReadIndexCommand, range, std::move(done));
}

bool Node::read_only(uint64_t session) const {
  const Session* found = hub_.find(session);
  return found != nullptr && found->read_only();
}

void Node::probe(std::function<void(std::string)> done) {
  struct Gather {
    size_t left = 1;
    std::string error;
  };
  auto gather = std::make_shared<Gather>();
  const auto arrived = [gather, done](std::string_view reply) {
    if (reply != "+OK\r\n" && gather->error.empty()) gather->error = reply;
    if (--gather->left == 0) done(gather->error);
  };
  const std::string value = std::to_string(identity_.node.value);
  for (const auto& [range, descriptor] : directory_.ranges()) {
    ++gather->left;
    const uint64_t callback = add_callback(arrived);
    const std::string_view argv[] = {kProbeCommand.name, value};
    const CommandCall call{&kProbeCommand, argv, 0, 2, {ReplyTarget::Kind::kCallback, {}, callback, 0}};
    std::string bytes;
    RespWriter reply(bytes, 2);
    if (dispatch(kSystemSessions | callback, range, call, reply)) deliver(call.target, bytes);
  }
  arrived("+OK\r\n");
  end_turn();
}

// ---- sessions ----

void Node::set_wait_for_leader(Duration wait) {
  options_.wait_for_leader = wait;
  forwarding_.set_wait_for_leader(wait);
}

void Node::add_session(Session& session) { hub_.add(session); }

void Node::remove_session(uint64_t id) {
  hub_.remove(id);
  forwarding_.session_closed(id);
  follower_reads_.session_closed(id);
  large_commands_.release(id);
}

void Node::room_granted(uint64_t session, size_t bytes) {
  Session* found = hub_.find(session);
  if (found == nullptr) return;
  found->room_granted(bytes);
  env_.session_output(session);  // its owner reads on
}

void Node::write_system(const std::function<void(RowView&)>& effects, std::function<void(bool)> done) {
  Replica* replica = system_replica();
  CAIRN_ASSERT(replica != nullptr && replica->leads());
  const uint64_t callback =
      add_callback([done = std::move(done)](std::string_view reply) { done(reply == "+OK\r\n"); });
  replica->write(effects, {ReplyTarget::Kind::kCallback, {}, callback, 0});
}

}  // namespace cairn::server
