// Wraps another file system and makes calls fail, reads come short, and bits flip.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/metrics.h"
#include "storage/io/file_system.h"

namespace cairn::storage {

enum class FileOp : uint8_t {
  kOpen,
  kRead,
  kReadCached,
  kWrite,
  kWriteDurable,
  kSync,
  kSize,
  kTruncate,
  kExists,
  kList,
  kCreateDirs,
  kRename,
  kLink,
  kRemove,
  kSyncDir,
  kLock,
  kFreeBytes,
};
inline constexpr size_t kFileOpCount = 17;

struct FaultPolicy {
  // Asked before every call; an error makes it fail without effect. For a rename or link the path is the
  // source.
  std::function<std::optional<Error>(FileOp op, const std::string& path)> fail = {};
  // May change what a read returned, and shorten `got`.
  std::function<void(const std::string& path, uint64_t offset, std::span<char> data, size_t& got)> after_read = {};
};

// Thread safety: as the wrapped one; set_policy() only while nobody calls. `inner` outlives this.
class FaultyFileSystem final : public FileSystem {
 public:
  explicit FaultyFileSystem(FileSystem& inner);
  void set_policy(FaultPolicy policy);
  uint64_t calls(FileOp op) const;

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

  struct Shared;  // with the open files
 private:
  FileSystem& inner_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace cairn::storage
