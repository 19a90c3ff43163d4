#include "test/sim/life.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/assert.h"
#include "server/cluster/peer_frames.h"
#include "test/sim/checker_adapter.h"
#include "test/sim/client.h"
#include "test/sim/invariants.h"
#include "test/sim/nemesis.h"
#include "test/sim/sim_node.h"

namespace cairn::sim {
namespace {

constexpr Duration kStartLimit = 30 * kSecond;
constexpr Duration kHealLimit = 60 * kSecond;

class Life {
 public:
  Life(uint64_t seed, const LifeOptions& options) : world_(seed), network_(world_), options_(options) {
    world_.verbose = options.verbose;
    report_.seed = seed;
  }

  LifeReport run() {
    build();
    if (start_cluster()) {
      chaos();
      heal_and_read();
    }
    finish();
    return std::move(report_);
  }

 private:
  void violation(std::string text) {
    if (report_.violations.size() < 20) report_.violations.push_back(std::move(text));
  }

  bool run_until(Instant limit, const std::function<bool()>& done) {
    while (world_.now() < limit) {
      if (done()) return true;
      if (!world_.step()) return done();
      if (invariants_ && invariants_->broken()) return false;
    }
    return done();
  }

  void build() {
    Random& r = world_.random;
    const uint64_t nodes = r.between(3, 5);
    server::NodeOptions o;
    o.data_dir = "data";
    o.ranges = static_cast<uint32_t>(r.between(1, 4));
    o.whole = r.chance(0.1);
    o.redirect = server::RedirectMode::kNever;  // READONLY would make its connection a cluster client
    o.log.first_segment_bytes = 64 << 10;
    o.log.segment_bytes = r.chance(0.5) ? 64 << 10 : 1 << 20;  // tiny segments: recycled often
    o.store.memtable_bytes = r.chance(0.5) ? 4 << 10 : 64 << 10;
    o.store.memtable_budget_bytes = 4 * o.store.memtable_bytes;  // flushes lag now and then: writes have to wait
    o.store.block_bytes = 512;
    o.store.strategy = storage::kStrategyKinds[r.below(std::size(storage::kStrategyKinds))];
    o.store.block_cache_bytes = r.chance(0.3) ? 8 << 10 : 1 << 20;
    o.log_budget_bytes = 256 << 10;
    o.scrub_interval = r.chance(0.5) ? r.between(2, 20) * kSecond : 0;
    o.reserve_bytes = r.chance(0.5) ? 0 : 64 << 10;
    o.replica.catchup_bytes = r.chance(0.5) ? 8 << 10 : 1 << 20;  // laggards need snapshots
    if (r.chance(0.25)) o.raft.inflight_messages_max = 1;
    if (r.chance(0.25)) o.raft.message_bytes_max = 1;
    if (r.chance(0.5)) o.raft.held_bytes_max = r.between(0, 4096);
    const bool chunks = r.chance(0.4);  // nearly every value is a long one
    if (chunks) {
      o.replica.whole_bytes_max = r.between(0, 6);
      o.replica.chunk_bytes = static_cast<uint32_t>(r.between(3, 30));
    }
    for (uint64_t i = 1; i <= nodes; ++i) {
      server::NodeOptions mine = o;
      mine.bootstrap = i == 1;
      mine.initial_nodes = static_cast<uint32_t>(nodes);
      if (i != 1) mine.join = {"n1"};
      machines_.push_back(std::make_unique<SimMachine>(world_, network_, fmt::format("n{}", i), mine));
    }
    invariants_ = std::make_unique<Invariants>(world_, machines_);
    network_.on_send = [this](const std::string& from, std::string_view frame) { watch_votes(from, frame); };
    for (auto& machine : machines_) {
      machine->after_turn = [this](SimMachine& m) {
        invariants_->after_turn(m);
        flush_under_fetches(m);
      };
      machine->before_end = [this](SimMachine& m) {
        invariants_->machine_gone(m);
        for (auto& client : clients_) client->machine_gone(m);
      };
      machine->session_output = [this, m = machine.get()](uint64_t session) {
        for (auto& client : clients_) client->output_ready(*m, session);
      };
    }
    workload_.registers = static_cast<uint32_t>(r.between(2, 12));
    workload_.counters = static_cast<uint32_t>(r.between(1, 3));
    workload_.hashes = static_cast<uint32_t>(r.between(0, 2));
    workload_.exploded = r.chance(0.5);
    workload_.flush_all = r.chance(0.4) ? 0.02 : 0;
    if (workload_.flush_all == 0) workload_.stable = static_cast<uint32_t>(r.between(3, 8));
    workload_.pairs = static_cast<uint32_t>(r.between(1, 2));
    workload_.watched = static_cast<uint32_t>(r.between(1, 2));
    workload_.expiring = static_cast<uint32_t>(r.between(0, 1));
    workload_.read_only = r.chance(0.6) ? 0.4 : 0;
    cold_ = r.chance(0.3);
    workload_.large_value = r.chance(0.15) && !chunks ? 0.01 : 0;
    const uint64_t clients = r.between(3, 6);
    for (uint64_t i = 1; i <= clients; ++i) {
      clients_.push_back(std::make_unique<SimClient>(world_, i, machines_, workload_, history_));
    }
  }

