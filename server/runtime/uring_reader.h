// The range loop's reads of rows that are not in memory.
#pragma once

#include <boost/asio/posix/stream_descriptor.hpp>
#include <memory>

#include "server/runtime/event_loop.h"
#include "server/runtime/uring_reads.h"

namespace cairn::server {

// UringReads on an event loop, which learns from epoll that there is something to reap. Thread safety: on the loop.
class UringReader final : public storage::AsyncReader {
 public:
  // Null where there is no io_uring. `otherwise`: see UringReads.
  static std::unique_ptr<UringReader> create(EventLoop& loop, storage::AsyncReader& otherwise);
  ~UringReader() override;
  void read(const storage::File& file, uint64_t offset, std::span<char> out, Done done) override;

 private:
  UringReader(EventLoop& loop, std::unique_ptr<UringReads> reads);
  void wait();

  std::unique_ptr<UringReads> reads_;
  boost::asio::posix::stream_descriptor ready_;
  bool waiting_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace cairn::server
