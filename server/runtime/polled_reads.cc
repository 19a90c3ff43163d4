#include "server/runtime/polled_reads.h"

#include <sched.h>
#include <sys/uio.h>

#include <cerrno>

#include "base/assert.h"

namespace cairn::server {
namespace {

constexpr unsigned kEntries = 2;   // one read at a time
constexpr unsigned kIdleMs = 1;    // without reads: then the kernel's thread sleeps
constexpr unsigned kSpins = 1000;  // about 30 us: an answer that takes longer is late

// One that this thread may use and is not on; -1: there is no such. Schedulers like to wake a thread up beside the one
// that it answers, which is the worst place for one that polls.
int another_processor() {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  if (::sched_getaffinity(0, sizeof usable, &usable) != 0) return -1;
  const int own = ::sched_getcpu();
  for (int i = CPU_SETSIZE; i-- > 0;) {
    if (i != own && CPU_ISSET(i, &usable)) return i;
  }
  return -1;
}

void spin() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

PolledReads::~PolledReads() {
  if (state_ == State::kAwake || state_ == State::kWaking) io_uring_queue_exit(&ring_);
}

Result<std::optional<size_t>> PolledReads::read(const storage::File& file, uint64_t offset, std::span<char> out) {
  if (polling_.counted()) polling_.look(clock_.now(), spare_(), std::exchange(waited_, 0));
  if (polling_.polls()) {
    const int descriptor = file.cached_descriptor();
    if (descriptor >= 0 && awake()) {
      const int result = poll(descriptor, offset, out);
      if (result == -EAGAIN) return std::optional<size_t>();
      if (result == static_cast<int>(out.size())) return std::optional<size_t>(out.size());
    }
  }
  return file.read_cached(offset, out);  // also says what a short or failed one means
}

bool PolledReads::create() {
  state_ = State::kRefused;
  const int processor = another_processor();
  if (processor < 0) return false;
  io_uring_params params{};
  params.flags = IORING_SETUP_SQPOLL | IORING_SETUP_SQ_AFF;
  params.sq_thread_cpu = static_cast<unsigned>(processor);
  params.sq_thread_idle = kIdleMs;
  if (io_uring_queue_init_params(kEntries, &ring_, &params) != 0) return false;
  if ((params.features & IORING_FEAT_SQPOLL_NONFIXED) == 0) {  // an old kernel, which polls for registered files only
    io_uring_queue_exit(&ring_);
    return false;
  }
  state_ = State::kAwake;
  return true;
}

// A sleeping thread takes tens of microseconds to wake up. It is called, and reads go the other way until it answers.
bool PolledReads::awake() {
  if (state_ == State::kRefused || (state_ == State::kNone && !create())) return false;
  if (state_ == State::kWaking) {
    io_uring_cqe* cqe = nullptr;
    if (io_uring_peek_cqe(&ring_, &cqe) != 0) return false;
    io_uring_cqe_seen(&ring_, cqe);
    state_ = State::kAwake;
  }
  if ((IO_URING_READ_ONCE(*ring_.sq.kflags) & IORING_SQ_NEED_WAKEUP) == 0) return true;
  io_uring_prep_nop(io_uring_get_sqe(&ring_));
  io_uring_submit(&ring_);
  state_ = State::kWaking;
  return false;
}

int PolledReads::poll(int descriptor, uint64_t offset, std::span<char> out) {
  io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
  CAIRN_ASSERT(sqe != nullptr);  // nothing else is under way
  io_uring_prep_read(sqe, descriptor, out.data(), static_cast<unsigned>(out.size()), offset);
  sqe->rw_flags = RWF_NOWAIT;
  io_uring_submit(&ring_);  // enters the kernel only if its thread has just fallen asleep
  io_uring_cqe* const cqe = answer();
  const int result = cqe->res;
  io_uring_cqe_seen(&ring_, cqe);
  ++polled_;
  return result;
}

// The kernel may write to the buffer until then, so there is no giving up.
io_uring_cqe* PolledReads::answer() {
  io_uring_cqe* cqe = nullptr;
  for (unsigned i = 0; i < kSpins; ++i, spin()) {
    if (io_uring_peek_cqe(&ring_, &cqe) == 0) return cqe;
  }
  const Instant begun = clock_.now();
  int result = 0;
  while ((result = io_uring_wait_cqe(&ring_, &cqe)) != 0) CAIRN_ASSERT(result == -EINTR || result == -EAGAIN);
  waited_ += clock_.now() - begun;
  return cqe;
}

}  // namespace cairn::server
