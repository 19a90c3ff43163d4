// Random lives of a small group: messages lost, repeated and reordered, processes killed with unsynced writes
// lost, links that grant and withdraw support as node links do, membership changes, transfers, snapshots.
// After every step the safety properties of the Raft paper (figure 3) and those of reads are checked.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>

#include "cluster.h"

using namespace cairn;
using namespace cairn::consensus;
using namespace cairn::consensus::test;

namespace {

constexpr Duration kPromise = 100 * kMillisecond;
constexpr uint64_t kNodes = 5;

// Support as `from` has granted it to `to`, in real time. The tables of the cores follow with delays.
struct Support {
  SupportEpoch epoch{0};
  bool granted = false;
  Instant until = 0;
};

class World final : public Cluster {
 public:
  World(uint64_t seed, bool reconfigure) : Cluster(seed), random_(seed), reconfigure_(reconfigure) {
    options.boot_silence = kPromise;
    options.inflight_messages_max = 1 + static_cast<uint32_t>(random_.below(8));
    options.message_bytes_max = 64 + random_.below(400);
    if (random_.below(2) == 0) options.held_bytes_max = random_.below(200);
    loss_ = random_.below(3) == 0 ? 0.0 : 0.02 + 0.01 * static_cast<double>(random_.below(15));
    Configuration start;
    const uint64_t voters = random_.below(2) == 0 ? 3 : 5;
    for (uint64_t id = 1; id <= voters; ++id) start.voters.push_back({{id}, {id * 10}});
    for (uint64_t id = 1; id <= kNodes; ++id) add({id}, start);
    for (auto& [id, node] : nodes) {
      for (auto& [other, unused] : nodes) {
        if (other != id) node->links.peers[other] = {{1}, {}, {}, 0, true};
      }
    }
  }

  void run(int steps, bool calm) {
    for (int i = 0; i < steps; ++i) {
      now += random_.below(2 * kMillisecond);
      act(calm);
      check_new_leader();
      check_serving();
    }
  }
  void heal() {
    cut_.clear();
    loss_ = 0;
    for (auto& [id, node] : nodes) {
      if (!node->running) restart(id);
    }
  }
  bool progressed(size_t before) const { return committed_.size() > before; }
  std::string describe_all() {
    std::string text;
    for (auto& [id, node] : nodes) {
      if (!node->running) continue;
      const Status s = node->core->status();
      text += std::to_string(id.value) + " " + std::string(to_string(s.role)) + " term " +
              std::to_string(s.term.value) + " leader " + std::to_string(s.leader.value) + " log " +
              std::to_string(s.first_index.value) + ".." + std::to_string(s.last_index.value) + " commit " +
              std::to_string(s.commit.value) + " applied " + std::to_string(s.applied.value) + " " +
              describe(s.configuration) + " deadline in " +
              std::to_string(static_cast<int64_t>(node->core->next_deadline() - now) / 1000000) + " ms pending " +
              std::to_string(node->pending.size()) + "\n";
      for (const PeerStatus& p : s.peers) {
        text += "    peer " + std::to_string(p.member.node.value) + " match " + std::to_string(p.match.value) +
                " next " + std::to_string(p.next.value) + (p.snapshotting ? " snapshot" : "") + "\n";
      }
    }
    return text + "packets " + std::to_string(network.size()) + "\n";
  }
  size_t committed() const { return committed_.size(); }
  uint64_t served = 0, reads_done = 0, leaders = 0, snapshots = 0, changes = 0;

  bool connected(NodeId a, NodeId b) override { return !cut_.contains({a, b}); }

