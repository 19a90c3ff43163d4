// A file system in memory that forgets, reorders and tears what was not synced when it crashes.
//
// Every file keeps its durable bytes beside its current ones, page by page; every directory keeps its durable
// entries and the operations that no sync_dir() has covered yet. crash() rolls back to what a power cut may
// leave behind.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "storage/io/file_system.h"

namespace cairn::storage {

struct CrashOptions {
  double keep_data = 0.5;       // chance that an unsynced unit of a file reached the device
  double keep_directory = 0.5;  // the same for an unsynced directory operation
  bool tear = true;             // the unit is a 512-byte sector; otherwise a 4 KiB page
  bool reorder = true;          // directory operations survive independently; otherwise a prefix of them does
};

// Thread safety: any thread (one mutex). Handles opened before a crash fail with kIoError after it.
class MemoryFileSystem final : public FileSystem {
 public:
  MemoryFileSystem();
  ~MemoryFileSystem() override;

  // What a power cut leaves. Same seed and same history: same outcome.
  void crash(Random& random, const CrashOptions& options = {});
  // Takes the content of `other`, which may go on being used: what is not synced there is not synced here. Own handles
  // die. With crash() after it: what a power cut would leave of `other` at this moment.
  void copy_from(const MemoryFileSystem& other);
  // Bytes of all files together; growing beyond it fails with kNoSpace.
  void set_capacity(uint64_t bytes);
  uint64_t used_bytes() const;
  // A cold file system answers every read_cached() with nullopt.
  void set_cold(bool cold);
  // Bit rot: flips one bit of the current and durable content.
  Result<void> flip_bit(const std::string& path, uint64_t bit);

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<bool> exists(const std::string& path) override;
  Result<FileStatus> status(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& dir) override;
  Result<void> create_dirs(const std::string& dir) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<void> link(const std::string& from, const std::string& to) override;
  Result<void> remove(const std::string& path) override;
  Result<void> sync_dir(const std::string& dir) override;
  Result<std::unique_ptr<FileLock>> lock(const std::string& path) override;
  Result<uint64_t> free_bytes(const std::string& dir) override;

  struct Node;   // a file or a directory
  struct State;  // shared with open handles
 private:
  std::shared_ptr<State> state_;
};

// A durable write that takes time: between the two calls a crash may keep, drop or tear it. For simulated
// devices; works on every File, also through a wrapper. Both calls get the same bytes.
inline Result<void> begin_durable(File& file, uint64_t offset, std::string_view data) {
  return file.write_at(offset, data);
}
inline Result<void> complete_durable(File& file, uint64_t offset, std::string_view data) {
  return file.write_durable(offset, data);
}

}  // namespace cairn::storage
