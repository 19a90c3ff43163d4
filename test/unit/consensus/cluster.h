// A handful of cores in one process, with a network, disks and node links that tests move by hand.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "consensus/replicated_log.h"

namespace cairn::consensus::test {

class Links final : public LivenessView {
 public:
  const PeerLiveness& peer(NodeId node) const override {
    const auto it = peers.find(node);
    return it == peers.end() ? unknown_ : it->second;
  }
  std::map<NodeId, PeerLiveness> peers;

 private:
  PeerLiveness unknown_;
};

// What a log on disk holds after a prefix of the writes: the meaning of LogOp.
struct LogImage {
  HardState hard;
  LogIndex start_index;
  Term start_term;
  std::string start_configuration;
  std::vector<Entry> entries;

  void apply(const LogOp& op);
  LogIndex last_index() const { return {start_index.value + entries.size()}; }
  const Entry* find(LogIndex index) const;
};

struct Packet {
  NodeId from;
  NodeId to;
  Incarnation sender;
  Message message;
};

struct Node {
  NodeId id;
  Incarnation incarnation{1};
  bool running = true;
  Links links;
  std::unique_ptr<SeededRandom> random;
  std::unique_ptr<ReplicatedLog> core;
  LogImage written;           // everything the core has handed out
  LogImage durable;           // what survives a crash
  std::deque<LogOp> pending;  // handed out, not durable
  WriteSeq durable_seq;
  std::vector<GatedMessage> gated;
  std::vector<Entry> machine;  // committed entries handed over, in order
  LogIndex handed;             // index of the last of them, or of the snapshot
  LogIndex applied;            // told to the core; durable in the state machine
  bool suspect = false;
};

class Cluster {
 public:
  explicit Cluster(uint64_t seed) : seed_(seed) {}
  virtual ~Cluster() = default;

  void add(NodeId id, const Configuration& start);
  Node& node(NodeId id) { return *nodes.at(id); }
  // Runs one input and carries its output to disk queue and network.
  void step(NodeId id, const Input& input);
  // Makes the oldest `writes` pending writes durable (all by default) and tells the core.
  void sync(NodeId id, size_t writes = ~size_t{0});
  void apply(NodeId id);
  // The process dies; what is not durable is lost. start() brings it back with the next incarnation.
  void stop(NodeId id);
  void start(NodeId id);
  void deliver(const Packet& packet);
  // Carries the state machine of `from` to `to` as a snapshot of what `from` has applied.
  bool snapshot(NodeId from, NodeId to);

  // Called for every output before it is carried out.
  virtual void observe(Node&, const Output&) {}
  virtual bool connected(NodeId, NodeId) { return true; }

  Instant now = 0;
  RaftOptions options;
  std::map<NodeId, std::unique_ptr<Node>> nodes;
  std::vector<Packet> network;

 private:
  void boot(Node& node, LogIndex applied);
  void post(Node& from, const Envelope& envelope);

  uint64_t seed_;
  Output output_;
};

std::string describe(const Message& message);
std::string describe(const Entry& entry);
std::string describe(const Configuration& configuration);
std::string describe(const Event& event);

}  // namespace cairn::consensus::test