  void observe(Node& n, const Output& out) override {
    for (const Event& event : out.events) {
      if (std::getenv("CAIRN_TRACE") != nullptr) {
        std::fprintf(stderr, "%llu us node %llu: %s\n", static_cast<unsigned long long>(now / 1000),
                     static_cast<unsigned long long>(n.id.value), describe(event).c_str());
      }
      if (event.kind != Event::Kind::kBecameLeader) continue;
      ++leaders;
      const auto [it, fresh] = leader_of_.emplace(event.term, std::pair(n.id, n.incarnation));
      REQUIRE((fresh || it->second == std::pair(n.id, n.incarnation)));  // election safety
      new_leader_ = n.id;
    }
    for (const Entry& entry : out.committed) {  // state machine safety
      const auto [it, fresh] = committed_.emplace(entry.index, entry);
      REQUIRE(it->second == entry);
      if (fresh && entry.index.value > 1) {
        const auto before = committed_.find(entry.index.prev());
        REQUIRE(before != committed_.end());
        REQUIRE(before->second.time_ms <= entry.time_ms);
      }
    }
    for (const ReadReady& read : out.reads) {
      const auto it = read_floor_.find(read.id);
      REQUIRE(it != read_floor_.end());
      if (read.ok) {
        ++reads_done;
        REQUIRE(read.index >= it->second);
      }
      read_floor_.erase(it);
    }
    for (const NeedSnapshot& need : out.need_snapshot) wanted_.push_back({n.id, need.peer});
    // A leader's commit index is what clients are told.
    if (n.core->role() == Role::kLeader) told_ = std::max(told_, n.core->commit_index());
  }

 private:
  NodeId any() { return {1 + random_.below(kNodes)}; }

  void act(bool calm) {
    const uint64_t dice = random_.below(1000);
    if (dice < 450) {
      move_message();
    } else if (dice < 600) {
      const NodeId id = any();
      sync(id, random_.below(4) == 0 ? 1 + random_.below(3) : ~size_t{0});
    } else if (dice < 680) {
      apply(any());
    } else if (dice < 760) {
      for (auto& [id, node] : nodes) {
        if (node->running && node->core->next_deadline() <= now) step(id, TimeReached{});
      }
    } else if (dice < 850) {
      move_links();
    } else if (dice < 930) {
      const NodeId id = any();
      if (node(id).running && node(id).core->may_propose()) {
        Propose input;
        input.proposal.time_ms = random_.below(1000);
        input.proposal.payload = SharedBytes("v" + std::to_string(++counter_));
        step(id, input);
      }
    } else if (dice < 960) {
      const NodeId id = any();
      if (node(id).running) {
        const uint64_t read = ++counter_;
        read_floor_[read] = told_;
        step(id, Read{read});
      }
    } else if (dice < 970) {
      const NodeId id = any();
      if (node(id).running && node(id).applied.value > 3)
        step(id, Compact{{node(id).applied.value - random_.below(3)}});
    } else if (dice < 980) {
      step(any(), Transfer{any()});
    } else if (dice < 982) {
      damage_or_mend(calm);
    } else if (dice < 985) {
      if (reconfigure_) change();
    } else if (dice < 990) {
      if (!wanted_.empty()) {
        const auto [from, to] = wanted_.front();
        wanted_.erase(wanted_.begin());
        if (random_.below(4) == 0) {
          step(from, SnapshotSent{to, false, {}});
        } else if (snapshot(from, to)) {
          ++snapshots;
        }
      }
    } else if (!calm && dice < 994) {
      const NodeId id = any();
      if (node(id).running) {
        stop(id);
        for (auto& [pair, support] : support_) {
          if (pair.first == id) support.granted = false;  // forgotten; the silence after start honours it
        }
      } else {
        restart(id);
      }
    } else if (!calm) {
      const NodeId a = any(), b = any();
      if (!cut_.insert({a, b}).second) cut_.erase({a, b});
      if (random_.below(3) == 0) cut_.clear();
    }
    matching();
  }

  void restart(NodeId id) {
    start(id);
    node(id).links.peers.clear();
    for (auto& [other, unused] : nodes) {
      if (other != id) node(id).links.peers[other] = {node(other).incarnation, {}, {}, 0, true};
    }
  }

