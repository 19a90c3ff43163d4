#include "storage/io/real_file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <system_error>

namespace cairn::storage {
namespace {

constexpr uint64_t kDirectAlignment = 4096;
constexpr uint64_t kDirectBytes = 256u << 10;  // of one direct read
constexpr uint64_t kLargeWrite = 128u << 10;
constexpr uint64_t kWritebackBytes = 1u << 20;  // of large writes, before the device is told to go ahead

Error errno_error(int code, std::string_view what, const std::string& path) {
  ErrorCode kind = ErrorCode::kIoError;
  if (code == ENOSPC || code == EDQUOT) kind = ErrorCode::kNoSpace;
  if (code == ENOENT) kind = ErrorCode::kNotFound;
  if (code == EEXIST) kind = ErrorCode::kAlreadyExists;
  if (code == EWOULDBLOCK) kind = ErrorCode::kInUse;
  return Error{kind, std::string(what) + " of " + path + ": " + std::generic_category().message(code)};
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

struct FreeDeleter {
  void operator()(char* bytes) const { std::free(bytes); }
};

bool lives_in_memory(int fd) {
  struct statfs info {};
  if (::fstatfs(fd, &info) != 0) return false;
  return info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC;
}

class RealFile final : public File {
 public:
  RealFile(int fd, std::string path, bool dsync, bool direct)
      : fd_(fd), path_(std::move(path)), dsync_(dsync), direct_(direct) {}

  Result<size_t> read_at(uint64_t offset, std::span<char> out) const override {
    return direct_ ? read_aligned(offset, out) : read_plain(offset, out);
  }

  Result<size_t> read_plain(uint64_t offset, std::span<char> out) const {
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t n = ::pread(fd_.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return errno_error(errno, "read", path_);
      if (n == 0) break;
      done += static_cast<size_t>(n);
    }
    return done;
  }

  // By way of a buffer that begins and ends, as the part of the file does, at a multiple of the device's block.
  Result<size_t> read_aligned(uint64_t offset, std::span<char> out) const {
    const std::unique_ptr<char, FreeDeleter> buffer(
        static_cast<char*>(std::aligned_alloc(kDirectAlignment, kDirectBytes)));
    if (!buffer) return Error{ErrorCode::kIoError, "no memory to read " + path_};
    size_t done = 0;
    while (done < out.size()) {
      const uint64_t at = offset + done, begin = at / kDirectAlignment * kDirectAlignment, skip = at - begin;
      const uint64_t wanted = std::min<uint64_t>(skip + out.size() - done, kDirectBytes);
      const uint64_t bytes = (wanted + kDirectAlignment - 1) / kDirectAlignment * kDirectAlignment;
      CAIRN_TRY(const size_t got, read_plain(begin, {buffer.get(), bytes}));
      if (got <= skip) break;
      const size_t part = std::min<size_t>(got - skip, out.size() - done);
      std::memcpy(out.data() + done, buffer.get() + skip, part);
      done += part;
      if (got < bytes) break;  // the end of the file
    }
    return done;
  }

  Result<std::optional<size_t>> read_cached(uint64_t offset, std::span<char> out) const override {
    if (direct_) return std::optional<size_t>();
    if (mode_.load(std::memory_order_relaxed) == CachedMode::kPlain) {
      CAIRN_TRY(const size_t got, read_at(offset, out));
      return std::optional<size_t>(got);
    }
    if (mode_.load(std::memory_order_relaxed) == CachedMode::kNever) return std::optional<size_t>();
    iovec part{out.data(), out.size()};
    ssize_t n;
    do {
      n = ::preadv2(fd_.get(), &part, 1, static_cast<off_t>(offset), RWF_NOWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) return std::optional<size_t>();
    if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL)) {
      // In tmpfs every page is in memory already; elsewhere nothing can be promised without waiting.
      const bool plain = lives_in_memory(fd_.get());
      mode_.store(plain ? CachedMode::kPlain : CachedMode::kNever, std::memory_order_relaxed);
      return read_cached(offset, out);
    }
    if (n < 0) return errno_error(errno, "read", path_);
    if (static_cast<size_t>(n) == out.size()) return std::optional<size_t>(out.size());
    // Short: either the end of the file, or the rest is not in memory.
    CAIRN_TRY(const uint64_t end, size());
    if (offset + static_cast<uint64_t>(n) >= end) return std::optional<size_t>(static_cast<size_t>(n));
    return std::optional<size_t>();
  }

  int read_descriptor() const override { return fd_.get(); }
  int cached_descriptor() const override {
    return direct_ || mode_.load(std::memory_order_relaxed) != CachedMode::kNowait ? -1 : fd_.get();
  }

  Result<void> write_at(uint64_t offset, std::string_view data) override {
    const uint64_t bytes = data.size();
    while (!data.empty()) {
      const ssize_t n = ::pwrite(fd_.get(), data.data(), data.size(), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return errno_error(errno, "write", path_);
      offset += static_cast<uint64_t>(n);
      data.remove_prefix(static_cast<size_t>(n));
    }
    if (bytes >= kLargeWrite && !dsync_) start_writeback(bytes);
    return {};
  }

  Result<void> write_durable(uint64_t offset, std::string_view data) override {
    CAIRN_TRY_VOID(write_at(offset, data));
    if (dsync_) return {};
    return sync();
  }

  int durable_descriptor() const override { return dsync_ ? fd_.get() : -1; }

  Result<void> sync() override {
    if (::fdatasync(fd_.get()) != 0) return errno_error(errno, "sync", path_);
    return {};
  }

  Result<uint64_t> size() const override {
    struct stat info {};
    if (::fstat(fd_.get(), &info) != 0) return errno_error(errno, "stat", path_);
    return static_cast<uint64_t>(info.st_size);
  }

  Result<void> truncate(uint64_t size) override {
    int rc;
    do {
      rc = ::ftruncate(fd_.get(), static_cast<off_t>(size));
    } while (rc != 0 && errno == EINTR);
    if (rc != 0) return errno_error(errno, "truncate", path_);
    return {};
  }

  Result<void> allocate(uint64_t size) override {
    int code;
    do {
      code = ::posix_fallocate(fd_.get(), 0, static_cast<off_t>(size));
    } while (code == EINTR);
    if (code != 0) return errno_error(code, "allocation", path_);
    return {};
  }

 private:
  // Large files leave for the device as they are written: the sync that ends them has little left to wait for, and
  // others' small writes do not find themselves behind all of it. A failure will be the sync's to report.
  void start_writeback(uint64_t bytes) {
    unstarted_ += bytes;
    if (unstarted_ < kWritebackBytes) return;
    (void)::sync_file_range(fd_.get(), 0, 0, SYNC_FILE_RANGE_WRITE);
    unstarted_ = 0;
  }

  enum class CachedMode : uint8_t { kNowait, kPlain, kNever };
  Descriptor fd_;
  std::string path_;
  bool dsync_;              // every write is durable by itself
  bool direct_;             // reads by read_aligned() only
  uint64_t unstarted_ = 0;  // bytes of large writes since the device was last told to go ahead
  mutable std::atomic<CachedMode> mode_{CachedMode::kNowait};
};

class RealLock final : public FileLock {
 public:
  explicit RealLock(int fd) : fd_(fd) {}

 private:
  Descriptor fd_;
};

class RealFileSystem final : public FileSystem {
 public:
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
    int flags = O_CLOEXEC;
    if (mode == OpenMode::kRead) flags |= O_RDONLY;
    if (mode == OpenMode::kReadWrite) flags |= O_RDWR;
    if (mode == OpenMode::kCreateNew) flags |= O_RDWR | O_CREAT | O_EXCL;
    if (mode == OpenMode::kLog) flags |= O_RDWR | O_DIRECT | O_DSYNC;
    if (mode == OpenMode::kReadDirect) flags |= O_RDONLY | O_DIRECT;
    int fd = retry_open(path, flags);
    if (fd < 0 && errno == EINVAL && (flags & O_DIRECT) != 0) fd = retry_open(path, flags & ~O_DIRECT);
    if (fd < 0) return errno_error(errno, "open", path);
    return std::unique_ptr<File>(
        std::make_unique<RealFile>(fd, path, mode == OpenMode::kLog, mode == OpenMode::kReadDirect));
  }

  Result<bool> exists(const std::string& path) override {
    struct stat info {};
    if (::stat(path.c_str(), &info) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return errno_error(errno, "stat", path);
  }

  Result<FileStatus> status(const std::string& path) override {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) return errno_error(errno, "stat", path);
    return FileStatus{static_cast<uint64_t>(info.st_size), static_cast<uint64_t>(info.st_nlink)};
  }

  Result<std::vector<std::string>> list(const std::string& dir) override {
    DIR* handle = ::opendir(dir.c_str());
    if (handle == nullptr) return errno_error(errno, "listing", dir);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(handle)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    const int code = errno;
    ::closedir(handle);
    if (code != 0) return errno_error(code, "listing", dir);
    std::sort(names.begin(), names.end());
    return names;
  }

  Result<void> create_dirs(const std::string& dir) override {
    if (dir.empty() || dir == "/" || dir == ".") return {};
    CAIRN_TRY(const bool there, exists(dir));
    if (there) return {};
    const std::string parent = parent_dir(dir);
    CAIRN_TRY_VOID(create_dirs(parent));
    if (::mkdir(dir.c_str(), 0755) != 0 && errno != EEXIST) return errno_error(errno, "mkdir", dir);
    return sync_dir(parent);
  }

  Result<void> rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return errno_error(errno, "rename to " + to, from);
    return {};
  }

