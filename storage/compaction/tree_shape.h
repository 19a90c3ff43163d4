// What an operator wants to know about the sorted runs of a tablet.
#pragma once

#include <algorithm>
#include <cstdint>

#include "storage/compaction/strategy.h"

namespace cairn::storage {

struct TreeShape {
  uint64_t pending_bytes = 0;         // that the strategy's picks still want to read
  uint64_t reshape_bytes = 0;         // of these, what another strategy has left
  uint64_t tier0_tables = 0;          // see CompactionStrategy::tier0_runs()
  uint64_t overlap_depth = 0;         // most tables whose spans have a key in common
  uint64_t droppable_tombstones = 0;  // deletions and expired rows, about, in tables with nothing older below them
  uint64_t expired_blocked = 0;       // tables of dead rows that hide older ones and cannot just go
  void add(const TreeShape& other) {
    pending_bytes += other.pending_bytes;
    reshape_bytes += other.reshape_bytes;
    tier0_tables += other.tier0_tables;
    overlap_depth = std::max(overlap_depth, other.overlap_depth);
    droppable_tombstones += other.droppable_tombstones;
    expired_blocked += other.expired_blocked;
  }
};

// Pure; all but `reshape_bytes`. About n log n of the tables, and what the picks take.
TreeShape measure_tree(const LsmView& view, const CompactionStrategy& strategy);

}  // namespace cairn::storage
