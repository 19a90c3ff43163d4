#include "storage/io/paced_deleter.h"

#include <algorithm>
#include <utility>

namespace cairn::storage {
namespace {
constexpr Duration kBurst = 250 * kMillisecond;  // of saved time that may be used at once
}

void PacedDeleter::push(Item item) {
  {
    const std::lock_guard lock(mutex_);
    if (!closed_) {
      queue_.push_back(std::move(item));
      if (std::exchange(running_, true)) return;
      env_.loop->post([weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->next();
      });
      return;
    }
  }
  const bool removed = (item.dir ? remove_tree(*env_.fs, item.path) : env_.fs->remove(item.path)).has_value();
  (removed ? removed_ : failures_).add();
}

void PacedDeleter::hurry() {
  {
    const std::lock_guard lock(mutex_);
    if (!running_) return;
  }
  hurried_ = true;
  if (timer_ == 0) return;
  env_.loop->cancel(std::exchange(timer_, 0));
  next();
}

void PacedDeleter::close() {
  if (timer_ != 0) env_.loop->cancel(std::exchange(timer_, 0));
  const std::lock_guard lock(mutex_);
  closed_ = true;
  queue_.clear();
}

uint64_t PacedDeleter::waiting() const {
  const std::lock_guard lock(mutex_);
  return queue_.size();
}

bool PacedDeleter::held_back() const {
  if (options_.bytes_per_second == 0 || hurried_) return false;
  const auto free = env_.fs->free_bytes(env_.dir);
  return !free || *free >= options_.free_bytes_min;
}

void PacedDeleter::next() {
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || queue_.empty()) {
      running_ = hurried_ = false;
      return;
    }
  }
  const Instant now = env_.clock->now();
  if (free_at_ > now && held_back()) {
    timer_ = env_.loop->run_after(free_at_ - now, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self) return;
      self->timer_ = 0;
      self->next();
    });
    return;
  }
  env_.background->submit(JobPriority::kLow, [weak = weak_from_this(), loop = env_.loop] {
    const auto self = weak.lock();
    if (!self) return false;
    const Step step = self->work();
    loop->post([weak, step] {
      if (const auto self = weak.lock()) self->worked(step);
    });
    return false;
  });
}

void PacedDeleter::worked(const Step& step) {
  const Instant now = env_.clock->now();
  const uint64_t rate = std::max<uint64_t>(options_.bytes_per_second, 1);
  if (options_.bytes_per_second != 0 && !hurried_) {
    free_at_ = std::max(free_at_, now > kBurst ? now - kBurst : 0) + step.bytes * kSecond / rate;
  }
  next();
}

PacedDeleter::Step PacedDeleter::work() {
  Step step;
  while (!step.full()) {
    Item item;
    {
      const std::lock_guard lock(mutex_);
      if (queue_.empty()) break;
      item = queue_.front();
    }
    if (!remove_one(item, step)) continue;
    const std::lock_guard lock(mutex_);
    if (!queue_.empty()) queue_.pop_front();  // emptied by close() meanwhile
  }
  return step;
}

// False: the item, or what was put in front of it, is to be looked at again.
bool PacedDeleter::remove_one(const Item& item, Step& step) {
  FileSystem& fs = *env_.fs;
  if (item.dir) {
    const auto names = fs.list(item.path);
    if (!names || names->empty()) {
      ++step.files;
      (void)unlink(item.path);  // counted
      return true;
    }
    const std::lock_guard lock(mutex_);
    if (closed_) return true;
    queue_.front().dir = false;  // what cannot be removed keeps it from going: no second look
    for (const std::string& name : *names) queue_.push_front({join_path(item.path, name), false});
    return false;
  }
  const auto status = fs.status(item.path);
  const uint64_t bytes = status && status->links == 1 ? status->bytes : 0;  // that go with this name
  if (bytes > kStepBytes) {
    const auto file = fs.open(item.path, OpenMode::kReadWrite);
    if (file && (*file)->truncate(bytes - kStepBytes)) {
      step.bytes += kStepBytes;
      removed_bytes_.add(kStepBytes);
      return false;
    }
  }
  step.bytes += bytes;
  ++step.files;
  if (unlink(item.path)) removed_bytes_.add(bytes);
  return true;
}

bool PacedDeleter::unlink(const std::string& path) {
  const bool removed = env_.fs->remove(path).has_value();
  (removed ? removed_ : failures_).add();
  return removed;
}

}  // namespace cairn::storage
