// Reads all segments of one log directory and rebuilds its groups. Internal to the shared log.
#pragma once

#include <string>
#include <vector>

#include "storage/log/group_table.h"
#include "storage/log/shared_log.h"

namespace cairn::storage {

struct RecoveredSegment {
  uint64_t sequence = 0;
  uint64_t file_bytes = 0;
  uint64_t data_bytes = 0;
};

struct RecoveredStream {
  std::vector<RecoveredSegment> segments;  // with live data, oldest first
  std::vector<std::string> spares;         // files that hold nothing recovery needs
  uint64_t next_batch = 1;
  uint64_t next_segment = 1;
  uint64_t records = 0;
};

// Changes nothing on disk, except that the tail is synced: what was read may have been in the page cache
// only.
Result<RecoveredStream> recover_log(FileSystem& fs, const std::string& dir, GroupTable& table, LogRecovery& recovery);

}  // namespace cairn::storage
