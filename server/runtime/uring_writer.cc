#include "server/runtime/uring_writer.h"

#include <cerrno>
#include <cstring>
#include <string>

#include "base/assert.h"

namespace cairn::server {

namespace asio = boost::asio;

namespace {
// The kernel did not attempt the write: it is done the ordinary way. Anything else is the device's answer, and final.
bool not_attempted(int result) {
  return result == -EAGAIN || result == -EINTR || result == -ECANCELED || result == -EOPNOTSUPP || result == -EINVAL;
}
}  // namespace

std::unique_ptr<UringDurableWriter> UringDurableWriter::create(EventLoop& loop, Duration wait) {
  auto writer = std::unique_ptr<UringDurableWriter>(new UringDurableWriter(loop, wait));
  for (const unsigned flags : {IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SINGLE_ISSUER, 0u}) {  // older kernels: plain
    if (io_uring_queue_init(4, &writer->ring_, flags) == 0) {
      writer->ready_.assign(writer->ring_.ring_fd);
      return writer;
    }
  }
  writer->ring_.ring_fd = -1;
  return nullptr;
}

UringDurableWriter::~UringDurableWriter() {
  *alive_ = false;
  if (ring_.ring_fd < 0) return;
  if (job_) {
    io_uring_cqe* cqe = nullptr;
    while (io_uring_wait_cqe(&ring_, &cqe) == -EINTR) {  // the kernel still reads from the buffer
    }
  }
  ready_.release();
  io_uring_queue_exit(&ring_);
}

void UringDurableWriter::write(storage::File& file, uint64_t offset, std::string_view data, Done done) {
  CAIRN_ASSERT(!job_);
  const int fd = file.durable_descriptor();
  io_uring_sqe* const sqe = fd < 0 ? nullptr : io_uring_get_sqe(&ring_);
  if (sqe == nullptr) return done(file.write_durable(offset, data));
  io_uring_prep_write(sqe, fd, data.data(), static_cast<unsigned>(data.size()), offset);
  job_ = Job{&file, offset, data, std::move(done)};
  if (wait_ != 0) {
    io_uring_cqe* cqe = nullptr;
    __kernel_timespec limit{};
    limit.tv_nsec = static_cast<long long>(wait_);
    io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &limit, nullptr);
  }
  // A kernel that is short of memory, or interrupted, may have taken nothing yet; it must not take it later on its own.
  while (io_uring_sq_ready(&ring_) != 0) {
    const int result = io_uring_submit(&ring_);
    CAIRN_ASSERT(result >= 0 || result == -EINTR || result == -EAGAIN || result == -EBUSY);
  }
  if (wait_ == 0 || !reap()) wait();
}

void UringDurableWriter::wait() {
  ready_.async_wait(asio::posix::stream_descriptor::wait_read,
                    [this, alive = alive_](const boost::system::error_code& error) {
                      if (!*alive || error) return;
                      if (!reap() && job_) wait();
                    });
}

bool UringDurableWriter::reap() {
  io_uring_cqe* cqe = nullptr;
  if (!job_ || io_uring_peek_cqe(&ring_, &cqe) != 0) return false;
  const int result = cqe->res;
  io_uring_cqe_seen(&ring_, cqe);
  Job job = std::move(*job_);
  job_.reset();
  if (result >= 0 && static_cast<size_t>(result) == job.data.size()) {
    job.done({});
  } else if (result >= 0 || not_attempted(result)) {
    job.done(job.file->write_durable(job.offset, job.data));  // all of it again: the same bytes at the same place
  } else {
    job.done(Error{result == -ENOSPC ? ErrorCode::kNoSpace : ErrorCode::kIoError,
                   std::string("durable write: ") + std::strerror(-result)});
  }
  return true;
}

}  // namespace cairn::server
