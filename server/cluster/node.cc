#include "server/cluster/node.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/assert.h"
#include "server/session/session.h"

namespace cairn::server {
namespace {
constexpr Duration kTick = 50 * kMillisecond;
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
    if (!log_->has_room()) {
      use_reserve();
      log_->flush();  // looks for space again
    }
    check_reserve();
    resume_writes();
    announce_addresses();
    plan_system();
    hand_back();
    ask_for_repairs();
    scrub_if_due();
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

bool Node::has_room() const { return log_->has_room() && store_->has_room() && reserve_->held(); }

// What is in memory gets written with it, and the log gets shorter by that.
bool Node::use_reserve() {
  if (!reserve_->release()) return false;
  note(LogLevel::kError,
       "the disk is full: writes are refused, and the reserve is given up to finish what is under way");
  return true;
}

void Node::check_reserve() {
  if (reserve_->held()) return;
  reserve_->check();
  if (reserve_->held()) note(LogLevel::kInfo, "there is space on the disk again: writes go on");
}

void Node::resume_writes() {
  if (!has_memory() && has_room()) return;
  // From the next range on, and around: the first ones take what the pace lets through.
  const auto first = replicas_.upper_bound(resumed_first_);
  for (auto at = first; at != replicas_.end(); ++at) at->second->resume_held();
  for (auto at = replicas_.begin(); at != first; ++at) at->second->resume_held();
  resumed_first_ = first != replicas_.end() ? first->first : RangeId{};
}

double Node::follower_write_delay(const Replica& replica) const {
  return follower_pressure_.delay(replica.core().configuration().voters, identity_.node);
}

// The own flushes pace all ranges together, those of followers every range by itself.
bool Node::admits_writes(Replica& replica) {
  if (!has_memory()) {
    if (!std::exchange(memory_stalled_, true)) metrics_.memory_stalls.add_owned();
    return false;
  }
  memory_stalled_ = false;
  const double own = own_write_delay(), followers = follower_write_delay(replica);
  if (own <= 0 && followers <= 0) return true;  // the usual case, without a look at the clock
  const Duration own_wait = pacer_.wait(own, now());
  const Duration follower_wait = replica.pacer().wait(followers, now());
  const Duration wait = std::max(own_wait, follower_wait);
  if (wait == 0) return true;
  if (pacing_) return false;
  pacing_ = true;
  metrics_.pace_waits[follower_wait > own_wait ? 1 : 0].record_owned(wait);
  env_.loop->run_after(wait, [this, alive = alive_] {
    if (!*alive || stopped_) return;
    pacing_ = false;
    resume_writes();
    end_turn();
  });
  return false;
}

void Node::wrote(Replica& replica, size_t bytes) {
  if (const double delay = own_write_delay(); delay > 0) pacer_.wrote(bytes, delay, now());
  if (const double delay = follower_write_delay(replica); delay > 0) replica.pacer().wrote(bytes, delay, now());
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

void Node::send_forward(NodeId to, std::string frame, bool large) {
  env_.data->send(to, large ? Channel::kLarge : Channel::kData, std::move(frame));
  transport_dirty_ = true;
}

void Node::send_bulk(NodeId to, std::string frame) {
  env_.data->send(to, Channel::kBulk, std::move(frame));
  env_.data->flush();
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
    case Kind::kDamaged:
      note(LogLevel::kError,
           fmt::format("range {}: replica is damaged; it serves nothing until its leader has sent a snapshot",
                       replica.range().value));
      return;
    case Kind::kMended:
      note(LogLevel::kInfo, fmt::format("range {}: replica is whole again", replica.range().value));
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
  follower_pressure_.report(report.node, now.reachable, static_cast<double>(report.write_delay_ps) / kPicoseconds);
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

void Node::on_unsent(NodeId peer, Channel channel) {
  if (!stopped_) forwarding_.peer_unsent(peer, channel == Channel::kLarge);
}

void Node::on_disconnected(NodeId peer, Channel channel, bool refused) {
  (void)refused;
  if (stopped_) return;
  if (channel == Channel::kLarge) {
    forwarding_.peer_lost(peer);
  } else if (channel == Channel::kData) {
    refused_.forget(peer);
    deferred_forwards_.erase(peer);
    forwarding_.peer_lost(peer);
  } else if (channel == Channel::kBulk) {
    snapshots_->peer_lost(peer);
  }
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
