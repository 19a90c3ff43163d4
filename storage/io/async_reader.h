// Reads that may wait for a device, many of them at once.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "base/executor.h"
#include "base/result.h"
#include "storage/io/file_system.h"

namespace cairn::storage {

// Thread safety: on the loop of its owner.
class AsyncReader {
 public:
  using Done = std::move_only_function<void(Result<size_t>)>;
  virtual ~AsyncReader() = default;
  // File::read_at(offset, out). `file` and `out` stay valid until `done` has run or was destroyed, which is after
  // nobody writes to `out` any more. `done` runs on the loop, never inside this call; with the reader's end it is
  // destroyed instead.
  virtual void read(const File& file, uint64_t offset, std::span<char> out, Done done) = 0;
};

// Reads on background threads, as many at once as there are. Where nothing better is to be had.
class BackgroundReader final : public AsyncReader {
 public:
  BackgroundReader(BackgroundExecutor& background, Executor& loop) : background_(background), loop_(loop) {}
  void read(const File& file, uint64_t offset, std::span<char> out, Done done) override;

 private:
  BackgroundExecutor& background_;
  Executor& loop_;
};

}  // namespace cairn::storage