  // Aimed: now and then everything is deleted while somebody waits for rows from disk.
  void flush_under_fetches(SimMachine& machine) {
    if (!flusher_aims_ || machine.node() == nullptr) return;
    const uint64_t fetches = std::as_const(*machine.node()).metrics().replica.row_fetches.get();
    uint64_t& seen = fetches_seen_[&machine];
    if (fetches > seen && world_.random.chance(0.3)) clients_.back()->flush_now();
    seen = fetches;
  }

  void watch_votes(const std::string& from, std::string_view frame) {
    if (server::frame_kind(frame) != static_cast<uint8_t>(server::FrameKind::kConsensus)) return;
    const auto consensus = server::ConsensusFrame::decode(SharedBytes(std::string(frame)));
    const auto message = consensus ? consensus::decode_message(consensus->message) : std::nullopt;
    const auto* vote = message ? std::get_if<consensus::VoteReply>(&*message) : nullptr;
    if (vote == nullptr || vote->pre || !vote->granted) return;
    for (const auto& machine : machines_) {
      if (machine->address() != from) continue;
      world_.trace("vote of " + from, consensus->range.value, vote->term.value);
      invariants_->vote_left(*machine, consensus->range, vote->term);
      if (nemesis_) nemesis_->vote_left(*machine);
    }
  }

  bool start_cluster() {
    for (auto& machine : machines_) {
      SimMachine* m = machine.get();
      world_.after(world_.random.between(0, 50) * kMillisecond, [this, m] {
        if (!m->start()) violation("a fresh node did not start: " + to_string(m->error()));
      });
    }
    const bool up = run_until(world_.now() + kStartLimit, [&] {
      return std::all_of(machines_.begin(), machines_.end(),
                         [](const auto& m) { return m->running() && m->node()->cluster_ready(nullptr); });
    });
    if (!up) {
      std::string why = "nothing";
      for (const auto& m : machines_) {
        if (!m->running()) {
          why = m->address() + " is not running";
        } else if (!m->node()->cluster_ready(&why)) {
          why = m->address() + ": " + why;
          break;
        }
      }
      violation("the cluster did not form: " + why);
    }
    return up;
  }

