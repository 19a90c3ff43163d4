// Until when a leader may serve reads alone. Arithmetic only; what makes it safe is written in
// docs/consensus.md.
#pragma once

#include <cstdint>

#include "base/types.h"
#include "consensus/configuration.h"
#include "consensus/quorum.h"

namespace cairn::consensus {

// The instant (exclusive) up to which a quorum has promised to elect nobody else. `bound(node)` is the end of
// the promise of another voter, 0 for none. The leader itself sets no limit: it elects nobody while it leads.
// Learners do not count.
template <class Bound>
Instant lease_end(const Configuration& configuration, NodeId self, Bound&& bound) {
  return quorum_value(configuration, [&](NodeId node) -> uint64_t { return node == self ? kNever : bound(node); });
}

}  // namespace cairn::consensus
