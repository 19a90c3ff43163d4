// What a pass over the SSTables of a node has done and found.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace cairn::storage {

struct ScrubFinding {
  RangeId range;
  std::string damage;  // file and what is wrong with it
};

struct ScrubStatus {
  enum class State : uint8_t { kNever, kRunning, kDone, kCancelled };
  static constexpr size_t kFindingsMax = 100;

  State state = State::kNever;
  uint64_t started_ms = 0;  // wall time; of the newest pass
  uint64_t ended_ms = 0;    // of the newest pass that was complete; 0: none was
  uint64_t files = 0;       // to be read, as of the start
  uint64_t files_done = 0;  // read, or gone meanwhile: a compaction reads its inputs too
  uint64_t bytes = 0;       // of the files to be read
  uint64_t bytes_done = 0;
  uint64_t errors = 0;                 // files with damage, or that could not be judged
  std::vector<ScrubFinding> findings;  // the first kFindingsMax of them
};

constexpr std::string_view to_string(ScrubStatus::State state) {
  constexpr std::string_view kNames[] = {"never", "running", "done", "cancelled"};
  return kNames[static_cast<size_t>(state)];
}

}  // namespace cairn::storage
