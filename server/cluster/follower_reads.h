// Reads that this node's replicas answer while they follow, for connections that sent READONLY
// (docs/decisions/follower-reads.md). Linearizable: the leader is asked how far its log is committed, once for all
// reads of a turn, and a read runs here when that much is applied. Bounded: an answer of the leader is good for some
// time.
#pragma once

#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/metrics.h"
#include "base/types.h"
#include "server/replica/command_call.h"
#include "server/replica/replica.h"

namespace cairn::server {

struct FollowerReadMetrics {
  Counter served;     // answered here
  Counter rounds;     // times that a leader was asked
  Counter passed_on;  // went to the leader after all
  KeyLookupMetrics lookups;
};

class FollowerReadsHost {
 public:
  virtual ~FollowerReadsHost() = default;
  virtual Instant now() const = 0;
  virtual uint64_t random() = 0;
  virtual Replica* find_replica(RangeId range) = 0;
  virtual bool read_only(uint64_t session) const = 0;
  // Asks whoever leads the range. `done` is called once: with the bulk of kReadIndexCommand, or an error.
  virtual void ask_read_index(RangeId range, std::function<void(std::string_view reply)> done) = 0;
  virtual bool forwarding_busy(uint64_t session, RangeId range) const = 0;
  virtual void forward(const CommandCall& call, RangeId range) = 0;  // by Forwarding
  virtual void deliver(const ReplyTarget& target, std::string_view reply) = 0;
};

// Thread safety: on the range loop.
class FollowerReads {
 public:
  // `staleness` 0: linearizable.
  FollowerReads(FollowerReadsHost& host, Duration staleness)
      : host_(host), staleness_(staleness), alive_(std::make_shared<bool>(true)) {}
  ~FollowerReads() { *alive_ = false; }

  // True: reads of this connection for this range are under way: what it sends now must come through offer().
  bool busy(uint64_t session, RangeId range) const {
    return !streams_.empty() && streams_.find({session, range}) != streams_.end();
  }
  enum class Taken : uint8_t {
    kNo,       // to be forwarded
    kLater,    // the reply is delivered
    kReplied,  // into `reply`
  };
  // A command of a connection of this node, whose range is led elsewhere, or for which the connection is busy().
  Taken offer(const CommandCall& call, RangeId range, RespWriter& reply);

  // Reads were taken that no leader has been asked for yet.
  bool gathering() const { return !gathered_.empty(); }
  void ask();
  void applied(RangeId range);  // the replica may have gone on
  void expire();                // reads whose replica lags go to the leader
  void session_closed(uint64_t session);
  void fail_all(std::string_view error);  // shutdown
  const FollowerReadMetrics& metrics() const { return metrics_; }

 private:
  struct Read {
    RangeId range;
    OwnedCommand command;
    ReadIndex index;  // of the leader's answer
    Instant deadline = 0;
    uint32_t fetches = 0;
    storage::FetchRequest wanted;  // all that was fetched so far: every fetch brings all of it, as of one moment
    FetchedRows fetched;
  };
  using Reads = std::list<std::shared_ptr<Read>>;
  // Of one connection for one range. Reads overtake each other; whatever else comes waits for all of them.
  struct Stream {
    size_t reads = 0;
    std::deque<OwnedCommand> behind;
  };
  using Key = std::pair<uint64_t, RangeId>;
  struct Known {
    ReadIndex index;
    Instant asked = 0;
  };

  bool fresh(RangeId range, const Replica& replica, ReadIndex& index) const;
  void answered(RangeId range, Instant asked, const Reads& reads, std::string_view reply);
  void run(const std::shared_ptr<Read>& read);
  // nullopt: rows are missing, or only the leader can answer.
  std::optional<EvalStatus> evaluate(Replica& replica, const CommandCall& call, const ReadIndex& index,
                                     const FetchedRows* fetched, RespWriter& reply, storage::FetchRequest& missing);
  void fetch(const std::shared_ptr<Read>& read, Replica& replica, storage::FetchRequest missing);
  void pass_on(Read& read);
  void finish(const Key& key);

  FollowerReadsHost& host_;
  const Duration staleness_;
  std::map<Key, Stream> streams_;
  std::map<RangeId, Reads> gathered_;
  std::map<RangeId, Reads> waiting_;  // for the replica to apply what they need
  std::map<uint64_t, std::shared_ptr<Read>> fetching_;
  uint64_t next_fetch_ = 1;
  std::map<RangeId, Known> known_;  // newest answer by range; empty if linearizable
  FollowerReadMetrics metrics_;
  std::shared_ptr<bool> alive_;
};

}  // namespace cairn::server
