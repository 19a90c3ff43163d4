#include "server/runtime/uring_reads.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "base/assert.h"

namespace cairn::server {
namespace {
// The kernel did not attempt the read: it is done another way. Anything else is the device's answer.
bool not_attempted(int result) {
  return result == -EAGAIN || result == -EINTR || result == -ECANCELED || result == -EOPNOTSUPP || result == -EINVAL;
}
}  // namespace

std::unique_ptr<UringReads> UringReads::create(Executor& loop, storage::AsyncReader& otherwise) {
  auto reads = std::unique_ptr<UringReads>(new UringReads(loop, otherwise));
  for (const unsigned flags : {IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SINGLE_ISSUER, 0u}) {  // older kernels: plain
    if (io_uring_queue_init(kInFlightMax, &reads->ring_, flags) != 0) continue;
    reads->slots_.resize(kInFlightMax);
    for (uint32_t slot = kInFlightMax; slot-- > 0;) reads->free_.push_back(slot);
    return reads;
  }
  reads->ring_.ring_fd = -1;
  return nullptr;
}

UringReads::~UringReads() {
  *alive_ = false;
  if (ring_.ring_fd < 0) return;
  io_uring_submit(&ring_);
  while (in_flight_ > io_uring_sq_ready(&ring_)) {  // the kernel still writes to the buffers
    io_uring_cqe* cqe = nullptr;
    if (io_uring_wait_cqe(&ring_, &cqe) != 0) continue;
    io_uring_cqe_seen(&ring_, cqe);
    --in_flight_;
  }
  io_uring_queue_exit(&ring_);
}

void UringReads::read(const storage::File& file, uint64_t offset, std::span<char> out, Done done) {
  start({&file, offset, out, 0, std::move(done)});
}

void UringReads::start(Read read) {
  if (read.file->read_descriptor() < 0) return refuse(std::move(read));
  if (free_.empty()) {
    waiting_.push_back(std::move(read));
    return;
  }
  const uint32_t slot = free_.back();
  free_.pop_back();
  slots_[slot] = std::move(read);
  ++in_flight_;
  if (!prepare(slot)) {
    --in_flight_;
    free_.push_back(slot);
    refuse(std::exchange(slots_[slot], {}));
  }
}

// The queue has room for all slots: it is full only if the kernel takes nothing.
bool UringReads::prepare(uint32_t slot) {
  io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
  if (sqe == nullptr) return false;
  const Read& read = slots_[slot];
  const std::span<char> rest = read.out.subspan(read.got);
  io_uring_prep_read(sqe, read.file->read_descriptor(), rest.data(), static_cast<unsigned>(rest.size()),
                     read.offset + read.got);
  io_uring_sqe_set_data64(sqe, slot);
  if (!std::exchange(submit_posted_, true)) {
    loop_.post([this, alive = alive_] {
      if (*alive) submit();
    });
  }
  return true;
}

void UringReads::submit() {
  submit_posted_ = false;
  // A kernel that is short of memory, or interrupted, may have taken nothing yet.
  while (io_uring_sq_ready(&ring_) != 0) {
    const int result = io_uring_submit(&ring_);
    CAIRN_ASSERT(result >= 0 || result == -EINTR || result == -EAGAIN || result == -EBUSY);
    if (result == -EBUSY) reap();  // it has answers to get rid of first
  }
  reap();  // what was in memory is there already
}

void UringReads::wait(Duration longest) {
  if (in_flight_ == 0) return;
  io_uring_cqe* cqe = nullptr;
  __kernel_timespec limit{};
  limit.tv_nsec = static_cast<long long>(longest);
  io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &limit, nullptr);
  reap();
}

void UringReads::reap() {
  io_uring_cqe* cqe = nullptr;
  while (io_uring_peek_cqe(&ring_, &cqe) == 0) {
    const auto slot = static_cast<uint32_t>(io_uring_cqe_get_data64(cqe));
    const int result = cqe->res;
    io_uring_cqe_seen(&ring_, cqe);
    complete(slot, result);
  }
}

void UringReads::complete(uint32_t slot, int result) {
  Read& read = slots_[slot];
  if (result > 0) {
    read.got += static_cast<size_t>(result);
    if (read.got < read.out.size() && prepare(slot)) return;
  }
  Read ended = std::exchange(slots_[slot], {});
  free_.push_back(slot);
  --in_flight_;
  if (!waiting_.empty()) {
    Read next = std::move(waiting_.front());
    waiting_.pop_front();
    start(std::move(next));
  }
  if (not_attempted(result) || (result > 0 && ended.got < ended.out.size())) {
    refuse(std::move(ended));
  } else if (result < 0) {
    ended.done(Error{ErrorCode::kIoError, std::string("read: ") + std::strerror(-result)});
  } else {
    ended.done(ended.got);
  }
}

void UringReads::refuse(Read read) { otherwise_.read(*read.file, read.offset, read.out, std::move(read.done)); }

}  // namespace cairn::server
