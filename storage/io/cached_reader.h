// Reads of what the kernel has in memory.
#pragma once

#include <optional>
#include <span>

#include "base/result.h"
#include "storage/io/file_system.h"

namespace cairn::storage {

// Thread safety: on the loop of its owner.
class CachedReader {
 public:
  virtual ~CachedReader() = default;
  // File::read_cached(offset, out), by whatever way is best.
  virtual Result<std::optional<size_t>> read(const File& file, uint64_t offset, std::span<char> out) = 0;
};

// By a system call each. Where nothing better is to be had.
class PlainCachedReader final : public CachedReader {
 public:
  Result<std::optional<size_t>> read(const File& file, uint64_t offset, std::span<char> out) override {
    return file.read_cached(offset, out);
  }
};

}  // namespace cairn::storage
