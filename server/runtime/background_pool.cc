#include "server/runtime/background_pool.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cairn::server {

BackgroundPool::BackgroundPool(size_t threads) {
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this, high_only = i > 0] { work(high_only); });
}

BackgroundPool::~BackgroundPool() { stop(); }

void BackgroundPool::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
  threads_.clear();
}

void BackgroundPool::submit(JobPriority priority, Slice slice) {
  {
    const std::lock_guard lock(mutex_);
    (priority == JobPriority::kHigh ? high_ : low_).push_back(std::move(slice));
  }
  // Threads for high jobs only do not wake for low ones: notify all, there are few.
  changed_.notify_all();
}

bool BackgroundPool::takes_high(bool high_only) const { return high_only ? !high_.empty() : high_.size() > idle_high_; }

void BackgroundPool::work(bool high_only) {
  pthread_setname_np(pthread_self(), high_only ? "cairn-fetch" : "cairn-compact");
  // The loops go first when cores are short.
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), high_only ? 1 : 5);
  std::unique_lock lock(mutex_);
  for (;;) {
    if (high_only) ++idle_high_;
    changed_.wait(lock, [&] { return stopped_ || takes_high(high_only) || (!high_only && !low_.empty()); });
    if (high_only) --idle_high_;
    if (stopped_) return;
    std::deque<Slice>& queue = takes_high(high_only) ? high_ : low_;
    Slice slice = std::move(queue.front());
    queue.pop_front();
    lock.unlock();
    const bool more = slice();
    lock.lock();
    if (more && !stopped_) {
      queue.push_back(std::move(slice));
      if (idle_high_ > 0 && &queue == &high_) changed_.notify_all();  // a thread of its own may go on with it
    } else {
      lock.unlock();
      slice = nullptr;  // what it owns is released outside the lock
      lock.lock();
    }
  }
}

}  // namespace cairn::server