  Result<void> link(const std::string& from, const std::string& to) override {
    if (::link(from.c_str(), to.c_str()) != 0) return errno_error(errno, "link to " + to, from);
    return {};
  }

  Result<void> remove(const std::string& path) override {
    if (std::remove(path.c_str()) != 0) return errno_error(errno, "removal", path);
    return {};
  }

  Result<void> sync_dir(const std::string& dir) override {
    const Descriptor fd(retry_open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.get() < 0) return errno_error(errno, "open", dir);
    if (::fsync(fd.get()) != 0) return errno_error(errno, "sync", dir);
    return {};
  }

  Result<std::unique_ptr<FileLock>> lock(const std::string& path) override {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return errno_error(errno, "open", path);
    auto held = std::make_unique<RealLock>(fd);
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) return errno_error(errno, "lock", path);
    return std::unique_ptr<FileLock>(std::move(held));
  }

  Result<uint64_t> free_bytes(const std::string& dir) override {
    struct statvfs info {};
    if (::statvfs(dir.c_str(), &info) != 0) return errno_error(errno, "statvfs", dir);
    return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
  }

 private:
  static int retry_open(const std::string& path, int flags) {
    int fd;
    do {
      fd = ::open(path.c_str(), flags, 0644);
    } while (fd < 0 && errno == EINTR);
    return fd;
  }
};

}  // namespace

std::unique_ptr<FileSystem> make_real_file_system() { return std::make_unique<RealFileSystem>(); }

}  // namespace cairn::storage
