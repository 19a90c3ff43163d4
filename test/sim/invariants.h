// What must hold after every turn of every node, seen with true time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "test/sim/sim_node.h"

namespace cairn::sim {

class Invariants {
 public:
  Invariants(World& world, std::vector<std::unique_ptr<SimMachine>>& machines) : world_(world), machines_(machines) {}
  void after_turn(SimMachine& machine);
  void machine_gone(SimMachine& machine);
  // A vote has left `machine`: whatever happens to it, it must remember the term (raft 5.2: votes are durable first).
  void vote_left(const SimMachine& machine, RangeId range, Term term);
  bool broken() const { return !what_.empty(); }
  const std::string& what() const { return what_; }
  // At rest: replicas of a range that have applied the same index hold the same rows.
  std::vector<std::string> compare_replicas(
      const std::function<bool(Instant limit, const std::function<bool()>& done)>& run_until);

 private:
  struct Seen {
    Term term;
    LogIndex commit, applied, flushed;
  };
  void fail(std::string text);

  World& world_;
  std::vector<std::unique_ptr<SimMachine>>& machines_;
  std::map<std::pair<RangeId, Term>, std::string> leaders_;     // election safety, raft 5.2
  std::map<std::pair<const SimMachine*, RangeId>, Seen> seen_;  // of one life
  std::map<std::pair<const SimMachine*, RangeId>, Term> voted_;
  std::string what_;
};

}  // namespace cairn::sim
