// How much of the processors background jobs may take, so that those who serve commands are not held up.
#pragma once

#include <cstddef>
#include <string>

#include "base/types.h"

namespace cairn::server {

// While somebody is served, background work leaves a share of the processors idle. With none left, whatever else has to
// run (the kernel's own threads, interrupts, the emulated devices of a virtual machine) takes its time from a loop; and
// where a quota is set (cpu.max of a container, the host of a virtual machine), who uses it up stands still for the
// rest of a period of usually 100 ms, loops and all. A bucket of processor time, filled at the rate that all may use
// together and drained by what they use; whoever finishes a slice of background work while it is overdrawn rests until
// it is not. No clock, no threads; not thread safe.
class CpuPace {
 public:
  struct Options {
    double processors = 1;   // that may be used at once
    double headroom = 0.12;  // of them, that is left idle; 0: no rests. [0, 0.9]
  };
  // The longest rest, as a multiple of the slice before it: a quarter of a processor is always left for low jobs, three
  // quarters for high ones.
  static constexpr double kLowRestMax = 3, kHighRestMax = 1.0 / 3;
  // Of one processor, that others than the background use at least when somebody is served.
  static constexpr double kServing = 0.1;

  explicit CpuPace(const Options& options) : options_(options) {}

  // After a slice: how long to rest, at most `longest`. `all`, `background`: processor time so far, of the whole
  // process and of background work within it.
  Duration rest(Instant now, Duration longest, Duration all, Duration background);
  // As of the last slice. Never if no headroom is wanted.
  bool serving() const { return served_ >= kServing; }

 private:
  static constexpr double kBurst = 5e6;        // ns of processor time that may be saved up
  static constexpr double kOwedMax = 20e6;     // ns of processor time: older debts are forgotten
  static constexpr double kRemembered = 50e6;  // ns, over which the use by others is averaged

  Options options_;
  Instant last_ = 0;  // 0: nothing was seen yet
  Duration last_all_ = 0, last_background_ = 0;
  double served_ = 0;  // processors that others than the background use
  double owed_ = 0;    // ns of processor time; negative: saved
};

// Those that this process is bound to; at least 1. A quota is no fewer of them, it takes time from all.
size_t bound_processors();

// Processors that this process may use at once: those it is bound to, or less where a control group has a quota
// (cpu.max; cpu.cfs_quota_us of version 1). `memberships`: the file that names them; `groups`: where they are mounted.
double usable_processors(const std::string& memberships = "/proc/self/cgroup",
                         const std::string& groups = "/sys/fs/cgroup");

}  // namespace cairn::server
