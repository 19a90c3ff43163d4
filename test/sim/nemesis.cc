#include "test/sim/nemesis.h"

#include <fmt/format.h>

#include <algorithm>

#include "test/sim/client.h"
#include "test/sim/life.h"

namespace cairn::sim {

const std::vector<std::string>& fault_kinds() {
  static const std::vector<std::string> kKinds = {"1 drop",
                                                  "2 duplicate",
                                                  "3 reorder",
                                                  "4 delay",
                                                  "5 corrupt",
                                                  "6 truncate",
                                                  "7 large frame",
                                                  "8 partition",
                                                  "9 one-way",
                                                  "10 isolate",
                                                  "11 ring",
                                                  "12 bridge",
                                                  "13 clog",
                                                  "14 swizzle-clog",
                                                  "15 slow link",
                                                  "16 reset storm",
                                                  "17 kill",
                                                  "18 kill all",
                                                  "19 pause",
                                                  "20 pause across lease end",
                                                  "21 crash at operation",
                                                  "23 slow cpu",
                                                  "24 start twice",
                                                  "25 clock jump",
                                                  "26 clock drift",
                                                  "27 clock freeze",
                                                  "28 clock strobe",
                                                  "29 clocks differ",
                                                  "30 torn write",
                                                  "31 lost write",
                                                  "32 reordered write",
                                                  "34 write error",
                                                  "35 disk full",
                                                  "36 sync error",
                                                  "37 slow disk",
                                                  "38 hung disk",
                                                  "39 bit flip",
                                                  "42 read error",
                                                  "43 short read"};
  return kKinds;
}

Nemesis::Nemesis(World& world, Network& network, std::vector<std::unique_ptr<SimMachine>>& machines,
                 const std::string& mode)
    : world_(world), network_(network), machines_(machines) {
  std::vector<Kind> kinds = all_kinds();
  std::vector<Kind> chosen;
  for (Kind& kind : kinds) {
    if (mode != "mix" && kind.group != mode) continue;
    if (mode != "mix" || world_.random.chance(0.35)) chosen.push_back(std::move(kind));
  }
  kinds = all_kinds();
  while (chosen.size() < 7) {
    Kind& kind = kinds[world_.random.below(kinds.size())];
    if (std::none_of(chosen.begin(), chosen.end(), [&](const Kind& k) { return k.name == kind.name; })) {
      chosen.push_back(kind);
    }
  }
  kinds_ = std::move(chosen);
  mean_gap_ = world_.random.between(300, 1200) * kMillisecond;
  fragile_ = world_.random.below(machines_.size());
  machines_[fragile_]->fragile = true;
}

SimMachine& Nemesis::any() { return *machines_[world_.random.below(machines_.size())]; }

SimMachine* Nemesis::any_running() {
  std::vector<SimMachine*> running;
  for (const auto& m : machines_) {
    if (m->running()) running.push_back(m.get());
  }
  return running.empty() ? nullptr : running[world_.random.below(running.size())];
}

SimMachine* Nemesis::leader_machine() {
  std::vector<SimMachine*> leaders;
  for (const auto& m : machines_) {
    if (!m->running()) continue;
    for (const auto& [id, replica] : m->node()->replicas()) {
      if (replica->core().role() == consensus::Role::kLeader) {
        leaders.push_back(m.get());
        break;
      }
    }
  }
  return leaders.empty() ? nullptr : leaders[world_.random.below(leaders.size())];
}

void Nemesis::start() { next(); }

void Nemesis::next() {
  world_.after(world_.exponential(mean_gap_) + kMillisecond, [this, running = running_] {
    if (!*running) return;
    Kind& kind = kinds_[world_.random.below(kinds_.size())];
    if (kind.inject()) hit(kind.name);
    // Whatever ended itself is started again sooner or later.
    for (const auto& m : machines_) {
      if (!m->running() && world_.random.chance(0.3)) revive(*m, world_.exponential(500 * kMillisecond));
    }
    next();
  });
}

void Nemesis::revive(SimMachine& machine, Duration after) {
  world_.after(after, [this, running = running_, &machine] {
    if (!*running) return;  // healing starts what is down
    if (!machine.running() && !machine.start()) revive(machine, 500 * kMillisecond);
  });
}

void Nemesis::power_loss(SimMachine& machine) {
  const bool tear = world_.random.chance(0.5);
  machine.kill(true, {.keep_data = tear ? 0.5 : 0, .keep_directory = tear ? 0.5 : 0, .tear = tear, .reorder = tear});
  revive(machine, world_.exponential(300 * kMillisecond));
}

void Nemesis::vote_left(SimMachine& machine) {
  if (dies_after_vote_ != &machine || !*running_) return;
  dies_after_vote_ = nullptr;
  world_.after(world_.random.between(1, 50) * kMicrosecond, [this, running = running_, &machine] {
    if (!*running || !machine.running()) return;
    hit("31 lost write");
    power_loss(machine);
  });
}

void Nemesis::cut_both(const std::string& a, const std::string& b) {
  network_.cut(a, b);
  network_.cut(b, a);
}

void Nemesis::for_a_while(Duration mean, Task undo) {
  world_.after(world_.exponential(mean) + 10 * kMillisecond, [running = running_, undo = std::move(undo)]() mutable {
    if (*running) undo();
  });
}

std::vector<Nemesis::Kind> Nemesis::all_kinds() {
  std::vector<Kind> kinds;
  const auto add = [&](std::string name, std::string group, std::function<bool()> inject) {
    kinds.push_back({std::move(name), std::move(group), std::move(inject)});
  };
  const auto message = [&](const char* name, double NetworkFaults::*rate, double most) {
    add(name, "network", [this, rate, most] {
      if (network_.faults.*rate != 0) return false;
      network_.faults.*rate = most * static_cast<double>(world_.random.between(1, 100)) / 100;
      for_a_while(2 * kSecond, [this, rate] { network_.faults.*rate = 0; });
      return true;
    });
  };
  message("1 drop", &NetworkFaults::drop, 0.3);
  message("2 duplicate", &NetworkFaults::duplicate, 0.5);
  message("3 reorder", &NetworkFaults::reorder, 0.3);
  message("5 corrupt", &NetworkFaults::corrupt, 0.003);
  message("6 truncate", &NetworkFaults::truncate, 0.003);
  add("4 delay", "network", [this] {
    network_.faults.delay_mean = world_.random.between(100, 100'000) * kMicrosecond;
    for_a_while(2 * kSecond, [this] { network_.faults.delay_mean = 200 * kMicrosecond; });
    return true;
  });
  add("7 large frame", "network", [this] {
    SimMachine* m = any_running();
    if (m == nullptr) return false;
    // A command of a megabyte, outside the keys that are checked; less where it becomes many small rows.
    const size_t bytes = std::min<size_t>(1'000'000, size_t{2000} * m->options().replica.chunk_bytes);
    auto session = std::make_shared<server::Session>(m->node()->new_session_id(), *m->node(), server::SessionOptions{});
    session->on_input(command_bytes({"SET", "large", std::string(bytes, 'z')}));
    session->on_close();
    return true;
  });
  add("8 partition", "network", [this] {
    std::vector<bool> left;
    for (size_t i = 0; i < machines_.size(); ++i) left.push_back(world_.random.chance(0.5));
    for (size_t i = 0; i < machines_.size(); ++i) {
      for (size_t k = 0; k < i; ++k) {
        if (left[i] != left[k]) cut_both(machines_[i]->address(), machines_[k]->address());
      }
    }
    for_a_while(2 * kSecond, [this] { network_.heal_all(); });
    return true;
  });
  add("9 one-way", "network", [this] {
    SimMachine &a = any(), &b = any();
    if (&a == &b) return false;
    network_.cut(a.address(), b.address());
    for_a_while(2 * kSecond, [this, &a, &b] { network_.heal(a.address(), b.address()); });
    return true;
  });
  add("10 isolate", "network", [this] {
    SimMachine* chosen = world_.random.chance(0.7) ? leader_machine() : &any();
    if (chosen == nullptr) return false;
    for (const auto& m : machines_) {
      if (m.get() != chosen) cut_both(m->address(), chosen->address());
    }
    for_a_while(2 * kSecond, [this] { network_.heal_all(); });
    return true;
  });
  add("11 ring", "network", [this] {  // each hears only its neighbours
    const size_t n = machines_.size();
    if (n < 4) return false;
    for (size_t i = 0; i < n; ++i) {
      for (size_t k = 0; k < n; ++k) {
        if (i != k && (i + 1) % n != k && (k + 1) % n != i)
          network_.cut(machines_[i]->address(), machines_[k]->address());
      }
    }
    for_a_while(2 * kSecond, [this] { network_.heal_all(); });
    return true;
  });
  add("12 bridge", "network", [this] {  // two halves that only one node connects
    const size_t bridge = world_.random.below(machines_.size());
    std::vector<size_t> others;
    for (size_t i = 0; i < machines_.size(); ++i) {
      if (i != bridge) others.push_back(i);
    }
    for (size_t a : others) {
      for (size_t b : others) {
        if (a < b && (a + b) % 2 == 1) cut_both(machines_[a]->address(), machines_[b]->address());
      }
    }
    for_a_while(2 * kSecond, [this] { network_.heal_all(); });
    return true;
  });
  add("13 clog", "network", [this] {
    SimMachine &a = any(), &b = any();
    if (&a == &b) return false;
    network_.slow(a.address(), b.address(), 500 * kMillisecond);
    network_.slow(b.address(), a.address(), 500 * kMillisecond);
    for_a_while(2 * kSecond, [this] { network_.heal_all(); });
    return true;
  });
  add("14 swizzle-clog", "network", [this] {  // cut one after another, healed in another order
    std::vector<SimMachine*> order;
    for (const auto& m : machines_) order.push_back(m.get());
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[world_.random.below(i)]);
    Duration at = 0;
    for (SimMachine* m : order) {
      at += world_.random.between(10, 200) * kMillisecond;
      const Duration until = at + world_.random.between(100, 1500) * kMillisecond;
      world_.after(at, [this, running = running_, m] {
        if (!*running) return;
        for (const auto& other : machines_) {
          if (other.get() != m) cut_both(m->address(), other->address());
        }
      });
      world_.after(until, [this, m] {
        for (const auto& other : machines_) {
          network_.heal(m->address(), other->address());
          network_.heal(other->address(), m->address());
        }
      });
    }
    return true;
  });
  add("15 slow link", "network", [this] {
    SimMachine &a = any(), &b = any();
    if (&a == &b) return false;
    if (world_.random.chance(0.5)) {
      network_.slow(a.address(), b.address(), world_.random.between(1, 100) * kMillisecond);
    } else {  // messages of the groups crawl while the heartbeats fly
      network_.slow(a.address(), b.address(), world_.random.between(200, 3000) * kMillisecond, true);
    }
    for_a_while(3 * kSecond, [this] { network_.heal_all(); });
    return true;
  });
  add("16 reset storm", "network", [this] {
    for (int i = 0; i < 10; ++i) {
      world_.after(world_.random.between(1, 500) * kMillisecond, [this, running = running_] {
        if (*running) network_.reset(any().address(), any().address());
      });
    }
    return true;
  });

  add("17 kill", "process", [this] {
    SimMachine* m = world_.random.chance(0.6) ? leader_machine() : any_running();
    if (m == nullptr) return false;
    m->kill(false);
    revive(*m, world_.exponential(kSecond));
    // Elections follow; now and then somebody loses power just after he has voted in one.
    if (world_.random.chance(0.4)) dies_after_vote_ = any_running();
    return true;
  });
  add("18 kill all", "process", [this] {
    for (const auto& m : machines_) {
      m->kill(false);
      revive(*m, world_.exponential(300 * kMillisecond));
    }
    return true;
  });
  add("19 pause", "process", [this] {
    SimMachine* m = world_.random.chance(0.6) ? leader_machine() : any_running();
    if (m == nullptr) return false;
    m->pause(world_.random.chance(0.1) ? world_.random.between(1, 10) * kSecond
                                       : world_.random.between(1, 2000) * kMillisecond);
    return true;
  });
  add("20 pause across lease end", "process", [this] {
    SimMachine* m = leader_machine();
    if (m == nullptr) return false;
    m->pause(world_.random.between(350, 1300) * kMillisecond);
    return true;
  });
  add("21 crash at operation", "process", [this] {
    SimMachine* m = any_running();
    if (m == nullptr) return false;
    m->crash_at_operation(world_.random.between(1, 60));
    return true;
  });
  add("23 slow cpu", "process", [this] {
    SimMachine* m = any_running();
    if (m == nullptr) return false;
    m->set_slowness(20);
    for_a_while(2 * kSecond, [m] { m->set_slowness(1); });
    return true;
  });
  add("24 start twice", "process", [this] {
    SimMachine* m = any_running();
    if (m == nullptr) return false;
    if (!m->second_process_refused()) problems_.push_back("a second process opened the directory of " + m->address());
    return true;
  });

  add("25 clock jump", "clock", [this] {
    any().clock().jump_wall(static_cast<int64_t>(world_.random.between(0, 7'200'000)) - 3'600'000);
    return true;
  });
  add("26 clock drift", "clock", [this] {
    any().clock().set_drift(static_cast<int64_t>(world_.random.between(0, 1000)) - 500);
    return true;
  });
  add("27 clock freeze", "clock", [this] {
    SimMachine& m = any();
    m.clock().freeze_wall(true);
    for_a_while(3 * kSecond, [&m] { m.clock().freeze_wall(false); });
    return true;
  });
  add("28 clock strobe", "clock", [this] {
    SimMachine& m = any();
    for (int i = 0; i < 20; ++i) {
      world_.after(static_cast<Duration>(i) * 20 * kMillisecond,
                   [&m, i] { m.clock().jump_wall(i % 2 == 0 ? 60'000 : -60'000); });
    }
    return true;
  });
  add("29 clocks differ", "clock", [this] {
    for (const auto& m : machines_)
      m->clock().set_wall_offset(static_cast<int64_t>(world_.random.between(0, 600'000)) - 300'000);
    return true;
  });

  const auto power = [&](const char* name, storage::CrashOptions crash) {
    add(name, "power", [this, crash] {
      const bool everything = world_.random.chance(0.4);  // all nodes at one instant
      SimMachine* one = any_running();
      for (const auto& m : machines_) {
        if (!everything && m.get() != one) continue;
        if (everything) hit("18 kill all");
        m->kill(true, crash);
        revive(*m, world_.exponential(500 * kMillisecond));
      }
      return true;
    });
  };
  power("30 torn write", {.keep_data = 0.5, .keep_directory = 0.5, .tear = true, .reorder = true});
  power("31 lost write", {.keep_data = 0, .keep_directory = 0, .tear = false, .reorder = false});
  power("32 reordered write", {.keep_data = 0.5, .keep_directory = 0.5, .tear = false, .reorder = true});
  const auto disk = [&](const char* name, double DiskFaults::*rate, double value) {
    add(name, "disk", [this, rate, value] {
      SimMachine& m = any();
      DiskFaults faults;
      faults.*rate = value;
      m.set_faults(faults);
      for_a_while(500 * kMillisecond, [&m] { m.set_faults({}); });
      return true;
    });
  };
  disk("34 write error", &DiskFaults::write_error, 0.02);
  disk("36 sync error", &DiskFaults::sync_error, 0.2);
  disk("42 read error", &DiskFaults::read_error, 0.3);
  add("43 short read", "disk", [this] {
    SimMachine& m = *machines_[fragile_];
    m.set_faults({.short_read = 0.05});
    for_a_while(300 * kMillisecond, [&m] { m.set_faults({}); });
    return true;
  });
  add("39 bit flip", "disk", [this] { return machines_[fragile_]->flip_bit_of_sstable(); });
  add("35 disk full", "disk", [this] {
    SimMachine& m = any();
    m.set_capacity(m.used_bytes() + world_.random.below(64 << 10));
    for_a_while(2 * kSecond, [&m] { m.set_capacity(~uint64_t{0}); });
    return true;
  });
  add("37 slow disk", "disk", [this] {
    SimMachine* m = any_running();
    if (m == nullptr) return false;
    m->set_disk_slowness(world_.random.chance(0.3) ? 1000 : 50);
    for_a_while(kSecond, [m] { m->set_disk_slowness(1); });
    return true;
  });
  add("38 hung disk", "disk", [this] {
    SimMachine* m = any_running();
    if (m == nullptr) return false;
    const Duration hang = world_.random.between(100, 5000) * kMillisecond;
    m->hang_disk(hang);
    if (world_.random.chance(0.4)) {  // somebody pulls the plug
      world_.after(hang * 9 / 10, [this, running = running_, m] {
        if (*running && m->running()) power_loss(*m);
      });
    }
    return true;
  });
  // Not a fault of the catalogue, but what makes rows come from disk.
  add("cold page cache", "disk", [this] {
    SimMachine& m = any();
    m.cold_reads = true;
    for_a_while(3 * kSecond, [&m] { m.cold_reads = false; });
    return true;
  });
  return kinds;
}

}  // namespace cairn::sim
