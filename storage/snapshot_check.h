// Is a received snapshot what was sent? To be asked before anything depends on it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "storage/io/file_system.h"
#include "storage/tablet.h"

namespace cairn::storage {

struct SnapshotTable;

// Size and hash of one file of the snapshot in `dir`. kCorruption: it is another than was described.
Result<void> check_snapshot_file(FileSystem& fs, const std::string& dir, const SnapshotFile& file);

// Reads a snapshot from the file system and compares it with its manifest, in slices: every file is there, has the
// bytes that were sent, and is an SSTable that this binary reads. Changes nothing. Thread safety: one thread at a time.
class SnapshotCheck {
 public:
  SnapshotCheck(FileSystem& fs, std::string dir, std::string manifest);
  ~SnapshotCheck();

  // True while more remains. kCorruption or kNotFound: the snapshot is damaged; kUnsupported: a newer version made it.
  Result<bool> step();

 private:
  struct State;
  FileSystem& fs_;
  const std::string dir_, manifest_;
  std::unique_ptr<State> state_;  // once the manifest is decoded
};

}  // namespace cairn::storage
