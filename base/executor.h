// Where work runs. The real ones are in server/runtime, the simulated ones in test/sim.
#pragma once

#include <cstdint>
#include <functional>

#include "base/types.h"

namespace cairn {

using Task = std::move_only_function<void()>;
using TimerId = uint64_t;  // 0 = none

// One event loop: tasks and timers run one at a time, in order of posting.
class Executor {
 public:
  virtual ~Executor() = default;
  // Thread safety: any thread. The task never runs inside this call.
  virtual void post(Task task) = 0;
  // On the loop only. Runs `task` once `delay` has passed.
  virtual TimerId run_after(Duration delay, Task task) = 0;
  // On the loop only. A timer that has fired or was cancelled is ignored. After cancel() the task does not run.
  virtual void cancel(TimerId timer) = 0;
};

enum class JobPriority : uint8_t { kHigh, kLow };  // kHigh: flushes and row fetches; kLow: compaction, zero-filling

// Background threads. A job is a function that does a bounded slice of work and returns true while more remains; slices
// of one job never overlap, and between slices a job of higher priority may run. Results travel back by Executor::post.
class BackgroundExecutor {
 public:
  using Slice = std::move_only_function<bool()>;
  virtual ~BackgroundExecutor() = default;
  // Thread safety: any thread. The job never runs inside this call.
  virtual void submit(JobPriority priority, Slice slice) = 0;
};

}  // namespace cairn
