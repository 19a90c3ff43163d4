// What the leader of group 0 plans: membership of group 0, the ranges of `default`, the advertised slot map; and what
// every leader does with a range that another node is advertised for.
#include <fmt/format.h>

#include <algorithm>

#include "server/cluster/node.h"
#include "sharding/placement.h"
#include "sharding/slot.h"

namespace cairn::server {
namespace {
constexpr size_t kSystemVotersMax = 5;
constexpr uint64_t kPromotionLag = 128;           // entries a learner may be behind when it becomes a voter
constexpr Duration kOwnerBack = 3 * kSecond;      // reachable without a break for so long: advertised again
constexpr Duration kHandoverPause = 2 * kSecond;  // after a handover was asked for
constexpr size_t kHandoversAtOnce = 4;
constexpr Duration kSeenHere =
    3 * kSecond;  // what was acknowledged by the leader of group 0 reaches a healthy follower
}  // namespace

void Node::plan_system() {
  Replica* replica = system_replica();
  if (replica == nullptr || !replica->leads() || !directory_loaded_ || system_write_pending_ || draining_) return;
  if (!directory_.cluster()) {
    if (!options_.bootstrap) return;
    ClusterRecord cluster;
    cluster.uuid = identity_.cluster;
    cluster.initial_nodes = options_.initial_nodes;
    cluster.whole = options_.whole;
    cluster.ranges = options_.whole ? 1 : options_.ranges;
    cluster.replication_factor = options_.replication_factor;
    NodeRecord self{identity_.node, identity_.uuid, options_.addresses};
    system_write_pending_ = true;
    write_system(
        [&](RowView& rows) {
          rows.put(cluster_row_key(), cluster.encode());
          rows.put(node_row_key(self.id), self.encode());
        },
        [this](bool) { system_write_pending_ = false; });
    return;
  }
  const consensus::Status status = replica->core().status();
  if (plan_membership(status)) return;
  if (plan_ranges(status)) return;
  plan_slot_map();
}

// Members become learners of group 0; learners that are caught up become voters, up to five. One change at a time.
bool Node::plan_membership(const consensus::Status& status) {
  const consensus::Configuration& configuration = status.configuration;
  if (configuration.joint()) return true;
  for (const auto& [id, record] : directory_.nodes()) {
    if (configuration.find(id) != nullptr) continue;
    consensus::ChangeConfig change{configuration.voters, configuration.learners};
    change.learners.push_back({id, ReplicaId{id.value}});
    std::sort(change.learners.begin(), change.learners.end());
    system_replica()->step(std::move(change));
    return true;
  }
  if (configuration.voters.size() >= kSystemVotersMax) return false;
  for (const consensus::PeerStatus& peer_status : status.peers) {
    const NodeId id = peer_status.member.node;
    if (peer_status.voter || peer_status.snapshotting || !peer(id).reachable) continue;
    if (peer_status.match.value + kPromotionLag < status.commit.value || peer_status.match.value == 0) continue;
    consensus::ChangeConfig change{configuration.voters, configuration.learners};
    change.voters.push_back(peer_status.member);
    std::erase(change.learners, peer_status.member);
    std::sort(change.voters.begin(), change.voters.end());
    system_replica()->step(std::move(change));
    return true;
  }
  return false;
}

// Once, in one entry that carries each range's full initial configuration.
bool Node::plan_ranges(const consensus::Status& status) {
  if (!directory_.ranges().empty()) return false;
  const ClusterRecord& cluster = *directory_.cluster();
  const size_t wanted = std::min<size_t>(cluster.initial_nodes, kSystemVotersMax);
  if (directory_.nodes().size() < cluster.initial_nodes || status.configuration.voters.size() < wanted) return true;

  std::vector<NodeId> nodes;
  for (const auto& [id, record] : directory_.nodes()) nodes.push_back(id);
  const auto placed = sharding::plan_placement(nodes, cluster.ranges, cluster.replication_factor);
  std::vector<std::pair<RangeId, std::string>> rows_of_ranges;
  sharding::SlotMap map;
  map.version = 1;
  for (size_t i = 0; i < placed.size(); ++i) {
    const sharding::PlacedRange& place = placed[i];
    std::vector<std::pair<NodeId, ReplicaId>> members;
    for (NodeId node : place.replicas) members.emplace_back(node, ReplicaId{members.size() + 1});
    sharding::RangeDescriptor range = sharding::make_slot_range({i + 1}, "default", sharding::KeyspaceId{0},
                                                                place.first_slot, place.last_slot, std::move(members));
    range.whole = cluster.whole;
    map.owners.push_back({range.first_slot, range.last_slot, range.id, place.preferred_leader});
    std::string row;
    sharding::encode(row, range);
    rows_of_ranges.emplace_back(range.id, std::move(row));
  }
  std::string map_row;
  sharding::encode(map_row, map);
  system_write_pending_ = true;
  write_system(
      [&](RowView& rows) {
        rows.put(slot_map_row_key(), map_row);
        for (const auto& [id, row] : rows_of_ranges) rows.put(range_row_key(id), row);
      },
      [this](bool) { system_write_pending_ = false; });
  note(LogLevel::kInfo, fmt::format("creating {} ranges on {} nodes", placed.size(), nodes.size()));
  return true;
}

// Advertised owners change when a node is unreachable from a quorum of nodes, and back when it has returned for a
// while.
bool Node::plan_slot_map() {
  if (directory_.ranges().empty()) return false;
  const Instant at = now();
  std::map<NodeId, size_t> heard_by;
  size_t alive = 1;
  for (const auto& [id, report] : liveness_) {
    if (!report.liveness.reachable) continue;
    ++alive;
    ++heard_by[id];  // by this node
    for (NodeId other : report.reachable) {
      if (other != id) ++heard_by[other];
    }
  }
  std::map<NodeId, sharding::NodeFacts> facts;
  for (const auto& [id, record] : directory_.nodes()) {
    // Heard by most of those that this node hears, itself counted with those it hears.
    const bool reachable = id == identity_.node || (peer(id).reachable && 2 * (heard_by[id] + 1) > alive);
    const auto [since, fresh] = reachability_.try_emplace(id, std::pair(reachable, at));
    if (!fresh && since->second.first != reachable) since->second = {reachable, at};
    facts[id] = {reachable, at - since->second.second};
  }
  // The placement of the ranges' creation, found again from what they were created with.
  std::set<NodeId> members;
  std::vector<sharding::RangeFacts> ranges;
  for (const auto& [id, range] : directory_.ranges()) {
    sharding::RangeFacts range_facts{range.first_slot, range.last_slot, id, {}, {}, {}};
    for (const auto& [node, replica] : range.members) {
      range_facts.replicas.push_back(node);
      members.insert(node);
    }
    if (const auto hint = leader_hints_.find(id); hint != leader_hints_.end()) range_facts.leader = hint->second;
    ranges.push_back(std::move(range_facts));
  }
  const std::vector<NodeId> nodes(members.begin(), members.end());
  const auto placed =
      sharding::plan_placement(nodes, static_cast<uint32_t>(ranges.size()), directory_.cluster()->replication_factor);
  for (size_t i = 0; i < ranges.size() && i < placed.size(); ++i) ranges[i].preferred = placed[i].preferred_leader;
  const auto next = sharding::next_slot_map(directory_.slot_map(), ranges, facts, {.return_after = kOwnerBack});
  if (!next) return false;
  std::string row;
  sharding::encode(row, *next);
  system_write_pending_ = true;
  write_system([&](RowView& rows) { rows.put(slot_map_row_key(), row); },
               [this](bool) { system_write_pending_ = false; });
  note(LogLevel::kInfo, fmt::format("slot map version {}", next->version));
  return true;
}

// A leader hands over to the caught-up replica that the slot map advertises, a few ranges at a time.
void Node::hand_back() {
  if (draining_ || !directory_loaded_) return;
  const Instant at = now();
  size_t asked = 0;
  for (const auto& [id, replica] : replicas_) {
    if (id == kSystemRange || asked >= kHandoversAtOnce || !replica->leads()) continue;
    const NodeId owner = directory_.owner(id);
    if (owner.value == 0 || owner == identity_.node || !peer(owner).reachable || peer(owner).held.value == 0) continue;
    Instant& not_before = handover_at_[id];
    if (at < not_before) continue;
    const consensus::Status status = replica->core().status();
    if (!status.configuration.is_voter(owner) || snapshots_->sends(id, owner)) continue;
    for (const auto& peer_status : status.peers) {
      if (peer_status.member.node != owner || peer_status.snapshotting) continue;
      if (peer_status.match.value + options_.raft.transfer_lag_max < status.last_index.value) continue;
      not_before = at + kHandoverPause;
      ++asked;
      metrics_.handovers.add_owned();
      replica->step(consensus::Transfer{owner});
    }
  }
}

// ---- keyspaces ----

void Node::follow_keyspace() {
  const storage::StrategyKind wanted = compaction_strategy();
  storage::Tablet* system = store_->find(kSystemRange);
  if (store_->strategy() != wanted) store_->set_strategy(wanted);
  if (system != nullptr && system->stats().strategy != options_.store.strategy) {
    system->set_strategy(options_.store.strategy);
  }
  if (store_->compression() != compression()) store_->set_compression(compression());
  if (system != nullptr) system->set_compression(options_.store.compression);
}

void Node::change_keyspace(const KeyspaceRecord& record, std::function<void(std::string)> done) {
  const std::string key = keyspace_row_key(), value = record.encode();
  const std::string_view argv[] = {kPutRowCommand.name, key, value};
  ask({&kPutRowCommand, argv, 0, 2, {}}, kSystemRange,
      [this, alive = alive_, record, done = std::move(done)](std::string_view reply) mutable {
        if (reply != "+OK\r\n") return done(std::string(reply.substr(0, reply.find('\r'))));
        if (!*alive || stopped_) return done("-INDETERMINATE the node is shutting down");
        // The next question to this node shall see it.
        poll_until(
            now() + kSeenHere, [this, record] { return directory_.keyspace() == record; },
            [done = std::move(done)] { done(""); });
      });
  end_turn();
}

// ---- joining ----

void Node::on_call(std::string request, Transport::CallDone done) {
  const auto join = JoinFrame::decode(request);
  if (!join || stopped_) {
    done(Error{ErrorCode::kInvalidArgument, "not a request this node serves"});
    return;
  }
  serve_join(*join, std::move(done));
  end_turn();
}

void Node::serve_join(const JoinFrame& frame, Transport::CallDone done) {
  JoinReplyFrame reply;
  // A member that has moved is reached at its new address at once: it may be needed to write the record.
  const NodeRecord* moved = directory_.node_by_uuid(frame.uuid);
  if (moved != nullptr && moved->id != identity_.node && frame.cluster == identity_.cluster &&
      moved->addresses.peer != frame.addresses.peer) {
    announced_[moved->id] = {moved->addresses.peer, frame.addresses.peer};
    update_peers();
  }
  Replica* replica = system_replica();
  if (replica == nullptr || !replica->leads() || !directory_loaded_ || !directory_.cluster()) {
    reply.status = JoinReplyFrame::Status::kAskOther;
    if (replica != nullptr) {
      const auto leader = directory_.nodes().find(replica->core().leader());
      if (leader != directory_.nodes().end()) reply.detail = leader->second.addresses.peer;
    }
    done(reply.encode());
    return;
  }
  if (!frame.cluster.empty() && frame.cluster != identity_.cluster) {
    reply.status = JoinReplyFrame::Status::kRefused;
    reply.detail = "this is cluster " + to_hex(identity_.cluster);
    done(reply.encode());
    return;
  }
  const auto accept = [this](NodeId id) {
    JoinReplyFrame accepted;
    accepted.status = JoinReplyFrame::Status::kAccepted;
    accepted.cluster = identity_.cluster;
    accepted.node = id;
    accepted.system_replica = {id.value};
    for (const auto& [other, record] : directory_.nodes()) accepted.peers.emplace_back(other, record.addresses.peer);
    return accepted.encode();
  };
  const NodeRecord* known = directory_.node_by_uuid(frame.uuid);
  if (known != nullptr && known->addresses == frame.addresses) {
    done(accept(known->id));
    return;
  }
  if (!joining_.insert(frame.uuid).second) {  // being written: a lost reply makes no second member
    reply.status = JoinReplyFrame::Status::kAskOther;
    done(reply.encode());
    return;
  }
  NodeRecord record;
  record.uuid = frame.uuid;
  record.addresses = frame.addresses;
  if (known != nullptr) {
    record.id = known->id;
  } else {
    record.id = {1};
    for (const auto& [id, other] : directory_.nodes()) record.id = std::max(record.id, id.next());
    // Ids that are being written count too: they are handed out in order, one at a time.
    if (joining_.size() > 1) {
      joining_.erase(frame.uuid);
      reply.status = JoinReplyFrame::Status::kAskOther;
      done(reply.encode());
      return;
    }
  }
  auto shared_done = std::make_shared<Transport::CallDone>(std::move(done));
  write_system([&](RowView& rows) { rows.put(node_row_key(record.id), record.encode()); },
               [this, shared_done, accept, id = record.id, uuid = frame.uuid](bool ok) {
                 joining_.erase(uuid);
                 if (ok) {
                   (*shared_done)(accept(id));
                 } else {
                   (*shared_done)(Error{ErrorCode::kOutcomeUnknown, "leadership of the system range changed"});
                 }
               });
}

}  // namespace cairn::server
