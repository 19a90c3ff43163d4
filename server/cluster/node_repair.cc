// Replicas whose files are damaged, while their logs are not: each serves nothing and leads nothing until its leader
// has sent it a snapshot.
#include <fmt/format.h>

#include "server/cluster/node.h"

namespace cairn::server {
namespace {
constexpr Duration kRepairPause = kSecond;  // between two requests for a snapshot
}

void Node::tablet_damaged(RangeId range, const Error& error) {
  Replica* replica = find_replica(range);
  if (stopped_ || replica == nullptr) return;
  note(LogLevel::kError, fmt::format("range {}: {}", range.value, to_string(error)));
  repairs_.try_emplace(range, 0);
  replica->tablet_damaged();
  end_turn();
}

// From whoever leads, until one is installed.
void Node::ask_for_repairs() {
  const Instant at = now();
  for (auto& [range, ask_at] : repairs_) {
    const Replica* replica = find_replica(range);
    if (replica == nullptr || !replica->core().damaged() || at < ask_at) continue;
    ask_at = at + kRepairPause;
    snapshots_->ask(*replica);
  }
}

}  // namespace cairn::server