  void chaos() {
    clients_.push_back(std::make_unique<SimClient>(world_, clients_.size() + 1, machines_, workload_, history_));
    clients_.back()->stop();  // does nothing of its own accord
    for (size_t i = 0; i + 1 < clients_.size(); ++i) clients_[i]->start();
    flusher_aims_ = cold_ && workload_.flush_all > 0;
    if (cold_) {  // rows come from disk, in the background, and take their time
      for (auto& machine : machines_) {
        machine->cold_reads = true;
        machine->set_background_slowness(10);
      }
    }
    nemesis_ = std::make_unique<Nemesis>(world_, network_, machines_, options_.mode);
    Nemesis& nemesis = *nemesis_;
    nemesis.start();
    const Instant end = world_.now() + world_.random.between(30, 40) * kSecond;
    run_until(end, [&] { return world_.now() >= end && history_.size() >= 1000 && nemesis.faults() >= 20; });
    nemesis.stop();
    flusher_aims_ = false;
    for (const auto& [kind, count] : nemesis.fired()) report_.faults[kind] += count;
    for (const std::string& problem : nemesis.problems()) violation(problem);
  }

  // A live majority must serve again by itself; then everything acknowledged must be there.
  void heal_and_read() {
    if (invariants_->broken()) return;
    network_.heal_all();
    network_.faults = {};
    for (auto& m : machines_) {
      m->set_faults({});
      m->set_capacity(~uint64_t{0});
      m->cold_reads = false;
      m->clock().freeze_wall(false);
      m->set_slowness(1);
      m->crash_at_operation(0);
      m->set_background_slowness(1);
      m->set_disk_slowness(1);
    }
    for (auto& client : clients_) client->stop();
    const Instant healed = world_.now();
    // Processes that ended themselves are started again, as a service manager would.
    const bool ready = run_until(healed + kHealLimit, [&] {
      bool all = true;
      for (auto& m : machines_) {
        if (!m->running() && !m->start()) {
          all = false;
          continue;
        }
        all = all && !m->paused() && m->node()->cluster_ready(nullptr);
      }
      return all;
    });
    if (!ready) {
      std::string text = "not ready 60 s after healing:";
      for (auto& m : machines_) {
        std::string why = "ready";
        if (!m->running()) {
          why = "not running: " + to_string(m->error());
        } else {
          m->node()->cluster_ready(&why);
        }
        text += " " + m->address() + " " + why + ";";
        if (m->running() && world_.verbose) {
          for (const auto& [id, replica] : m->node()->replicas()) {
            const auto s = replica->core().status();
            std::printf(
                "%s range %llu: %s term %llu leader %llu last %llu commit %llu applied %llu suspect %d deadline %.3f "
                "now %.3f voters %zu\n",
                m->address().c_str(), (unsigned long long)id.value, std::string(to_string(s.role)).c_str(),
                (unsigned long long)s.term.value, (unsigned long long)s.leader.value,
                (unsigned long long)s.last_index.value, (unsigned long long)s.commit.value,
                (unsigned long long)s.applied.value, s.suspect, (double)replica->core().next_deadline() * 1e-9,
                (double)m->clock().now() * 1e-9, s.configuration.voters.size());
          }
        }
      }
      violation(text);
      return;
    }
    const auto idle = [&] {
      return std::all_of(clients_.begin(), clients_.end(), [](const auto& c) { return c->idle(); });
    };
    // What was sent over a crawling link is still on its way, and what is sent now arrives behind it.
    const Instant settled = world_.now() + 4 * kSecond;
    run_until(world_.now() + 10 * kSecond, [&] { return world_.now() >= settled && idle(); });
    // Twice, through different nodes.
    for (int round = 0; round < 2; ++round) {
      const size_t before = history_.size();
      clients_[static_cast<size_t>(round)]->read_everything();
      if (world_.verbose && !run_until(world_.now() + 2 * kSecond, idle)) print_waiting();
      run_until(world_.now() + 20 * kSecond, idle);
      for (size_t i = before; i < history_.size(); ++i) {
        if (history_[i].outcome != Outcome::kOk) {
          violation("a key cannot be read after healing: " + to_string(history_[i]));
          break;
        }
      }
    }
    if (!invariants_->broken()) scrub_and_mend();
    if (!invariants_->broken()) {
      for (std::string& problem : invariants_->compare_replicas(
               [&](Instant limit, const std::function<bool()>&done) { return run_until(limit, done); })) {
        violation(std::move(problem));
      }
    }
  }

