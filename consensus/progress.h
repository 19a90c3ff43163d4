// What a leader knows about one follower, and how much it may send to it.
#pragma once

#include <cstdint>
#include <deque>

#include "base/types.h"
#include "consensus/configuration.h"

namespace cairn::consensus {

// Messages with entries that were sent and not acknowledged, bounded in messages and bytes.
class InflightWindow {
 public:
  bool full(uint64_t bytes_max, uint32_t messages_max) const {
    return sent_.size() >= messages_max || bytes_ >= bytes_max;
  }
  // Room for one more message: an empty window takes any message, so that a single large entry gets through.
  uint64_t room(uint64_t bytes_max) const { return bytes_ >= bytes_max ? 0 : bytes_max - bytes_; }
  bool empty() const { return sent_.empty(); }
  uint64_t bytes() const { return bytes_; }
  size_t messages() const { return sent_.size(); }
  void add(LogIndex last, uint64_t bytes) {
    sent_.push_back({last, bytes});
    bytes_ += bytes;
  }
  void acknowledge(LogIndex up_to) {
    while (!sent_.empty() && sent_.front().last <= up_to) {
      bytes_ -= sent_.front().bytes;
      sent_.pop_front();
    }
  }
  void clear() {
    sent_.clear();
    bytes_ = 0;
  }

 private:
  struct Sent {
    LogIndex last;
    uint64_t bytes;
  };
  std::deque<Sent> sent_;
  uint64_t bytes_ = 0;
};

// probe: where the logs agree is not known; one message at a time. replicate: pipelined. snapshot: the log
// does not reach back far enough; nothing is sent until the stream has ended.
struct Progress {
  enum class State : uint8_t { kProbe, kReplicate, kSnapshot };

  Member member;
  State state = State::kProbe;
  LogIndex match;        // durable at the follower and equal to ours up to here
  LogIndex next;         // first entry to send
  LogIndex told_commit;  // highest commit it can know from what was sent
  InflightWindow inflight;
  bool probing = false;         // kProbe: a probe is on its way
  bool snapshot_asked = false;  // kSnapshot: NeedSnapshot was given out
  uint64_t probe_round = 0;     // refusals of older rounds are late: they were dealt with
  uint64_t round_wanted = 0;    // the round (AppendRequest::read_seq) it must confirm
  uint64_t round_acked = 0;     // the newest round it confirmed
  Instant retry_at = kNever;    // when unanswered messages are taken for lost

  // The newest life and support epoch in which it acknowledged an append of this leader's term.
  bool acknowledged = false;
  Incarnation incarnation;
  SupportEpoch epoch;

  bool unanswered() const {
    return state == State::kSnapshot ? round_acked < round_wanted
                                     : probing || !inflight.empty() || round_acked < round_wanted;
  }
  void to_probe(LogIndex from) {
    state = State::kProbe;
    next = from;
    probing = false;
    snapshot_asked = false;
    inflight.clear();
  }
};

}  // namespace cairn::consensus
