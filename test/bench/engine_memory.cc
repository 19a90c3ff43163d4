#include "test/bench/engine_memory.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace cairn::bench {
namespace {

bool write_to(const std::string& path, uint64_t number) {
  std::ofstream out(path);
  out << number;
  out.close();
  return !out.fail();
}

}  // namespace

MemoryBound::MemoryBound(uint64_t bytes) {
  const struct {
    const char* mount;
    const char* limit;
  } kVersions[] = {{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, {"/sys/fs/cgroup", "memory.max"}};
  for (const auto& version : kVersions) {
    const std::string group = version.mount + ("/cairn-bench-" + std::to_string(::getpid()));
    std::error_code failed;
    if (!std::filesystem::create_directory(group, failed)) continue;
    group_ = group;
    if (write_to(group + "/" + version.limit, bytes)) return;
    ::rmdir(group.c_str());
    group_.clear();
  }
}

MemoryBound::~MemoryBound() {
  if (works()) ::rmdir(group_.c_str());
}

void MemoryBound::join() const {
  if (!write_to(group_ + "/cgroup.procs", static_cast<uint64_t>(::getpid()))) {
    throw std::runtime_error("cannot enter " + group_);
  }
}

void drop_from_page_cache(const std::string& dir) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir)) {
    if (!entry.is_regular_file()) continue;
    const int fd = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    ::close(fd);
  }
}

}  // namespace cairn::bench
