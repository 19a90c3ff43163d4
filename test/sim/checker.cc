#include "checker.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace cairn::sim {
namespace {

using State = std::optional<std::string>;  // of one key

std::optional<int64_t> integer(const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The state after `op`, or nullopt if op cannot have had its result in `state`. Unknown outcomes had no
// result.
std::optional<State> state_after(const Operation& op, const State& state) {
  const bool known = op.outcome == Outcome::kOk;
  switch (op.kind) {
    case OpKind::kWrite: return State(op.argument);
    case OpKind::kRead:
      if (known && op.result != state) return std::nullopt;
      return state;
    case OpKind::kDelete:
      if (known && op.result && *op.result != (state ? "1" : "0")) return std::nullopt;
      return State();
    case OpKind::kIncrement: {
      const auto before = state ? integer(*state) : std::optional<int64_t>(0);
      const auto by = integer(op.argument);
      int64_t after = 0;
      if (!before || !by || __builtin_add_overflow(*before, *by, &after)) {
        return known ? std::nullopt : std::optional<State>(state);
      }
      std::string text = std::to_string(after);
      if (known && op.result != text) return std::nullopt;
      return State(std::move(text));
    }
    case OpKind::kSetIfAbsent:
      if (known && op.result != (state ? "0" : "1")) return std::nullopt;
      return state ? state : State(op.argument);
  }
  return std::nullopt;
}

std::string describe(const State& state) { return state ? "'" + *state + "'" : "nil"; }

// One key's search. Depth first: at each point only operations that no remaining one precedes may come next;
// answered ones are tried before those of unknown outcome, so that the latter take effect only where
// something needs them.
class KeySearch {
 public:
  KeySearch(std::vector<Operation> ops, uint64_t steps_max) : ops_(std::move(ops)), steps_max_(steps_max) {
    std::stable_sort(ops_.begin(), ops_.end(),
                     [](const Operation& a, const Operation& b) { return a.invoked < b.invoked; });
    const size_t n = ops_.size();
    done_.assign(n, false);
    next_.resize(n + 1);
    previous_.resize(n + 1);
    for (size_t i = 0; i <= n; ++i) {  // n is the list's head
      next_[i] = i == n ? 0 : i + 1;
      previous_[i] = i == 0 ? n : i - 1;
    }
    for (const Operation& op : ops_) required_ += op.outcome == Outcome::kOk ? 1 : 0;
  }

  Verdict run() {
    std::vector<Frame> stack;
    stack.push_back({candidates(), 0, npos, State()});
    while (required_ > 0) {
      Frame& top = stack.back();
      if (top.tried == top.candidates.size()) {
        if (stack.size() == 1) return Verdict::kViolation;
        put_back(top.op);
        state_ = std::move(top.before);
        stack.pop_back();
        continue;
      }
      const size_t op = top.candidates[top.tried++];
      const auto after = state_after(ops_[op], state_);
      if (!after) continue;
      if (ops_[op].outcome == Outcome::kUnknown && *after == state_) continue;  // no use in having it now
      if (++steps_ > steps_max_) return Verdict::kUndecided;
      take(op);
      State before = std::exchange(state_, *after);
      if (dominated()) {
        put_back(op);
        state_ = std::move(before);
        continue;
      }
      if (required_ < fewest_left_) remember();
      stack.push_back({candidates(), 0, op, std::move(before)});
    }
    return Verdict::kLinearizable;
  }

  uint64_t steps() const { return steps_; }
  std::string explanation() const {
    std::string text = "no order explains more than " + std::to_string(ops_.size() - blocked_.size()) + " of " +
                       std::to_string(ops_.size()) + " operations; there the value is " + describe(blocked_state_) +
                       ", and none of these can come next:";
    size_t shown = 0;
    for (const size_t op : next_candidates_) {
      text += "\n  " + to_string(ops_[op]);
      if (++shown == 20) break;
    }
    return text;
  }

 private:
  static constexpr size_t npos = ~size_t{0};
  struct Frame {
    std::vector<size_t> candidates;
    size_t tried;
    size_t op;     // linearized to get here
    State before;  // the state before it
  };

  bool unknown(size_t op) const { return ops_[op].outcome == Outcome::kUnknown; }

  std::vector<size_t> candidates() const {
    std::vector<size_t> answered, maybe;
    Instant earliest_return = kNever;
    const size_t head = ops_.size();
    for (size_t i = next_[head]; i != head; i = next_[i]) {
      if (ops_[i].invoked > earliest_return) break;
      if (unknown(i)) {
        maybe.push_back(i);
      } else {
        answered.push_back(i);
        earliest_return = std::min(earliest_return, ops_[i].returned);
      }
    }
    // Of those answered, the ones that returned first are the likeliest to come first.
    std::sort(answered.begin(), answered.end(),
              [&](size_t a, size_t b) { return ops_[a].returned < ops_[b].returned; });
    answered.insert(answered.end(), maybe.begin(), maybe.end());
    return answered;
  }

  void take(size_t op) {
    next_[previous_[op]] = next_[op];
    previous_[next_[op]] = previous_[op];
    done_[op] = true;
    if (unknown(op)) {
      used_unknown_.insert(std::lower_bound(used_unknown_.begin(), used_unknown_.end(), op), op);
    } else {
      --required_;
    }
  }
  void put_back(size_t op) {
    next_[previous_[op]] = op;
    previous_[next_[op]] = op;
    done_[op] = false;
    if (unknown(op)) {
      used_unknown_.erase(std::lower_bound(used_unknown_.begin(), used_unknown_.end(), op));
    } else {
      ++required_;
    }
  }

  // True if the search has been here with the same operations and value, having used no other operations of
  // unknown outcome than now: then more was possible there than here, and it did not help.
  bool dominated() {
    constexpr size_t kComparedMax = 16;  // the first visits used the fewest
    std::string key = fingerprint();
    std::vector<std::vector<size_t>>& known = least_used_[key];
    for (const std::vector<size_t>& used : known) {
      if (std::includes(used_unknown_.begin(), used_unknown_.end(), used.begin(), used.end())) return true;
    }
    if (known.size() < kComparedMax) {
      known.push_back(used_unknown_);
      return false;
    }
    for (const size_t op : used_unknown_) key += "," + std::to_string(op);
    return !seen_.insert(std::move(key)).second;
  }

  // Which answered operations are done, and the value: beside the unused unknown ones all that the rest of
  // the search depends on. All answered operations before the first open one are done, so only what lies
  // beyond it is listed.
  std::string fingerprint() const {
    const size_t head = ops_.size();
    size_t first = next_[head];
    while (first != head && unknown(first)) first = next_[first];
    std::string key;
    const auto put = [&](size_t n) { key.append(reinterpret_cast<const char*>(&n), sizeof(uint32_t)); };
    put(first);
    Instant horizon = kNever;
    for (size_t i = first; i < head; ++i) {
      if (ops_[i].invoked > horizon) break;
      if (unknown(i)) continue;
      if (done_[i]) {
        put(i);
      } else {
        horizon = std::min(horizon, ops_[i].returned);
      }
    }
    put(npos);
    key += state_ ? "=" + *state_ : "-";
    return key;
  }

  void remember() {
    fewest_left_ = required_;
    blocked_.clear();
    for (size_t i = 0; i < ops_.size(); ++i) {
      if (!done_[i]) blocked_.push_back(i);
    }
    blocked_state_ = state_;
    next_candidates_ = candidates();
  }

  std::vector<Operation> ops_;  // by invocation
  uint64_t steps_max_;
  uint64_t steps_ = 0;
  size_t required_ = 0;  // answered operations not yet in the order
  std::vector<bool> done_;
  std::vector<size_t> next_, previous_;  // those not yet in the order, by invocation
  std::vector<size_t> used_unknown_;
  State state_;
  std::unordered_map<std::string, std::vector<std::vector<size_t>>> least_used_;
  std::unordered_set<std::string> seen_;

  size_t fewest_left_ = npos;
  std::vector<size_t> blocked_, next_candidates_;
  State blocked_state_;
};

// Operations that cannot matter: those without effect, and writes of unknown outcome whose value nobody saw,
// as long as no result tells merely whether the key existed.
std::vector<Operation> relevant(const std::vector<const Operation*>& ops) {
  bool existence_shows = false;
  std::unordered_set<std::string> seen;
  for (const Operation* op : ops) {
    if (op->kind == OpKind::kIncrement || op->kind == OpKind::kSetIfAbsent ||
        (op->kind == OpKind::kDelete && op->result)) {
      existence_shows = true;
    }
    if (op->kind == OpKind::kRead && op->outcome == Outcome::kOk && op->result) seen.insert(*op->result);
  }
  std::vector<Operation> kept;
  for (const Operation* op : ops) {
    if (op->outcome == Outcome::kNotApplied) continue;
    if (op->outcome == Outcome::kUnknown) {
      if (op->kind == OpKind::kRead) continue;
      if (op->kind == OpKind::kWrite && !existence_shows && !seen.contains(op->argument)) continue;
    }
    kept.push_back(*op);
  }
  return kept;
}

// A value that was read although nothing in the key's history could have produced it: certain, and found
// without a search.
const Operation* invented(const std::vector<Operation>& ops) {
  std::unordered_set<std::string> written;
  for (const Operation& op : ops) {
    if (op.kind == OpKind::kIncrement) return nullptr;  // sums are for the search
    if (op.kind == OpKind::kWrite || op.kind == OpKind::kSetIfAbsent) written.insert(op.argument);
  }
  for (const Operation& op : ops) {
    if (op.kind == OpKind::kRead && op.result && !written.contains(*op.result)) return &op;
  }
  return nullptr;
}

std::map<std::string, std::vector<const Operation*>> by_key(const std::vector<Operation>& history) {
  std::map<std::string, std::vector<const Operation*>> keys;
  for (const Operation& op : history) keys[op.key].push_back(&op);
  return keys;
}

}  // namespace

std::string to_string(const Operation& op) {
  static constexpr const char* kNames[] = {"SET", "GET", "DEL", "INCRBY", "SETNX"};
  std::string text = std::to_string(op.id) + " client " + std::to_string(op.client) + " " +
                     kNames[static_cast<size_t>(op.kind)] + " " + op.key;
  if (!op.argument.empty()) text += " " + op.argument;
  switch (op.outcome) {
    case Outcome::kOk:
      text += " -> " + (op.result ? *op.result : std::string(op.kind == OpKind::kRead ? "nil" : "ok"));
      break;
    case Outcome::kNotApplied: text += " -> not applied"; break;
    case Outcome::kUnknown: text += " -> unknown"; break;
  }
  return text + " [" + std::to_string(op.invoked) + ", " +
         (op.outcome == Outcome::kUnknown ? "?" : std::to_string(op.returned)) + "]";
}

CheckResult check_linearizable(const std::vector<Operation>& history, uint64_t steps_max) {
  CheckResult result;
  for (const auto& [key, ops] : by_key(history)) {
    std::vector<Operation> effective = relevant(ops);
    if (const Operation* read = invented(effective)) {
      return {Verdict::kViolation, key, "key " + key + ": nobody wrote what was read: " + to_string(*read),
              result.steps};
    }
    KeySearch search(std::move(effective), steps_max);
    const Verdict verdict = search.run();
    result.steps += search.steps();
    if (verdict == Verdict::kLinearizable) continue;
    if (verdict == Verdict::kUndecided && result.verdict == Verdict::kUndecided) continue;
    result.verdict = verdict;
    result.key = key;
    result.explanation = "key " + key + ": " + search.explanation();
    if (verdict == Verdict::kViolation) return result;  // certain; an undecided key may still be followed by one
  }
  return result;
}

namespace {

bool changes(const Operation& op) {
  if (op.outcome == Outcome::kNotApplied || op.kind == OpKind::kRead) return false;
  if (op.kind == OpKind::kSetIfAbsent && op.outcome == Outcome::kOk) return op.result == "1";
  return true;
}
// Certainly later than everything that `op` did.
bool follows(const Operation& later, const Operation& op) {
  return later.outcome == Outcome::kOk && op.outcome == Outcome::kOk && op.returned < later.invoked;
}

std::optional<std::string> check_counter(const std::string& key, const std::vector<const Operation*>& ops,
                                         const State& value) {
  int64_t low = 0, high = 0;
  for (const Operation* op : ops) {
    if (!changes(*op)) continue;
    const int64_t by = integer(op->argument).value_or(0);
    if (op->outcome == Outcome::kOk || by < 0) low += by;
    if (op->outcome == Outcome::kOk || by > 0) high += by;
  }
  const auto number = value ? integer(*value) : std::optional<int64_t>(0);
  if (number && *number >= low && *number <= high) return std::nullopt;
  return "key " + key + ": the counter ends at " + describe(value) + ", the increments allow " + std::to_string(low) +
         " to " + std::to_string(high);
}

}  // namespace

std::optional<std::string> check_acknowledged(const std::vector<Operation>& history,
                                              const std::vector<FinalValue>& final_values) {
  const auto keys = by_key(history);
  for (const FinalValue& final_value : final_values) {
    const auto it = keys.find(final_value.key);
    static const std::vector<const Operation*> kNone;
    const auto& ops = it == keys.end() ? kNone : it->second;
    bool increments = false, others = false;
    for (const Operation* op : ops) {
      if (!changes(*op)) continue;
      (op->kind == OpKind::kIncrement ? increments : others) = true;
    }
    if (increments && !others) {
      if (auto problem = check_counter(final_value.key, ops, final_value.value)) return problem;
      continue;
    }
    if (increments) continue;
    // Some operation must have left this value, and no acknowledged change may certainly have come after it.
    // The empty beginning counts as a deletion before everything.
    const Operation* overwritten_by = nullptr;
    bool produced = false, explained = false;
    const auto judge = [&](const Operation* source) {
      produced = true;
      const auto later = std::find_if(ops.begin(), ops.end(), [&](const Operation* op) {
        if (op == source || !changes(*op) || op->outcome != Outcome::kOk) return false;
        return source == nullptr || follows(*op, *source);
      });
      if (later == ops.end()) {
        explained = true;
      } else {
        overwritten_by = *later;
      }
    };
    if (!final_value.value) judge(nullptr);
    for (const Operation* op : ops) {
      if (!changes(*op)) continue;
      const State left = op->kind == OpKind::kDelete ? State() : State(op->argument);
      if (left == final_value.value) judge(op);
    }
    if (explained) continue;
    const std::string what = "key " + final_value.key + ": the final value is " + describe(final_value.value);
    if (!produced) return what + ", which nobody wrote";
    return what + ", but this acknowledged change came later: " + to_string(*overwritten_by);
  }
  return std::nullopt;
}

}  // namespace cairn::sim