  void move_message() {
    if (network.empty()) return;
    const size_t i = random_.below(3) == 0 ? random_.below(network.size()) : 0;
    const Packet packet = network[i];
    if (random_.chance(loss_)) {
      network.erase(network.begin() + static_cast<long>(i));
      return;
    }
    if (!random_.chance(loss_ / 2)) network.erase(network.begin() + static_cast<long>(i));
    deliver(packet);
  }

  // One event of the node links: a heartbeat that renews or grants, a withdrawal, or news reaching a range
  // loop.
  void move_links() {
    for (int i = 0; i < 3; ++i) {
      const NodeId a = any(), b = any();
      if (a == b || !node(a).running) continue;
      Support& support = support_[{a, b}];
      PeerLiveness& at_a = node(a).links.peers[b];
      const bool up = node(b).running && connected(a, b) && connected(b, a);
      const Incarnation life = node(b).incarnation;
      const bool b_restarted = up && at_a.incarnation != life;
      if (b_restarted) {  // a new life of b: nothing granted to the old one binds any more
        support.granted = false;
        at_a = {life, {}, {}, 0, true};
        step(a, LivenessChanged{b});
      }
      if (up && random_.below(10) != 0) {
        if (!support.granted) {
          support.epoch = support.epoch.next();
          support.granted = true;
        }
        support.until = now + kPromise;
        PeerLiveness& at_b = node(b).links.peers[a];
        at_b.reachable = true;
        if (at_b.incarnation < node(a).incarnation) at_b = {node(a).incarnation, {}, {}, 0, true};
        const bool fresh = at_b.held != support.epoch;
        at_b.held = support.epoch;
        at_b.held_until = now + kPromise;
        if (fresh) step(b, LivenessChanged{a});
        if (random_.below(3) == 0) show_grant(a, b);
      } else if (support.granted && now >= support.until) {
        support.granted = false;
        at_a.granted = {};
        at_a.reachable = false;
        step(a, LivenessChanged{b});
      } else if (support.granted) {
        show_grant(a, b);
      }
      PeerLiveness& held = node(a).links.peers[b];
      if (held.held.value != 0 && now >= held.held_until && random_.below(2) == 0) {
        held.held = {};
        step(a, LivenessChanged{b});
      }
    }
  }
  void show_grant(NodeId a, NodeId b) {  // the range loop of a hears of a's own grant
    PeerLiveness& at_a = node(a).links.peers[b];
    const SupportEpoch epoch = support_[{a, b}].epoch;
    if (at_a.granted == epoch || at_a.incarnation != node(b).incarnation) return;
    at_a.granted = epoch;
    at_a.reachable = true;
    step(a, LivenessChanged{b});
  }

  // The state machine of one node at a time breaks; whoever leads then mends it.
  void damage_or_mend(bool calm) {
    NodeId damaged, leader;
    for (auto& [id, n] : nodes) {
      if (!n->running) continue;
      if (n->core->damaged()) damaged = id;
      if (n->core->role() == Role::kLeader) leader = id;
    }
    if (damaged.value == 0) {
      const NodeId id = any();
      // In a group of two nobody leads if the newest entry is on the damaged one only.
      if (!calm && !reconfigure_ && node(id).running) step(id, Damaged{});
    } else if (leader.value != 0) {
      wanted_.push_back({leader, damaged});
    }
  }

  void change() {
    ChangeConfig input;
    for (uint64_t id = 1; id <= kNodes; ++id) {
      const uint64_t dice = random_.below(5);
      if (dice < 3) input.voters.push_back({{id}, {id * 10}});
      if (dice == 3) input.learners.push_back({{id}, {id * 10}});
    }
    for (auto& [id, node] : nodes) {
      if (node->running && node->core->role() == Role::kLeader) {
        ++changes;
        step(id, input);
        return;
      }
    }
  }

