// What the shared log remembers about its groups: where their live records are, and the newest small records
// themselves, so that those can be written again when an old segment goes.
//
// A record's segment is a lower bound: it is the segment being written when the record was added. Segments
// are freed in order, so a pin on an earlier segment also holds the later one.
#pragma once

#include <array>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "storage/log/log_format.h"
#include "storage/log/shared_log.h"

namespace cairn::storage {

// Thread safety: the owner's loop.
class GroupTable {
 public:
  // Takes note of one record. Amortised O(1).
  void note(const Record& record, uint64_t segment);

  bool holds_entries(uint64_t segment) const;  // in exactly this segment
  bool holds_small_records(uint64_t segment) const;
  // The newest small records whose place is `segment`, in order of the groups. Views live until the next
  // note().
  std::vector<Record> small_records(uint64_t segment) const;
  // Groups whose oldest live entry is at or before `segment`, sorted.
  std::vector<RangeId> groups_up_to(uint64_t segment) const;

 private:
  struct Chunk {
    uint64_t segment;
    LogIndex low, high;
  };
  enum Small : size_t { kHard, kStart, kCreate, kTombstone, kSmallCount };
  struct Group {
    std::vector<Chunk> chunks;                  // oldest first
    std::array<uint64_t, kSmallCount> place{};  // segment of the newest one; 0 = none
    HardStateRecord hard_state;
    LogStart start;
    uint64_t snapshot_id = 0;
    ReplicaId replica;
    std::string descriptor;
    ReplicaId tombstone;
  };
  struct Pins {
    uint64_t chunks = 0;
    uint64_t small = 0;
  };

  void add_entry(Group& group, LogIndex index, uint64_t segment);
  void drop_from(Group& group, LogIndex index);
  void drop_up_to(Group& group, LogIndex index);
  void drop_chunks(Group& group);
  void place_small(Group& group, Small which, uint64_t segment);

  std::unordered_map<RangeId, Group> groups_;
  std::map<uint64_t, Pins> pins_;
};

}  // namespace cairn::storage