  // Damage that no read has met is found, and every replica gets whole again from its leader.
  void scrub_and_mend() {
    for (const auto& m : machines_) {
      m->run_on_loop([machine = m.get()] {
        std::vector<RangeId> ranges;
        for (const auto& [id, replica] : machine->node()->replicas()) ranges.push_back(id);
        (void)machine->node()->start_scrub(ranges);
      });
    }
    std::string left;
    const auto whole = [&] {
      left.clear();
      for (const auto& m : machines_) {
        if (!m->running()) continue;
        if (m->node()->scrub_status().state != storage::ScrubStatus::State::kDone) left += " scrub of " + m->address();
        for (const auto& [id, replica] : m->node()->replicas()) {
          if (replica->core().suspect()) continue;
          if (replica->core().damaged() || replica->tablet().stats().corrupt) {
            left += fmt::format(" range {} of {}", id.value, m->address());
          }
        }
      }
      return left.empty();
    };
    if (!run_until(world_.now() + 60 * kSecond, whole)) violation("not whole 60 s after a scrub:" + left);
    for (const auto& m : machines_) {
      if (m->running()) report_.faults["(repairs)"] += std::as_const(*m->node()).metrics().repairs.get();
    }
  }

  void print_waiting() {
    for (const auto& m : machines_) {
      if (!m->running()) continue;
      std::printf("%s forwarding %zu\n", m->address().c_str(), m->node()->forwarding_waiting());
      for (const auto& [id, replica] : m->node()->replicas()) {
        std::printf("  %s term %llu leader %llu\n", replica->waiting_text().c_str(),
                    static_cast<unsigned long long>(replica->core().term().value),
                    static_cast<unsigned long long>(replica->core().leader().value));
      }
    }
  }

  void finish() {
    if (invariants_->broken()) violation(invariants_->what());
    bool undecided = false;
    for (const std::string& problem : check_history(history_, &undecided)) violation(problem);
    if (undecided) ++report_.faults["(history undecided)"];
    if (world_.verbose) {
      for (const Operation& op : history_) std::printf("op %s\n", to_string(op).substr(0, 200).c_str());
    }
    for (const auto& client : clients_) {
      for (const std::string& problem : client->problems()) violation(problem);
    }
    for (const auto& machine : machines_) {
      for (const auto& [kind, count] : machine->fired) report_.faults[kind] += count;
    }
    for (const auto& [kind, count] : network_.fired) report_.faults[kind] += count;
    report_.operations = history_.size();
    for (const Operation& op : history_) report_.acknowledged += op.outcome == Outcome::kOk ? 1 : 0;
    report_.trace_hash = world_.hash();
    report_.simulated = world_.now();
    report_.events = world_.events();
    clients_.clear();
    for (auto& machine : machines_) {
      machine->after_turn = nullptr;
      machine->before_end = nullptr;
      machine->session_output = nullptr;
    }
    world_.forget_events();
    machines_.clear();
  }

  World world_;
  Network network_;
  LifeOptions options_;
  LifeReport report_;
  WorkloadOptions workload_;
  std::vector<Operation> history_;
  std::vector<std::unique_ptr<SimMachine>> machines_;
  std::vector<std::unique_ptr<SimClient>> clients_;
  std::unique_ptr<Invariants> invariants_;
  std::unique_ptr<Nemesis> nemesis_;
  bool cold_ = false;
  bool flusher_aims_ = false;
  std::map<const SimMachine*, uint64_t> fetches_seen_;
};

}  // namespace

LifeReport run_life(uint64_t seed, const LifeOptions& options) { return Life(seed, options).run(); }

}  // namespace cairn::sim
