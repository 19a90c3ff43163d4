#include "storage/disk_reserve.h"

#include <algorithm>
#include <utility>

namespace cairn::storage {
namespace {
constexpr uint64_t kToStart = 16u << 20;  // a segment of the log, a manifest, flushes of what is replayed
}

DiskReserve::DiskReserve(FileSystem& fs, std::string path, uint64_t bytes)
    : fs_(fs), path_(std::move(path)), wanted_(bytes) {}

Result<void> DiskReserve::start() {
  CAIRN_TRY(const uint64_t free, fs_.free_bytes(parent_dir(path_)));
  CAIRN_TRY(const bool there, fs_.exists(path_));
  uint64_t size = 0;
  if (there) {
    CAIRN_TRY(const auto file, fs_.open(path_, OpenMode::kRead));
    CAIRN_TRY(size, file->size());
  }
  // One that is there keeps its size, however little is free now.
  bytes_ = std::min(wanted_, std::max(size, free / 100));
  if (there && size == bytes_ && free >= kToStart) return {};
  if (there) CAIRN_TRY_VOID(fs_.remove(path_));
  if (wanted_ == 0) return {};
  held_ = free + size >= 2 * bytes_ + kToStart && take(bytes_);
  return {};
}

bool DiskReserve::release() {
  if (!held_ || bytes_ == 0) return false;
  if (!fs_.remove(path_)) return false;
  held_ = false;
  return true;
}

void DiskReserve::check() {
  if (held_) return;
  const auto free = fs_.free_bytes(parent_dir(path_));
  if (free && *free >= 2 * bytes_ + kToStart) held_ = take(bytes_);
}

bool DiskReserve::take(uint64_t bytes) {
  auto file = fs_.open(path_, OpenMode::kCreateNew);
  if (!file) return false;
  if ((*file)->allocate(bytes)) return true;
  (void)fs_.remove(path_);  // whatever it takes is tried again, and found by the next start
  return false;
}

}  // namespace cairn::storage
