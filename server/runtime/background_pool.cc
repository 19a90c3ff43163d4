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

void BackgroundPool::work(bool high_only) {
  pthread_setname_np(pthread_self(), high_only ? "cairn-fetch" : "cairn-compact");
  // The loops go first when cores are short.
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), high_only ? 1 : 5);
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopped_ || !high_.empty() || (!high_only && !low_.empty()); });
    if (stopped_) return;
    std::deque<Slice>& queue = !high_.empty() ? high_ : low_;
    Slice slice = std::move(queue.front());
    queue.pop_front();
    lock.unlock();
    const bool more = slice();
    lock.lock();
    if (more && !stopped_) {
      queue.push_back(std::move(slice));
    } else {
      lock.unlock();
      slice = nullptr;  // what it owns is released outside the lock
      lock.lock();
    }
  }
}

}  // namespace cairn::server
