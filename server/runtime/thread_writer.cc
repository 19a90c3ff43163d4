#include "server/runtime/thread_writer.h"

#include <pthread.h>

#include <memory>

#include "base/assert.h"

namespace cairn::server {

ThreadDurableWriter::ThreadDurableWriter(Executor& loop) : loop_(loop), thread_([this] { work(); }) {}

ThreadDurableWriter::~ThreadDurableWriter() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void ThreadDurableWriter::write(storage::File& file, uint64_t offset, std::string_view data, Done done) {
  {
    const std::lock_guard lock(mutex_);
    CAIRN_ASSERT(!job_);
    job_ = Job{&file, offset, data, std::move(done)};
  }
  changed_.notify_one();
}

void ThreadDurableWriter::work() {
  pthread_setname_np(pthread_self(), "cairn-log");
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopped_ || job_; });
    if (!job_) return;  // a write that was asked for is done before the end
    Job job = std::move(*job_);
    job_.reset();
    lock.unlock();
    auto result = job.file->write_durable(job.offset, job.data);
    loop_.post([done = std::move(job.done), result = std::move(result)]() mutable { done(std::move(result)); });
    lock.lock();
  }
}

}  // namespace cairn::server
