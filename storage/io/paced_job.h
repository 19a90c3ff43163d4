// Background jobs that wait for their turn at the device.
#pragma once

#include <functional>
#include <memory>

#include "base/clock.h"
#include "base/executor.h"
#include "storage/io/io_tokens.h"

namespace cairn::storage {

struct PacedSlice {
  bool more = false;
  uint64_t bytes = 0;  // read and written by this slice
};

// A job of low priority. Between two slices it waits, without a thread, until what it has moved is earned; `waits` is
// told on the loop. Lives as long as `alive`: after that no slice begins. All others outlive it.
class PacedJob : public std::enable_shared_from_this<PacedJob> {
 public:
  using Slice = std::move_only_function<PacedSlice()>;
  struct Environment {
    BackgroundExecutor* background;
    Executor* loop;
    const Clock* clock;
    std::shared_ptr<IoTokens> tokens;
    std::weak_ptr<const void> alive;
    std::function<void(Duration)> waits;
  };
  PacedJob(Environment env, Slice slice) : env_(std::move(env)), slice_(std::move(slice)) {}
  // Thread safety: any thread; once.
  void submit() {
    env_.background->submit(JobPriority::kLow, [self = shared_from_this()] { return self->work(); });
  }

 private:
  // In the background.
  bool work() {
    const Duration wait = env_.tokens->wait(env_.clock->now());
    if (wait > 0) {
      env_.loop->post([self = shared_from_this(), wait] { self->rest(wait); });
      return false;
    }
    const PacedSlice done = slice_();
    env_.tokens->moved(env_.clock->now(), done.bytes);
    return done.more;
  }
  // On the loop.
  void rest(Duration wait) {
    if (env_.alive.expired()) return;
    env_.waits(wait);
    env_.loop->run_after(wait, [self = shared_from_this()] {
      if (!self->env_.alive.expired()) self->submit();
    });
  }

  Environment env_;
  Slice slice_;
};

}  // namespace cairn::storage
