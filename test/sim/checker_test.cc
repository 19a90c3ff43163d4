#include "checker.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "base/random.h"

using namespace cairn;
using namespace cairn::sim;

namespace {

Operation op(OpKind kind, std::string argument, std::optional<std::string> result, Instant from, Instant to,
             Outcome outcome = Outcome::kOk) {
  static uint64_t id = 0;
  return {++id, 1, "k", kind, std::move(argument), outcome, std::move(result), from, to};
}
Operation set(std::string value, Instant from, Instant to, Outcome outcome = Outcome::kOk) {
  return op(OpKind::kWrite, std::move(value), {}, from, to, outcome);
}
Operation get(std::optional<std::string> value, Instant from, Instant to) {
  return op(OpKind::kRead, "", std::move(value), from, to);
}
Operation del(std::optional<std::string> result, Instant from, Instant to, Outcome outcome = Outcome::kOk) {
  return op(OpKind::kDelete, "", std::move(result), from, to, outcome);
}
Operation incr(std::string result, Instant from, Instant to, Outcome outcome = Outcome::kOk) {
  return op(OpKind::kIncrement, "1", std::move(result), from, to, outcome);
}
Operation setnx(std::string value, std::string result, Instant from, Instant to, Outcome outcome = Outcome::kOk) {
  return op(OpKind::kSetIfAbsent, std::move(value), std::move(result), from, to, outcome);
}
Verdict verdict(const std::vector<Operation>& history) { return check_linearizable(history).verdict; }
constexpr auto kGood = Verdict::kLinearizable;
constexpr auto kBad = Verdict::kViolation;

}  // namespace

TEST_CASE("histories that are linearizable are accepted") {
  CHECK(verdict({}) == kGood);
  CHECK(verdict({get({}, 0, 1), set("a", 2, 3), get("a", 4, 5)}) == kGood);
  CHECK(verdict({set("a", 0, 10), get({}, 1, 2), get("a", 3, 4)}) == kGood);
  CHECK(verdict({set("a", 0, 10), set("b", 0, 10), get("b", 11, 12), get("b", 13, 14)}) == kGood);
  CHECK(verdict({set("a", 0, 10), set("b", 0, 10), get("a", 3, 4), get("b", 5, 6), get("b", 11, 12)}) == kGood);
  CHECK(verdict({incr("2", 0, 9), incr("1", 0, 9), get("2", 10, 11)}) == kGood);
  CHECK(verdict({setnx("a", "1", 0, 9), setnx("b", "0", 0, 9), get("a", 10, 11), del("1", 12, 13), get({}, 14, 15)}) ==
        kGood);
  // An operation that returned at the instant another was invoked does not precede it.
  CHECK(verdict({set("a", 0, 5), get({}, 5, 6)}) == kGood);
}

TEST_CASE("unknown outcomes may take effect late, or never, but only once") {
  const auto maybe = set("u", 0, 0, Outcome::kUnknown);
  CHECK(verdict({maybe, get({}, 1, 2), set("a", 3, 4), get("a", 5, 6), get("u", 7, 8)}) == kGood);
  CHECK(verdict({maybe, get({}, 1, 2)}) == kGood);
  CHECK(verdict({maybe, get("u", 1, 2), set("a", 3, 4), get("u", 5, 6)}) == kBad);
  CHECK(verdict({set("a", 0, 1), del({}, 2, 0, Outcome::kUnknown), get("a", 3, 4), get({}, 5, 6)}) == kGood);
  CHECK(verdict({incr("", 0, 0, Outcome::kUnknown), incr("2", 1, 2)}) == kGood);
  CHECK(verdict({incr("", 0, 0, Outcome::kUnknown), incr("3", 1, 2)}) == kBad);
  CHECK(verdict({set("u", 5, 0, Outcome::kUnknown), get("u", 1, 2)}) == kBad);
  // Whether a key exists may be all that shows an unknown write.
  CHECK(verdict({maybe, setnx("b", "0", 1, 2)}) == kGood);
  CHECK(verdict({maybe, get({}, 1, 2), del("1", 3, 4)}) == kGood);
}

TEST_CASE("bad: a stale read") {
  CHECK(verdict({set("a", 0, 1), set("b", 2, 3), get("a", 4, 5)}) == kBad);
  CHECK(verdict({set("a", 0, 10), get("a", 1, 2), get({}, 3, 4)}) == kBad);  // seen, then unseen
}
TEST_CASE("bad: a lost update") {
  CHECK(verdict({incr("1", 0, 1), incr("1", 2, 3)}) == kBad);
  CHECK(verdict({incr("1", 0, 9), incr("1", 0, 9)}) == kBad);
}
TEST_CASE("bad: a lost acknowledged write") { CHECK(verdict({set("a", 0, 1), get({}, 2, 3)}) == kBad); }
TEST_CASE("bad: a value nobody wrote, or whose write was not applied") {
  CHECK(verdict({get("x", 0, 1)}) == kBad);
  CHECK(verdict({set("x", 0, 1, Outcome::kNotApplied), get("x", 2, 3)}) == kBad);
}
TEST_CASE("bad: an increment applied twice") {
  CHECK(verdict({incr("1", 0, 1), get("2", 2, 3)}) == kBad);
  CHECK(verdict({incr("", 0, 0, Outcome::kUnknown), get("2", 2, 3)}) == kBad);
}
TEST_CASE("bad: a resurrection") {
  CHECK(verdict({set("a", 0, 1), del("1", 2, 3), get("a", 4, 5)}) == kBad);
  CHECK(verdict({set("a", 0, 1), del("1", 2, 3), setnx("b", "0", 4, 5)}) == kBad);
}
TEST_CASE("bad: two winners of SET NX") { CHECK(verdict({setnx("a", "1", 0, 9), setnx("b", "1", 0, 9)}) == kBad); }

