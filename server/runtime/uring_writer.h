// Durable log writes through io_uring: the event loop goes on while the device works, and no thread has to be woken.
#pragma once

#include <liburing.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <memory>
#include <optional>

#include "server/runtime/event_loop.h"
#include "storage/log/durable_writer.h"

namespace cairn::server {

// Thread safety: on the loop of the log; one write at a time. The destructor waits for a write under way, whose `done`
// is dropped.
class UringDurableWriter final : public storage::DurableWriter {
 public:
  // Null where the kernel has no io_uring or forbids it (containers often do).
  static std::unique_ptr<UringDurableWriter> create(EventLoop& loop, Duration wait);
  ~UringDurableWriter() override;

  // Files without a descriptor (File::durable_descriptor) are written inline.
  void write(storage::File& file, uint64_t offset, std::string_view data, Done done) override;

 private:
  UringDurableWriter(EventLoop& loop, Duration wait) : ready_(loop.context()), wait_(wait) {}
  void wait();
  bool reap();

  io_uring ring_{};
  boost::asio::posix::stream_descriptor ready_;
  Duration wait_;
  std::optional<Job> job_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace cairn::server
