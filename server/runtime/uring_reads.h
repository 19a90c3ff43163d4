// Reads through io_uring: the device works on all of them at once, and no thread has to be woken for any.
#pragma once

#include <liburing.h>

#include <deque>
#include <memory>
#include <vector>

#include "base/executor.h"
#include "storage/io/async_reader.h"

namespace cairn::server {

// What is asked for during a turn of the loop is handed to the kernel at its end, with one call. Somebody has to call
// reap() while reads are under way: whoever waits for descriptor() to become readable, or calls wait().
// Thread safety: on the loop, on whose thread it was created. The destructor waits for reads under way, whose `done` is
// destroyed unrun.
class UringReads final : public storage::AsyncReader {
 public:
  // Null where the kernel has no io_uring or forbids it (containers often do). `otherwise` serves files without a
  // descriptor (File::read_descriptor) and what the kernel refuses to attempt; it outlives this.
  static std::unique_ptr<UringReads> create(Executor& loop, storage::AsyncReader& otherwise);
  ~UringReads() override;

  void read(const storage::File& file, uint64_t offset, std::span<char> out, Done done) override;
  int descriptor() const { return ring_.ring_fd; }
  bool under_way() const { return in_flight_ > 0; }
  void reap();
  void wait(Duration longest);  // for at least one read, if any is under way; then reaps

 private:
  struct Read {
    const storage::File* file = nullptr;
    uint64_t offset = 0;
    std::span<char> out;
    size_t got = 0;  // of a read that came in pieces
    Done done;
  };
  static constexpr unsigned kInFlightMax = 128;  // what is beyond waits its turn

  UringReads(Executor& loop, storage::AsyncReader& otherwise) : loop_(loop), otherwise_(otherwise) {}
  void start(Read read);
  bool prepare(uint32_t slot);
  void submit();
  void complete(uint32_t slot, int result);
  void refuse(Read read);

  Executor& loop_;
  storage::AsyncReader& otherwise_;
  io_uring ring_{};
  std::vector<Read> slots_;
  std::vector<uint32_t> free_;
  std::deque<Read> waiting_;
  size_t in_flight_ = 0;
  bool submit_posted_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace cairn::server
