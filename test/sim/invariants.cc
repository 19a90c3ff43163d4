#include "test/sim/invariants.h"

#include <fmt/format.h>

#include "server/commands/row_format.h"

namespace cairn::sim {

void Invariants::fail(std::string text) {
  if (what_.empty()) what_ = fmt::format("at {:.6f} s: {}", static_cast<double>(world_.now()) * 1e-9, text);
}

void Invariants::after_turn(SimMachine& machine) {
  server::Node* node = machine.node();
  if (node == nullptr) return;
  for (const auto& [id, replica] : node->replicas()) {
    const auto& core = replica->core();
    const auto& tablet = replica->tablet();
    const auto [entry, first_look] = seen_.try_emplace({&machine, id});
    Seen& seen = entry->second;
    if (first_look && !machine.fragile && core.status().suspect) {
      fail(fmt::format(
          "{}: what recovery found of range {} does not fit, though the disk kept what was synced: log {}..{}, "
          "commit {}, applied {}, term {}",
          machine.address(), id.value, core.first_index().value, core.last_index().value, core.commit_index().value,
          tablet.applied().index.value, core.term().value));
    }
    const auto vote = voted_.find({&machine, id});
    if (vote != voted_.end() && core.term() < vote->second && !machine.fragile)
      fail(fmt::format("{}: range {} voted in term {} and forgot it", machine.address(), id.value, vote->second.value));
    if (core.term() < seen.term) fail(fmt::format("{}: term of range {} went back", machine.address(), id.value));
    if (core.commit_index() < seen.commit)
      fail(fmt::format("{}: commit index of range {} went back", machine.address(), id.value));
    if (tablet.applied().index < seen.applied)
      fail(fmt::format("{}: applied index of range {} went back", machine.address(), id.value));
    if (tablet.flushed().index > tablet.applied().index)
      fail(fmt::format("{}: flushed > applied in range {}", machine.address(), id.value));
    seen = {core.term(), core.commit_index(), tablet.applied().index, tablet.flushed().index};
    if (core.role() != consensus::Role::kLeader) continue;
    const auto [at, fresh] = leaders_.try_emplace({id, core.term()}, machine.address());
    if (!fresh && at->second != machine.address()) {
      fail(fmt::format("range {} has two leaders in term {}: {} and {}", id.value, core.term().value, at->second,
                       machine.address()));
    }
    // Two replicas that would both answer reads without asking anybody, at one true instant.
    if (!core.may_serve(machine.clock().now()) || machine.paused()) continue;
    for (const auto& other : machines_) {
      if (other.get() == &machine || !other->running() || other->paused()) continue;
      const auto theirs = other->node()->replicas().find(id);
      if (theirs == other->node()->replicas().end()) continue;
      if (theirs->second->core().may_serve(other->clock().now())) {
        fail(fmt::format("range {}: {} and {} both hold a lease", id.value, machine.address(), other->address()));
      }
    }
  }
}

void Invariants::machine_gone(SimMachine& machine) {
  for (auto at = seen_.lower_bound({&machine, RangeId{0}}); at != seen_.end() && at->first.first == &machine;) {
    at = seen_.erase(at);
  }
}

void Invariants::vote_left(const SimMachine& machine, RangeId range, Term term) {
  Term& known = voted_[{&machine, range}];
  known = std::max(known, term);
}

std::vector<std::string> Invariants::compare_replicas(
    const std::function<bool(Instant limit, const std::function<bool()>& done)>& run_until) {
  std::vector<std::string> problems;
  struct Content {
    uint64_t index = 0;
    uint64_t hash = 0;
    uint64_t rows = 0;
    bool done = false;
    bool failed = false;
    std::string where;
  };
  std::map<RangeId, std::vector<std::shared_ptr<Content>>> contents;
  size_t left = 0;
  for (const auto& machine : machines_) {
    if (!machine->running()) continue;
    for (const auto& [id, replica] : machine->node()->replicas()) {
      if (replica->core().status().suspect) continue;
      auto content = std::make_shared<Content>();
      content->where = machine->address();
      contents[id].push_back(content);
      ++left;
      content->index = replica->tablet().applied().index.value;
      storage::FetchRequest request;
      // Rows that are due may be there or not: compactions drop them.
      const uint64_t now_ms = replica->tablet().applied().time_ms;
      request.visit = [content, now_ms](std::string_view key, std::string_view value) {
        const uint64_t expiry = server::row_expiry(key, value);
        if (expiry != 0 && expiry <= now_ms) return true;
        content->hash = hash64(key, content->hash);
        content->hash = hash64(value, content->hash);
        ++content->rows;
        return true;
      };
      replica->tablet().fetch(std::move(request), [content, &left](Result<storage::FetchResult> result) {
        content->failed = !result;
        content->done = true;
        --left;
      });
    }
  }
  if (!run_until(world_.now() + 20 * kSecond, [&] { return left == 0; })) {
    problems.push_back("reading the replicas for comparison did not end");
    return problems;
  }
  for (const auto& [id, list] : contents) {
    for (const auto& a : list) {
      for (const auto& b : list) {
        if (a->index == b->index && !a->failed && !b->failed && (a->hash != b->hash || a->rows != b->rows) && a < b) {
          problems.push_back(fmt::format("range {}: {} and {} differ at index {} ({} and {} rows)", id.value, a->where,
                                         b->where, a->index, a->rows, b->rows));
        }
      }
    }
  }
  return problems;
}

}  // namespace cairn::sim
