// Reads of what the kernel has in memory, without a system call each.
#pragma once

#include <liburing.h>

#include <functional>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "server/runtime/read_polling.h"
#include "storage/io/cached_reader.h"

namespace cairn::server {

// While ReadPolling says so, reads go to a thread of the kernel (IORING_SETUP_SQPOLL, io_uring_setup(2)) that polls for
// them on a processor of its own, and the loop spins until the answer is there, about 0.7 us. Otherwise, and where the
// kernel does not offer it, they are plain system calls. That thread comes with the first read that it is to do, and
// sleeps after a millisecond without any. Thread safety: on the loop of its owner.
class PolledReads final : public storage::CachedReader {
 public:
  // `spare`: whether nobody else wants one of the processors; asked every few milliseconds at most.
  PolledReads(const Clock& clock, std::function<bool()> spare) : clock_(clock), spare_(std::move(spare)) {}
  ~PolledReads() override;
  PolledReads(const PolledReads&) = delete;
  PolledReads& operator=(const PolledReads&) = delete;

  Result<std::optional<size_t>> read(const storage::File& file, uint64_t offset, std::span<char> out) override;
  uint64_t polled() const { return polled_; }  // reads that were done so

 private:
  enum class State : uint8_t { kNone, kAwake, kWaking, kRefused };

  bool awake();
  bool create();
  int poll(int descriptor, uint64_t offset, std::span<char> out);
  io_uring_cqe* answer();

  const Clock& clock_;
  std::function<bool()> spare_;
  ReadPolling polling_;
  State state_ = State::kNone;
  io_uring ring_{};
  Duration waited_ = 0;  // for late answers, since the last look
  uint64_t polled_ = 0;
};

}  // namespace cairn::server