  // Leader completeness: whoever comes to lead has every entry that was ever committed.
  void check_new_leader() {
    if (new_leader_.value == 0) return;
    const LogImage& log = node(new_leader_).written;
    new_leader_ = {};
    for (const auto& [index, entry] : committed_) {
      if (index <= log.start_index) continue;
      const Entry* own = log.find(index);
      REQUIRE(own != nullptr);
      REQUIRE(*own == entry);
    }
  }

  void check_serving() {
    for (auto& [id, node] : nodes) {
      if (!node->running || !node->core->may_serve(now)) continue;
      ++served;
      // Nobody else can have acknowledged anything newer, and nobody else serves.
      REQUIRE(node->core->commit_index() >= told_);
      for (auto& [other, second] : nodes) {
        REQUIRE((other == id || !second->running || !second->core->may_serve(now)));
      }
    }
  }

  // Log matching: same index and term, same log up to there.
  void matching() {
    if (random_.below(50) != 0) return;
    for (auto& [a, first] : nodes) {
      for (auto& [b, second] : nodes) {
        if (!(a < b)) continue;
        bool equal = false;
        const LogIndex top = std::min(first->written.last_index(), second->written.last_index());
        for (LogIndex i = top; i.value > 0; i = i.prev()) {
          const Entry* x = first->written.find(i);
          const Entry* y = second->written.find(i);
          if (x == nullptr || y == nullptr) break;
          if (equal) REQUIRE(*x == *y);
          if (x->term == y->term) {
            REQUIRE(*x == *y);
            equal = true;
          }
        }
      }
    }
  }

  SeededRandom random_;
  bool reconfigure_;
  double loss_ = 0;
  uint64_t counter_ = 0;
  NodeId new_leader_;
  LogIndex told_;
  std::set<std::pair<NodeId, NodeId>> cut_;
  std::map<std::pair<NodeId, NodeId>, Support> support_;
  std::map<Term, std::pair<NodeId, Incarnation>> leader_of_;
  std::map<LogIndex, Entry> committed_;
  std::map<uint64_t, LogIndex> read_floor_;
  std::vector<std::pair<NodeId, NodeId>> wanted_;
};

void live(uint64_t seed, bool reconfigure, uint64_t* totals) {
  INFO("seed " << seed << (reconfigure ? " with" : " without") << " membership changes");
  World world(seed, reconfigure);
  world.run(6000, false);
  world.heal();
  const size_t before = world.committed();
  world.run(6000, true);
  if (!world.progressed(before)) WARN(world.describe_all());
  CHECK(world.progressed(before));
  totals[0] += world.committed();
  totals[1] += world.leaders;
  totals[2] += world.served;
  totals[3] += world.reads_done;
  totals[4] += world.snapshots;
  totals[5] += world.changes;
}

}  // namespace

TEST_CASE("random lives of a group keep the safety properties of Raft, and go on after healing") {
  const char* from = std::getenv("CAIRN_SEED");
  const char* count = std::getenv("CAIRN_SEEDS");
  const uint64_t first = from != nullptr ? std::strtoull(from, nullptr, 10) : 1;
  const uint64_t seeds = count != nullptr ? std::strtoull(count, nullptr, 10) : 600;
  uint64_t totals[6] = {};
  for (uint64_t seed = first; seed < first + seeds; ++seed) live(seed, seed % 2 == 0, totals);
  INFO("entries " << totals[0] << " leaders " << totals[1] << " served " << totals[2] << " reads " << totals[3]
                  << " snapshots " << totals[4] << " changes " << totals[5]);
  if (std::getenv("CAIRN_VERBOSE") != nullptr) {
    WARN("entries " << totals[0] << " leaders " << totals[1] << " served " << totals[2] << " reads " << totals[3]
                    << " snapshots " << totals[4] << " changes " << totals[5]);
  }
  // The run must have reached what it is meant to check.
  if (seeds >= 20) {
    for (const uint64_t total : totals) CHECK(total > 0);
  }
}
