#include "server/runtime/uring_reader.h"

#include <utility>

namespace cairn::server {

namespace asio = boost::asio;

std::unique_ptr<UringReader> UringReader::create(EventLoop& loop, storage::AsyncReader& otherwise) {
  auto reads = UringReads::create(loop, otherwise);
  if (!reads) return nullptr;
  return std::unique_ptr<UringReader>(new UringReader(loop, std::move(reads)));
}

UringReader::UringReader(EventLoop& loop, std::unique_ptr<UringReads> reads)
    : reads_(std::move(reads)), ready_(loop.context()) {
  ready_.assign(reads_->descriptor());
}

UringReader::~UringReader() {
  *alive_ = false;
  ready_.release();  // the ring is its owner's to close
}

void UringReader::read(const storage::File& file, uint64_t offset, std::span<char> out, Done done) {
  reads_->read(file, offset, out, std::move(done));
  if (reads_->under_way()) wait();
}

void UringReader::wait() {
  if (std::exchange(waiting_, true)) return;
  ready_.async_wait(asio::posix::stream_descriptor::wait_read,
                    [this, alive = alive_](const boost::system::error_code& error) {
                      if (!*alive || error) return;
                      waiting_ = false;
                      reads_->reap();
                      if (reads_->under_way()) wait();
                    });
}

}  // namespace cairn::server
