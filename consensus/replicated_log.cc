#include "consensus/replicated_log.h"

namespace cairn::consensus {

std::string_view to_string(Role role) {
  switch (role) {
    case Role::kFollower: return "follower";
    case Role::kPreCandidate: return "pre-candidate";
    case Role::kCandidate: return "candidate";
    case Role::kLeader: return "leader";
  }
  return "?";
}

void Output::clear() {
  writes.clear();
  send_now.clear();
  send_after.clear();
  committed.clear();
  reads.clear();
  need_snapshot.clear();
  proposed.reset();
  events.clear();
  status_changed = false;
}

}  // namespace cairn::consensus
