// Streams the SSTables of a tablet to a replica that fell behind the leader's log, and installs what is received.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "server/cluster/node_options.h"
#include "server/cluster/peer_frames.h"
#include "server/replica/replica.h"
#include "storage/file_hash.h"
#include "storage/tablet.h"

namespace cairn::server {

struct SnapshotMetrics {
  Counter sent, received, failed, bytes_sent, bytes_received;
  Counter damaged_out, damaged_in;  // with files that were not what their descriptions say; not sent, not taken over
};

// A snapshot on its way, for people.
struct SnapshotTransfer {
  uint64_t id = 0;
  bool outgoing = false;
  bool started = false;  // false: waits for its turn
  RangeId range;
  NodeId peer;
  uint64_t done_bytes = 0, total_bytes = 0;
};

class SnapshotHost {
 public:
  virtual ~SnapshotHost() = default;
  virtual Replica* find_replica(RangeId range) = 0;
  virtual void send_bulk(NodeId to, std::string frame) = 0;
  virtual storage::SharedLog& log() = 0;
  virtual storage::TabletStore& store() = 0;
  // Runs `task` once the shared log is durable up to its present end.
  virtual void when_log_durable(Task task) = 0;
  virtual uint64_t new_snapshot_id() = 0;  // unique per node, for ever
  virtual void snapshot_installed(Replica& replica) = 0;
};

// What recovery needs to redo an installation: DATA/snap/in-ID/META.
struct SnapshotMeta {
  RangeId range;
  storage::AppliedPosition position;
  std::string configuration;
  std::string manifest;
  std::string encode() const;
  static std::optional<SnapshotMeta> decode(std::string_view bytes);
};
std::string incoming_snapshot_dir(const std::string& data_dir, uint64_t snapshot_id);

// Thread safety: on the range loop; file reads and writes run in the background.
class Snapshots {
 public:
  Snapshots(SnapshotHost& host, const NodeEnvironment& env, const NodeOptions& options);
  ~Snapshots();

  // Leader: `need` came out of the core.
  void want(Replica& replica, const consensus::NeedSnapshot& need);
  // Damaged replica: asks whoever leads for a snapshot, unless one is on its way here.
  void ask(const Replica& replica);
  bool sends(RangeId range, NodeId peer) const;  // or is about to
  void on_frame(NodeId from, SharedBytes frame);
  void peer_lost(NodeId peer);
  void tick(Instant now);  // gives up what stands still
  const SnapshotMetrics& metrics() const { return metrics_; }
  std::vector<SnapshotTransfer> transfers() const;
  size_t active() const { return outgoing_.size() + incoming_.size(); }

 private:
  struct Outgoing {
    uint64_t id = 0;
    RangeId range;
    NodeId peer;
    ReplicaId peer_replica;
    Term term;
    bool started = false;
    storage::Checkpoint checkpoint;
    size_t file = 0;
    uint64_t offset = 0;
    std::shared_ptr<storage::FileHash> hash;  // of what was read of the file
    uint64_t sent = 0, confirmed = 0;
    bool reading = false;
    Instant progress = 0;
  };
  struct Incoming {
    uint64_t transfer = 0;
    NodeId from;
    uint64_t snapshot_id = 0;
    SnapshotBeginFrame begin;
    std::string dir;
    uint64_t received = 0, expected = 0;
    std::deque<SharedBytes> chunks;  // to be written, in order
    bool writing = false;
    bool installing = false;
    std::shared_ptr<std::vector<std::unique_ptr<storage::File>>> files;
    Instant progress = 0;
  };

  void asked(NodeId from, const SnapshotRequestFrame& request);
  void start_queued();
  void send_more(uint64_t id);
  void read_failed(uint64_t id, const Error& error);
  void end_outgoing(uint64_t id, bool ok);
  void begin_incoming(NodeId from, SnapshotBeginFrame begin);
  void write_more(uint64_t key);
  void write_failed(uint64_t key, const Error& error);
  void received_all(uint64_t key);
  void end_incoming(uint64_t key, bool ok);
  void reply(const Incoming& incoming, SnapshotReplyFrame::Status status);

  static constexpr size_t kOutgoingMax = 2;
  static constexpr Duration kStandstill = 10 * kSecond;

  SnapshotHost& host_;
  const NodeEnvironment& env_;
  const NodeOptions& options_;
  std::map<uint64_t, Outgoing> outgoing_;  // by transfer id
  std::map<uint64_t, Incoming> incoming_;  // by snapshot id
  SnapshotMetrics metrics_;
  std::shared_ptr<bool> alive_;
};

}  // namespace cairn::server
