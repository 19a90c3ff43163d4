// The file-system seam. Implementations: real (POSIX), memory (with crash semantics), faulty (wraps another).
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace cairn::storage {

enum class OpenMode : uint8_t {
  kRead,        // must exist
  kReadWrite,   // must exist
  kCreateNew,   // must not exist; read and write
  kReadDirect,  // must exist; reads come from the device and leave the page cache alone (O_DIRECT where there is such)
  kLog,         // must exist; read and write_durable with 4 KiB alignment (O_DIRECT | O_DSYNC where the device can)
};

// Thread safety: reads from any thread; writes from one thread at a time.
class File {
 public:
  virtual ~File() = default;
  // Returns the number of bytes read; fewer than asked only at the end of the file.
  virtual Result<size_t> read_at(uint64_t offset, std::span<char> out) const = 0;
  // As read_at, but nullopt where the bytes are not in memory and the caller would wait for a device.
  virtual Result<std::optional<size_t>> read_cached(uint64_t offset, std::span<char> out) const = 0;
  // What read_at() reads from, for reads that the kernel is asked for another way; -1: there is no such thing.
  virtual int read_descriptor() const { return -1; }
  // The same for read_cached(), which reads from it with RWF_NOWAIT.
  virtual int cached_descriptor() const { return -1; }
  virtual Result<void> write_at(uint64_t offset, std::string_view data) = 0;
  // Write and make durable in one call. On a kLog file offset and size are multiples of 4096 and the data is
  // 4096-aligned.
  virtual Result<void> write_durable(uint64_t offset, std::string_view data) = 0;
  // Where a plain write is durable once it is complete (aligned as for write_durable); -1: there is no such thing.
  virtual int durable_descriptor() const { return -1; }
  virtual Result<void> sync() = 0;  // fdatasync. A failure is final: never call again, never trust the file again.
  virtual Result<uint64_t> size() const = 0;
  virtual Result<void> truncate(uint64_t size) = 0;
  // Makes the file this large at least, on the device too; what is new reads as zeros. kNoSpace: nothing of it counts.
  virtual Result<void> allocate(uint64_t size) = 0;
};

struct FileStatus {
  uint64_t bytes = 0;
  uint64_t links = 0;  // names of a file
};

class FileLock {
 public:
  virtual ~FileLock() = default;
};

// Paths are plain strings with '/'. Thread safety: any thread.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) = 0;
  virtual Result<bool> exists(const std::string& path) = 0;
  virtual Result<FileStatus> status(const std::string& path) = 0;
  virtual Result<std::vector<std::string>> list(const std::string& dir) = 0;  // names only, sorted
  // With its parents; fine if there. Durable when it returns (the directories above are synced).
  virtual Result<void> create_dirs(const std::string& dir) = 0;
  virtual Result<void> rename(const std::string& from, const std::string& to) = 0;  // replaces `to`
  virtual Result<void> link(const std::string& from,
                            const std::string& to) = 0;       // hard link; `to` must not exist
  virtual Result<void> remove(const std::string& path) = 0;   // a file or an empty directory
  virtual Result<void> sync_dir(const std::string& dir) = 0;  // makes creations, renames and removals in it durable
  // kInUse while another process (or another holder in memory) has it.
  virtual Result<std::unique_ptr<FileLock>> lock(const std::string& path) = 0;
  virtual Result<uint64_t> free_bytes(const std::string& dir) = 0;
};

// Whole small files. write_file_atomic: temporary file, sync, rename, sync of the directory.
Result<std::string> read_file(FileSystem& fs, const std::string& path);
Result<void> write_file_atomic(FileSystem& fs, const std::string& path, std::string_view content);
Result<void> remove_tree(FileSystem& fs,
                         const std::string& dir);  // the directory, its files and sub-directories
std::string join_path(std::string_view dir, std::string_view name);
std::string parent_dir(std::string_view path);

}  // namespace cairn::storage
