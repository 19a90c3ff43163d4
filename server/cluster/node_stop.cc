// How a node ends: leaderships handed over, memtables flushed, replies no longer given.
#include <algorithm>

#include "server/cluster/node.h"

namespace cairn::server {
namespace {
constexpr Duration kLook = 10 * kMillisecond;
constexpr std::string_view kShuttingDown = "-CLUSTERDOWN the node is shutting down; the command was not applied\r\n";
constexpr std::string_view kCallbackLost = "-INDETERMINATE leadership of the range changed\r\n";
}  // namespace

void Node::poll_until(Instant deadline, std::function<bool()> over, Task done) {
  if (over() || now() >= deadline) return done();
  env_.loop->run_after(kLook,
                       [this, alive = alive_, deadline, over = std::move(over), done = std::move(done)]() mutable {
                         if (*alive) poll_until(deadline, std::move(over), std::move(done));
                       });
}

// True: it leads something that somebody else could lead.
bool Node::hand_over_leaderships() {
  bool leading = false;
  for (const auto& [range, replica] : replicas_) {
    if (replica->core().role() != consensus::Role::kLeader) continue;
    const consensus::Status status = replica->core().status();
    if (status.configuration.voters.size() <= 1) continue;  // nobody to hand it to
    leading = true;
    if (status.transferring_to.value != 0) continue;
    NodeId best;
    LogIndex match;
    for (const auto& peer_status : status.peers) {
      if (!peer_status.voter || !peer(peer_status.member.node).reachable) continue;
      if (best.value == 0 || peer_status.match > match) {
        best = peer_status.member.node;
        match = peer_status.match;
      }
    }
    if (best.value != 0) replica->step(consensus::Transfer{best});
  }
  end_turn();
  return leading;
}

void Node::drain(Duration limit, Task done) {
  draining_ = true;
  poll_until(
      now() + limit, [this] { return !hand_over_leaderships(); }, std::move(done));
}

void Node::flush_all(Duration limit, Task done) {
  for (const auto& [range, replica] : replicas_) replica->tablet().flush();
  const auto flushed = [this] {
    return std::all_of(replicas_.begin(), replicas_.end(), [](const auto& entry) {
      const storage::TabletStats stats = entry.second->tablet().stats();
      return stats.memtable_bytes == 0 || stats.corrupt;
    });
  };
  poll_until(now() + limit, flushed, std::move(done));
}

void Node::stop() {
  if (stopped_) return;
  for (const auto& [range, replica] : replicas_) replica->abandon();
  follower_reads_.fail_all(kShuttingDown);
  forwarding_.fail_all(kShuttingDown);
  if (log_) log_->flush();
  stopped_ = true;
  for (auto& [id, callback] : std::exchange(callbacks_, {})) callback(kCallbackLost);
}

}  // namespace cairn::server