TEST_CASE("a violation is explained by what does not fit") {
  const auto result = check_linearizable({set("a", 0, 1), set("b", 2, 3), get("a", 4, 5)});
  CHECK(result.key == "k");
  CHECK(result.explanation.find("GET k -> a [4, 5]") != std::string::npos);
  CHECK(result.explanation.find("the value is 'b'") != std::string::npos);
}

namespace {

// A history made by a real sequential object: every operation takes effect at a random point of its interval.
std::vector<Operation> valid_history(SeededRandom& random, size_t count, uint64_t keys, uint64_t concurrency,
                                     double unknown, std::vector<FinalValue>* end = nullptr) {
  struct Planned {
    Operation op;
    Instant effect;
    bool takes_effect;
  };
  std::vector<Planned> planned;
  Instant now = 0;
  std::vector<Instant> busy(concurrency, 0);
  for (size_t i = 0; i < count; ++i) {
    const size_t client = random.below(concurrency);
    now = std::max(now + random.below(10), busy[client] + 1);
    Planned p;
    p.op.id = i;
    p.op.client = client;
    p.op.key = "k" + std::to_string(random.below(keys));
    p.op.kind = static_cast<OpKind>(random.below(5));
    p.op.argument = p.op.kind == OpKind::kIncrement ? "1" : std::to_string(1000 * i);
    if (p.op.kind == OpKind::kRead || p.op.kind == OpKind::kDelete) p.op.argument.clear();
    p.op.invoked = now;
    p.op.returned = now + random.below(40);
    p.effect = random.between(p.op.invoked, p.op.returned);
    p.takes_effect = true;
    busy[client] = p.op.returned;
    if (random.chance(unknown)) {
      p.op.outcome = random.below(4) == 0 ? Outcome::kNotApplied : Outcome::kUnknown;
      p.takes_effect = p.op.outcome == Outcome::kUnknown && random.below(2) == 0;
      p.effect = p.op.invoked + random.below(300);
    }
    planned.push_back(p);
  }
  std::vector<size_t> order(planned.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return planned[a].effect < planned[b].effect; });
  std::map<std::string, std::optional<std::string>> store;
  for (const size_t i : order) {
    Planned& p = planned[i];
    if (!p.takes_effect) continue;
    auto& value = store[p.op.key];
    switch (p.op.kind) {
      case OpKind::kWrite: value = p.op.argument; break;
      case OpKind::kRead: p.op.result = value; break;
      case OpKind::kDelete:
        p.op.result = value ? "1" : "0";
        value.reset();
        break;
      case OpKind::kIncrement:
        value = std::to_string((value ? std::stoll(*value) : 0) + 1);
        p.op.result = value;
        break;
      case OpKind::kSetIfAbsent:
        p.op.result = value ? "0" : "1";
        if (!value) value = p.op.argument;
        break;
    }
  }
  if (end != nullptr) {
    for (const auto& [key, value] : store) end->push_back({key, value});
  }
  std::vector<Operation> history;
  for (Planned& p : planned) history.push_back(std::move(p.op));
  return history;
}

}  // namespace

TEST_CASE("thousands of histories of a sequential object are accepted") {
  SeededRandom random(1);
  for (int round = 0; round < 4000; ++round) {
    const auto history = valid_history(random, 1 + random.below(60), 1 + random.below(3), 1 + random.below(6),
                                       0.02 * static_cast<double>(random.below(8)));
    const auto result = check_linearizable(history);
    INFO(result.explanation);
    REQUIRE(result.verdict == kGood);
  }
}

namespace {
// The definition itself: some order of the answered and of any of the unknown operations that keeps
// precedence.
bool brute_force(std::vector<Operation> left, std::optional<std::string> value) {
  if (std::none_of(left.begin(), left.end(), [](const Operation& o) { return o.outcome == Outcome::kOk; })) return true;
  for (size_t i = 0; i < left.size(); ++i) {
    const Operation& next = left[i];
    const bool preceded = std::any_of(left.begin(), left.end(), [&](const Operation& o) {
      return o.outcome == Outcome::kOk && o.returned < next.invoked;
    });
    if (preceded) continue;
    auto after = value;
    const bool known = next.outcome == Outcome::kOk;
    if (next.kind == OpKind::kRead) {
      if (known && next.result != value) continue;
    } else if (next.kind == OpKind::kWrite) {
      after = next.argument;
    } else if (next.kind == OpKind::kDelete) {
      if (known && next.result && next.result != (value ? "1" : "0")) continue;
      after.reset();
    } else if (next.kind == OpKind::kSetIfAbsent) {
      if (known && next.result != (value ? "0" : "1")) continue;
      if (!value) after = next.argument;
    } else {
      after = std::to_string((value ? std::stoll(*value) : 0) + 1);
      if (known && next.result != after) continue;
    }
    std::vector<Operation> rest = left;
    rest.erase(rest.begin() + static_cast<long>(i));
    if (brute_force(std::move(rest), after)) return true;
  }
  return false;
}
}  // namespace

