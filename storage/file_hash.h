// The hash of a whole file that travels with snapshots: xxh3-64.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/result.h"
#include "storage/io/file_system.h"

namespace cairn::storage {

// Of bytes that come piece by piece. Thread safety: one thread at a time.
class FileHash {
 public:
  FileHash();
  ~FileHash();
  void update(std::string_view bytes);
  uint64_t digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Reads it from its begin to its end.
Result<uint64_t> hash_file(const File& file);

}  // namespace cairn::storage
