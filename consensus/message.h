// What the replicas of one group say to each other. Values; payloads are shared, not copied.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/types.h"

namespace cairn::consensus {

enum class EntryType : uint8_t {
  kNoOp = 0,           // a new leader's own-term entry
  kData = 1,           // effects for the state machine, opaque here
  kConfiguration = 2,  // an encoded Configuration
};

struct Entry {
  LogIndex index;
  Term term;
  EntryType type = EntryType::kNoOp;
  uint64_t time_ms = 0;  // leader-stamped, never decreasing along the log
  SharedBytes payload;
  friend bool operator==(const Entry&, const Entry&) = default;
};

// Raft paper 5.2, 5.4.1; pre-vote: thesis 9.6. `transfer`: sent on behalf of a leader that gave up its lease
// (thesis 3.10), voters ignore their support for it.
struct VoteRequest {
  Term term;
  LogIndex last_index;
  Term last_term;
  Incarnation incarnation;  // of the candidate's node; votes are bound to (node, incarnation)
  bool pre = false;
  bool transfer = false;
  friend bool operator==(const VoteRequest&, const VoteRequest&) = default;
};
struct VoteReply {
  Term term;  // pre-vote granted: the term asked for; otherwise the voter's own
  bool pre = false;
  bool granted = false;
  friend bool operator==(const VoteReply&, const VoteReply&) = default;
};

// Raft paper 5.3. Without entries: probe, commit notice, or ReadIndex round. read_seq numbers the leader's rounds and
// is echoed by the answer, so that an answer to an earlier round cannot be taken for one to a later.
struct AppendRequest {
  Term term;
  LogIndex prev_index;
  Term prev_term;
  LogIndex commit;
  uint64_t read_seq = 0;
  std::vector<Entry> entries;
  friend bool operator==(const AppendRequest&, const AppendRequest&) = default;
};
struct AppendReply {
  Term term;
  bool ok = false;
  LogIndex match;       // ok: the log matches the leader's up to here, durably
  LogIndex hint_index;  // refused: the leader should probe at or below here
  Term hint_term;       // and the follower's term there
  uint64_t read_seq = 0;
  Incarnation incarnation;     // of the follower's node
  SupportEpoch support_epoch;  // under which the follower's node supports the leader's, as its range loop knows it
  friend bool operator==(const AppendReply&, const AppendReply&) = default;
};

// Thesis 3.10: the leader, which has given up its lease, asks the receiver to campaign at once.
struct TimeoutNow {
  Term term;
  friend bool operator==(const TimeoutNow&, const TimeoutNow&) = default;
};

using Message = std::variant<VoteRequest, VoteReply, AppendRequest, AppendReply, TimeoutNow>;

// Wire form, see docs/formats/peer-messages.md. decode: nullopt on malformed bytes; `backing` owns the bytes that entry
// payloads then share.
void encode_message(std::string& out, const Message& message);
std::optional<Message> decode_message(const SharedBytes& backing);

}  // namespace cairn::consensus