TEST_CASE("small histories, valid or with one result changed, are judged as the definition judges them") {
  SeededRandom random(2);
  int bad = 0;
  for (int round = 0; round < 6000; ++round) {
    auto history = valid_history(random, 2 + random.below(5), 1, 1 + random.below(4), 0.2);
    Operation& changed = history[random.below(history.size())];
    if (changed.outcome == Outcome::kOk && random.below(3) != 0) {
      if (changed.kind == OpKind::kRead) {
        changed.result =
            random.below(3) == 0 ? std::nullopt : std::optional(std::to_string(1000 * random.below(history.size())));
      } else if (changed.result) {
        changed.result = changed.kind == OpKind::kIncrement ? std::to_string(std::stoll(*changed.result) + 1)
                         : *changed.result == "0"           ? "1"
                                                            : "0";
      }
    }
    std::vector<Operation> left;
    for (const Operation& o : history) {
      if (o.outcome != Outcome::kNotApplied) left.push_back(o);
    }
    const bool expected = brute_force(left, {});
    bad += expected ? 0 : 1;
    std::string text;
    for (const Operation& o : history) text += to_string(o) + "\n";
    INFO(text);
    REQUIRE(verdict(history) == (expected ? kGood : kBad));
  }
  CHECK(bad > 500);
}

TEST_CASE("thousands of operations on one key are judged in few steps, good or bad") {
  SeededRandom random(3);
  const auto good = check_linearizable(valid_history(random, 8000, 1, 4, 0.01));
  CHECK(good.verdict == kGood);
  auto history = valid_history(random, 5000, 1, 4, 0.001);
  for (size_t i = history.size() / 2; i < history.size(); ++i) {
    if (history[i].kind == OpKind::kIncrement && history[i].outcome == Outcome::kOk) {
      history[i].result = "999999999";
      break;
    }
  }
  const auto bad = check_linearizable(history);
  CHECK(bad.verdict == kBad);
  INFO("steps " << good.steps << " and " << bad.steps);
  CHECK(good.steps + bad.steps < 100'000);  // a search that goes astray takes millions
}

TEST_CASE("acknowledged writes: the final value must be left by something not certainly overwritten") {
  const auto check = [](std::vector<Operation> history, std::optional<std::string> value) {
    return check_acknowledged(history, {{"k", std::move(value)}});
  };
  CHECK(!check({}, {}));
  CHECK(!check({set("a", 0, 1), set("b", 2, 3)}, "b"));
  CHECK(!check({set("a", 0, 5), set("b", 2, 3)}, "a"));
  CHECK(!check({set("a", 0, 1), set("u", 2, 0, Outcome::kUnknown)}, "u"));
  CHECK(!check({set("u", 0, 0, Outcome::kUnknown), set("a", 1, 2)}, "u"));  // it may have taken effect late
  CHECK(!check({set("a", 0, 1), del({}, 2, 3)}, {}));
  CHECK(!check({incr("1", 0, 1), incr("", 2, 0, Outcome::kUnknown)}, "2"));
  CHECK(!check({set("a", 0, 1), setnx("b", "0", 2, 3)}, "a"));
  CHECK(check({set("a", 0, 1)}, {}));                                       // lost
  CHECK(check({set("a", 0, 1), set("b", 2, 3)}, "a"));                      // lost update
  CHECK(check({set("a", 0, 1), del({}, 2, 3)}, "a"));                       // resurrection
  CHECK(check({set("a", 0, 1)}, "x"));                                      // invented
  CHECK(check({set("x", 0, 1, Outcome::kNotApplied)}, "x"));                // refused, and applied all the same
  CHECK(check({incr("1", 0, 1), incr("2", 2, 3)}, "1"));                    // lost increment
  CHECK(check({incr("1", 0, 1), incr("", 2, 0, Outcome::kUnknown)}, "3"));  // twice
  CHECK(check({}, "x"));
}

TEST_CASE("acknowledged writes: final values of sequential objects are accepted") {
  SeededRandom random(4);
  for (int round = 0; round < 2000; ++round) {
    std::vector<FinalValue> end;
    const auto history = valid_history(random, 1 + random.below(40), 4, 1 + random.below(5), 0.1, &end);
    const auto problem = check_acknowledged(history, end);
    INFO(problem.value_or(""));
    REQUIRE(!problem);
  }
}
