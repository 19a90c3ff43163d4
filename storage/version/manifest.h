// The log of edits of one shard's SSTables: DATA/shard-N/MANIFEST-n, named by CURRENT.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "storage/io/file_system.h"
#include "storage/version/edit.h"

namespace cairn::storage {

// Thread safety: commit() from any thread, one at a time under a mutex; the call order is the order on disk.
class Manifest {
 public:
  // Reads what CURRENT names, or starts afresh, and writes it anew into the next file: a torn tail is never
  // appended to.
  static Result<std::unique_ptr<Manifest>> open(FileSystem& fs, const std::string& dir);

  // Durable when it returns. False: the edit came too late (see ManifestState::apply), or creates a tablet for a range
  // that has one which it does not drop; it was not written then.
  // kNoSpace: nothing was written, may be tried again. Any other error is final.
  Result<bool> commit(const std::vector<TabletEdit>& edits);
  ManifestState state() const;
  bool has(uint64_t life) const;
  std::vector<TabletEdit> drops_of(RangeId range) const;  // what takes away the tablet of a range, if there is one
  uint64_t new_life();

 private:
  Manifest(FileSystem& fs, std::string dir) : fs_(fs), dir_(std::move(dir)) {}
  Result<void> load();
  Result<void> roll(uint32_t features = 0);
  bool taken(const std::vector<TabletEdit>& edits) const;

  FileSystem& fs_;
  std::string dir_;
  mutable std::mutex mutex_;
  ManifestState state_;
  std::unique_ptr<File> file_;
  uint64_t file_number_ = 0;
  std::string file_name_;
  uint32_t features_ = 0;  // of the present file
  uint64_t file_bytes_ = 0;
  uint64_t snapshot_bytes_ = 0;
  uint64_t next_record_ = 0;
  uint64_t last_life_ = 0;
  std::optional<Error> broken_;
};

}  // namespace cairn::storage
