// Compaction strategies are pure functions from a description of a tablet to a task, or nothing.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace cairn::storage {

struct SstableInfo {
  uint64_t id = 0;   // unique per node
  uint64_t run = 0;  // tables of one sorted run share it; a higher run is newer
  uint32_t level = 0;
  std::string smallest;  // first and last row key, both inside
  std::string largest;
  uint64_t bytes = 0;
  uint64_t entries = 0;
  uint64_t tombstones = 0;  // point and prefix
  SequenceNumber min_sequence;
  SequenceNumber max_sequence;
  uint64_t min_time_ms = 0;  // write times of the entries
  uint64_t max_time_ms = 0;
};

struct LsmView {
  std::span<const SstableInfo> tables;  // newest run first; within a run by smallest key
  std::span<const uint64_t> busy;       // ids that are inputs of a compaction under way
  uint64_t now_ms = 0;                  // newest applied entry time: the tablet's own clock
};

struct CompactionPlan {
  std::vector<uint64_t> inputs;  // whole runs, adjacent in age
  uint32_t output_level = 0;
  uint64_t output_table_bytes_max = 0;  // a new table of the same run starts above this size
  std::string reason;                   // for logs, the admin API and golden files
};

// Thread safety: stateless.
class CompactionStrategy {
 public:
  virtual ~CompactionStrategy() = default;
  virtual std::string_view name() const = 0;
  virtual std::optional<CompactionPlan> pick(const LsmView& view) const = 0;
};

struct SizeTieredOptions {
  uint32_t min_threshold = 4;   // adjacent runs of similar size before they are compacted; [2, max_threshold]
  uint32_t max_threshold = 32;  // most runs of one compaction; bounds its temporary disk use
  double bucket_low = 0.5;      // a run is similar if its size is within [low, high] x the average of its bucket
  double bucket_high = 1.5;
  uint64_t min_run_bytes = 1u << 20;  // smaller runs all count as similar
  uint64_t table_bytes_max = 64u << 20;
  Result<void> validate() const;
};
std::unique_ptr<CompactionStrategy> make_size_tiered(const SizeTieredOptions& options);

}  // namespace cairn::storage
