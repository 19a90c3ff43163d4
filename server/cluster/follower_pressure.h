// What followers say about their flushes: a leader that only looks at its own memory would fill theirs.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

#include "base/types.h"
#include "consensus/configuration.h"

namespace cairn::server {

// Pure. Thread safety: one thread.
class FollowerPressure {
 public:
  // What a node has said last: storage::write_delay_ns_per_byte() of its memtables. An unreachable one says nothing.
  void report(NodeId node, bool reachable, double delay_ns_per_byte);
  // Nanoseconds from a write of a group to the next one, for every byte of it, so that a majority of its voters keeps
  // up: of the others that a commit needs beside `self`, the slowest of the fastest. 0: none of these lags. One slow
  // voter of three throttles nobody.
  double delay(const std::vector<consensus::Member>& voters, NodeId self) const;

 private:
  std::map<NodeId, double> delays_;  // none: not slow; infinity: not reachable
  size_t lagging_ = 0;               // reachable, and slow
};

}  // namespace cairn::server
