#include "storage/io/faulty_file_system.h"

namespace cairn::storage {

struct FaultyFileSystem::Shared {
  FaultPolicy policy;
  std::array<Counter, kFileOpCount> calls;

  Result<void> check(FileOp op, const std::string& path) {
    calls[static_cast<size_t>(op)].add();
    if (policy.fail) {
      if (auto error = policy.fail(op, path)) return *std::move(error);
    }
    return {};
  }
};

namespace {

class FaultyFile final : public File {
 public:
  FaultyFile(std::unique_ptr<File> inner, std::string path, std::shared_ptr<FaultyFileSystem::Shared> shared)
      : inner_(std::move(inner)), path_(std::move(path)), shared_(std::move(shared)) {}

  Result<size_t> read_at(uint64_t offset, std::span<char> out) const override {
    CAIRN_TRY_VOID(shared_->check(FileOp::kRead, path_));
    CAIRN_TRY(size_t got, inner_->read_at(offset, out));
    if (shared_->policy.after_read) shared_->policy.after_read(path_, offset, out, got);
    return got;
  }
  Result<std::optional<size_t>> read_cached(uint64_t offset, std::span<char> out) const override {
    // kUnavailable from the policy: not an error, but not in the page cache.
    if (const auto checked = shared_->check(FileOp::kReadCached, path_); !checked) {
      if (checked.error().code == ErrorCode::kUnavailable) return std::optional<size_t>();
      return checked.error();
    }
    CAIRN_TRY(auto got, inner_->read_cached(offset, out));
    if (got && shared_->policy.after_read) shared_->policy.after_read(path_, offset, out, *got);
    return got;
  }
  Result<void> write_at(uint64_t offset, std::string_view data) override {
    CAIRN_TRY_VOID(shared_->check(FileOp::kWrite, path_));
    return inner_->write_at(offset, data);
  }
  Result<void> write_durable(uint64_t offset, std::string_view data) override {
    CAIRN_TRY_VOID(shared_->check(FileOp::kWriteDurable, path_));
    return inner_->write_durable(offset, data);
  }
  Result<void> sync() override {
    CAIRN_TRY_VOID(shared_->check(FileOp::kSync, path_));
    return inner_->sync();
  }
  Result<uint64_t> size() const override {
    CAIRN_TRY_VOID(shared_->check(FileOp::kSize, path_));
    return inner_->size();
  }
  Result<void> truncate(uint64_t size) override {
    CAIRN_TRY_VOID(shared_->check(FileOp::kTruncate, path_));
    return inner_->truncate(size);
  }
  Result<void> allocate(uint64_t size) override {
    CAIRN_TRY_VOID(shared_->check(FileOp::kWrite, path_));
    return inner_->allocate(size);
  }

 private:
  std::unique_ptr<File> inner_;
  std::string path_;
  std::shared_ptr<FaultyFileSystem::Shared> shared_;
};

}  // namespace

FaultyFileSystem::FaultyFileSystem(FileSystem& inner) : inner_(inner), shared_(std::make_shared<Shared>()) {}
void FaultyFileSystem::set_policy(FaultPolicy policy) { shared_->policy = std::move(policy); }
uint64_t FaultyFileSystem::calls(FileOp op) const { return shared_->calls[static_cast<size_t>(op)].get(); }

Result<std::unique_ptr<File>> FaultyFileSystem::open(const std::string& path, OpenMode mode) {
  CAIRN_TRY_VOID(shared_->check(FileOp::kOpen, path));
  CAIRN_TRY(auto file, inner_.open(path, mode));
  return std::unique_ptr<File>(std::make_unique<FaultyFile>(std::move(file), path, shared_));
}
Result<bool> FaultyFileSystem::exists(const std::string& path) {
  CAIRN_TRY_VOID(shared_->check(FileOp::kExists, path));
  return inner_.exists(path);
}
Result<FileStatus> FaultyFileSystem::status(const std::string& path) {
  CAIRN_TRY_VOID(shared_->check(FileOp::kSize, path));
  return inner_.status(path);
}
Result<std::vector<std::string>> FaultyFileSystem::list(const std::string& dir) {
  CAIRN_TRY_VOID(shared_->check(FileOp::kList, dir));
  return inner_.list(dir);
}
Result<void> FaultyFileSystem::create_dirs(const std::string& dir) {
  CAIRN_TRY_VOID(shared_->check(FileOp::kCreateDirs, dir));
  return inner_.create_dirs(dir);
}
Result<void> FaultyFileSystem::rename(const std::string& from, const std::string& to) {
  CAIRN_TRY_VOID(shared_->check(FileOp::kRename, from));
  return inner_.rename(from, to);
}
Result<void> FaultyFileSystem::link(const std::string& from, const std::string& to) {
  CAIRN_TRY_VOID(shared_->check(FileOp::kLink, from));
  return inner_.link(from, to);
}
Result<void> FaultyFileSystem::remove(const std::string& path) {
  CAIRN_TRY_VOID(shared_->check(FileOp::kRemove, path));
  return inner_.remove(path);
}
Result<void> FaultyFileSystem::sync_dir(const std::string& dir) {
  CAIRN_TRY_VOID(shared_->check(FileOp::kSyncDir, dir));
  return inner_.sync_dir(dir);
}
Result<std::unique_ptr<FileLock>> FaultyFileSystem::lock(const std::string& path) {
  CAIRN_TRY_VOID(shared_->check(FileOp::kLock, path));
  return inner_.lock(path);
}
Result<uint64_t> FaultyFileSystem::free_bytes(const std::string& dir) {
  CAIRN_TRY_VOID(shared_->check(FileOp::kFreeBytes, dir));
  return inner_.free_bytes(dir);
}

}  // namespace cairn::storage
