// Injects faults: a seed draws a subset of the kinds (swarm), then a rate for each. Numbers are those of the fault
// catalogue in docs/simulation.md.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "test/sim/sim_node.h"

namespace cairn::sim {

class Nemesis {
 public:
  Nemesis(World& world, Network& network, std::vector<std::unique_ptr<SimMachine>>& machines, const std::string& mode);
  void start();
  void stop() { *running_ = false; }
  void vote_left(SimMachine& machine);  // a vote has left it
  uint64_t faults() const { return count_; }
  const std::map<std::string, uint64_t>& fired() const { return fired_; }
  const std::vector<std::string>& problems() const { return problems_; }

 private:
  struct Kind {
    std::string name;
    std::string group;
    std::function<bool()> inject;  // false: not possible now
  };
  void next();
  void hit(const std::string& name) {
    ++fired_[name];
    ++count_;
    world_.trace(name);
  }
  SimMachine& any();
  SimMachine* any_running();
  SimMachine* leader_machine();  // leads some range
  void revive(SimMachine& machine, Duration after);
  void power_loss(SimMachine& machine);
  void cut_both(const std::string& a, const std::string& b);
  void for_a_while(Duration mean, Task undo);
  std::vector<Kind> all_kinds();

  World& world_;
  Network& network_;
  std::vector<std::unique_ptr<SimMachine>>& machines_;
  std::vector<Kind> kinds_;
  std::shared_ptr<bool> running_ = std::make_shared<bool>(true);
  Duration mean_gap_ = kSecond;
  uint64_t count_ = 0;
  SimMachine* dies_after_vote_ = nullptr;
  size_t fragile_ = 0;  // the one machine whose reads may come short: damage stays within one replica
  std::map<std::string, uint64_t> fired_;
  std::vector<std::string> problems_;
};

}  // namespace cairn::sim
