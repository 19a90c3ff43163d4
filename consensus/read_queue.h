// Linearizable reads that wait for a confirmed round (thesis 6.4). Rounds are numbered, so that a late answer
// to an old round can never confirm a newer read.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "base/types.h"

namespace cairn::consensus {

class ReadQueue {
 public:
  struct Waiting {
    uint64_t id;
    LogIndex index;
    uint64_t round;  // 0: not assigned yet
  };

  bool empty() const { return waiting_.empty(); }
  // True while some read waits for a round that has begun.
  bool round_under_way() const { return !waiting_.empty() && waiting_.front().round != 0; }
  bool has_unassigned() const { return !waiting_.empty() && waiting_.back().round == 0; }
  uint64_t newest_round() const {
    for (auto it = waiting_.rbegin(); it != waiting_.rend(); ++it) {
      if (it->round != 0) return it->round;
    }
    return 0;
  }
  void add(uint64_t id, LogIndex index) { waiting_.push_back({id, index, 0}); }
  // The round begins now: it serves every read that has none yet.
  void begin(uint64_t round) {
    for (auto it = waiting_.rbegin(); it != waiting_.rend() && it->round == 0; ++it) it->round = round;
  }
  // Takes out, in order of arrival, the reads whose round is confirmed.
  template <class Release>
  void release(uint64_t confirmed, Release&& release) {
    while (!waiting_.empty() && waiting_.front().round != 0 && waiting_.front().round <= confirmed) {
      release(waiting_.front());
      waiting_.pop_front();
    }
  }
  template <class Fail>
  void fail_all(Fail&& fail) {
    for (const Waiting& read : waiting_) fail(read);
    waiting_.clear();
  }

 private:
  std::deque<Waiting> waiting_;  // rounds never decrease; those without one are at the back
};

}  // namespace cairn::consensus
