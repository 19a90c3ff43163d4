// Where the time of an event loop goes.
#pragma once

#include <array>

#include "base/metrics.h"

namespace cairn::server {

// Thread safety: written by the loop's thread alone, read by any.
class LoopProfile {
 public:
  enum class Phase : uint8_t {
    kIdle,     // blocked, or looking for work
    kEvents,   // sockets, timers, posted tasks; on the range loop that includes evaluating commands
    kCommit,   // the range loop's end of turn: proposing, sending to peers, writing the log
    kReplies,  // the range loop's end of turn: writing to clients
  };
  static constexpr size_t kPhases = 4;
  static constexpr const char* kPhaseNames[kPhases] = {"idle", "events", "commit", "replies"};

  struct View {
    std::array<uint64_t, kPhases> ns{};
    HistogramView turns;
    // What was added since `before`.
    View since(const View& before) const {
      View out;
      for (size_t i = 0; i < kPhases; ++i) out.ns[i] = ns[i] - before.ns[i];
      out.turns = turns.since(before.turns);
      return out;
    }
  };

  void add(Phase phase, Duration d) { ns_[static_cast<size_t>(phase)].add_owned(d); }
  void turn(Duration busy) { turns_.record_owned(busy); }
  View view() const {
    View out;
    for (size_t i = 0; i < kPhases; ++i) out.ns[i] = ns_[i].get();
    out.turns = turns_.view();
    return out;
  }
  const DurationHistogram& turns() const { return turns_; }
  uint64_t ns(size_t phase) const { return ns_[phase].get(); }

 private:
  std::array<Counter, kPhases> ns_;
  DurationHistogram turns_;  // busy time of one turn
};

}  // namespace cairn::server
