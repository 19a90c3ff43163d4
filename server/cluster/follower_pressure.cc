#include "server/cluster/follower_pressure.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "consensus/quorum.h"

namespace cairn::server {
namespace {
constexpr double kNever = std::numeric_limits<double>::infinity();
}

void FollowerPressure::report(NodeId node, bool reachable, double delay_ns_per_byte) {
  const double delay = reachable ? std::max(delay_ns_per_byte, 0.0) : kNever;
  if (delay == 0) {
    delays_.erase(node);
  } else {
    delays_[node] = delay;
  }
  lagging_ = static_cast<size_t>(std::ranges::count_if(delays_, [](const auto& d) { return d.second != kNever; }));
}

double FollowerPressure::delay(const std::vector<consensus::Member>& voters, NodeId self) const {
  if (lagging_ == 0) return 0;  // the usual case
  const size_t needed = consensus::majority(voters.size());
  std::vector<double> delays;
  size_t counted = 0;
  for (const consensus::Member& voter : voters) {
    if (voter.node == self) {
      ++counted;
      continue;
    }
    const auto found = delays_.find(voter.node);
    delays.push_back(found == delays_.end() ? 0 : found->second);
  }
  if (needed <= counted || delays.size() < needed - counted) return 0;
  const auto last = delays.begin() + static_cast<ptrdiff_t>(needed - counted - 1);
  std::ranges::nth_element(delays, last);
  return *last == kNever ? 0 : *last;  // without a majority nothing is committed anyway
}

}  // namespace cairn::server
