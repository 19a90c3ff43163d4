// Picks that any strategy may be followed by, each a pure function. Internal to storage/compaction/.
#pragma once

#include <optional>
#include <vector>

#include "storage/compaction/runs.h"

namespace cairn::storage {

// Of the tables whose rows are all dead, those that hide nothing: no older table that stays may have their keys.
std::optional<CompactionPlan> drop_dead(const LsmView& view);

// Dead as a whole, but older rows lie below: few tombstones are left of it (filters tell), and it blocks nothing.
std::optional<CompactionPlan> shrink_dead(const LsmView& view, const std::vector<RunView>& runs);

// A table that is full of tombstones, with all that they may hide, as soon as enough of both would go: whoever scans
// there passes them all.
std::optional<CompactionPlan> dense_tombstones(const LsmView& view, const std::vector<RunView>& runs,
                                               const TombstoneOptions& options);

// What scans have passed in vain for long enough.
std::optional<CompactionPlan> passed_in_vain(const LsmView& view, const std::vector<RunView>& runs,
                                             const ReadOptions& options);

// A table with some tombstones that has got old: rewritten if nothing lies below, otherwise merged with what does in
// the next run.
std::optional<CompactionPlan> old_tombstones(const LsmView& view, const std::vector<RunView>& runs,
                                             const TombstoneOptions& options);

}  // namespace cairn::storage
