// Commands: where they run, those of peers, and the node's own.
#include <algorithm>

#include "base/assert.h"
#include "base/checksum.h"
#include "server/cluster/node.h"
#include "server/commands/scan.h"
#include "server/resp/reply_parser.h"
#include "server/session/session.h"
#include "sharding/key_encoding.h"

namespace cairn::server {
namespace {
// Of frames that a peer has not taken: above it the next command of that peer waits.
constexpr uint64_t kReplyQueueMax = 32u << 20;
constexpr Duration kReplyQueueLook = kMillisecond;
constexpr uint64_t kSystemSessions = uint64_t{1} << 63;  // stream ids of the node's own commands
}  // namespace

// ---- commands of peers ----

// Large replies must not pile up for a peer faster than it takes them.
void Node::on_forward(const PeerIdentity& from, const SharedBytes& bytes) {
  const auto deferred = deferred_forwards_.find(from.node);
  const uint64_t queued =
      env_.data->queued_bytes(from.node, Channel::kData) + env_.data->queued_bytes(from.node, Channel::kLarge);
  if (deferred == deferred_forwards_.end() && queued <= kReplyQueueMax) {
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
    send_reply(from.node, reply.encode());
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

// ---- replies ----

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
      send_reply(target.node, frame.encode());
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
      send_reply(call.target.node, frame.encode());
      return;
    }
  }
}

// ---- where a command runs ----

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

void Node::expect(Argv keys, std::span<const uint16_t> slots) {
  if (by_slot_.empty()) return;
  expected_.clear();
  for (size_t i = 0; i < keys.size(); ++i) {
    Replica* replica = by_slot_[slots[i]];
    if (replica == nullptr) continue;
    expected_key_.clear();
    sharding::append_meta_key(expected_key_, sharding::KeyspaceId{0}, slots[i], keys[i]);
    expected_.emplace_back(&replica->tablet(), hash64(expected_key_));
    expected_.back().first->expect_place(expected_.back().second);
  }
  for (const auto& [tablet, hash] : expected_) tablet->expect_row(hash);
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

// Of a SCAN nearly always: the cursor lies in a range that is led here, and one page of it is in memory.
bool Node::scan_at_once(Argv argv, uint64_t session, RespWriter& reply) {
  if (!ranges_known() || forwarding_.unrouted(session)) return false;
  uint64_t cursor = 0;
  (void)parse_scan_cursor(argv[1], cursor);
  const auto slot = static_cast<uint16_t>(std::min(cursor, kScanCursorEnd - 1) >> 32);
  Replica* replica = by_slot_[slot];
  if (replica == nullptr || !replica->leads()) return false;
  return replica->read_at_once({&kScanAtOnceCommand, argv, slot, static_cast<uint8_t>(reply.proto()), {}}, reply);
}

// Each page is its own turn of the loop. They need no place among the commands of the connection: it sends nothing more
// before it has the reply.
void Node::ask_range(Argv argv, uint16_t slot, std::function<void(std::string_view)> done) {
  auto command = std::make_shared<OwnedCommand>(CommandCall{&kScanRangeCommand, argv, slot, 2, {}});
  env_.loop->post([this, alive = alive_, command, done = std::move(done)]() mutable {
    if (!*alive || stopped_) return;
    std::vector<std::string_view> argv;
    const CommandCall call = command->call(argv);
    const RangeId range = range_of_slot(call.slot);
    CAIRN_ASSERT(range.value != 0);  // no walk begins before the ranges are known, and they cover all slots
    ask(call, range, std::move(done));
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

// A command of the node's own.
void Node::ask_leader(const CommandSpec& spec, RangeId range, std::function<void(std::string_view)> done,
                      std::string_view argument) {
  const std::string_view argv[] = {spec.name, argument};
  ask({&spec, Argv(argv).first(argument.empty() ? 1 : 2), 0, 2, {}}, range, std::move(done));
}

// Every one has a stream of its own: none waits for another.
void Node::ask(CommandCall call, RangeId range, std::function<void(std::string_view)> done) {
  const uint64_t callback = add_callback(std::move(done));
  call.target = {ReplyTarget::Kind::kCallback, {}, callback, 0};
  std::string bytes;
  RespWriter reply(bytes, call.proto);
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
    ask_leader(kProbeCommand, range, arrived, value);
  }
  arrived("+OK\r\n");
  end_turn();
}

}  // namespace cairn::server
