// Judges the histories of the simulator: linearizability key by key (Wing and Gong 1993, with the ordering
// and caching of Lowe 2017), and the weaker promise that no acknowledged write is lost. Library code: no test
// framework, no output.
//
// Keys are independent objects, so a history is linearizable exactly if each key's part is (Herlihy and Wing
// 1990, locality).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/types.h"

namespace cairn::sim {

enum class OpKind : uint8_t {
  kWrite,        // SET key argument
  kRead,         // GET key; result: the value, or none for nil
  kDelete,       // DEL key; result: "1" if it existed, "0" if not, none if the reply is not known to the checker
  kIncrement,    // INCRBY key argument; result: the new value. An absent key counts as 0
  kSetIfAbsent,  // SET key argument NX; result: "1" if set, "0" if the key existed
};

enum class Outcome : uint8_t {
  kOk,          // answered: took effect once, between invoke and return
  kNotApplied,  // certainly had no effect
  kUnknown,     // may take effect once, at any time after the invocation, or never
};

struct Operation {
  uint64_t id = 0;      // for messages
  uint64_t client = 0;  // for messages
  std::string key;
  OpKind kind = OpKind::kRead;
  std::string argument;
  Outcome outcome = Outcome::kOk;
  std::optional<std::string> result;  // meaningful for kOk only
  Instant invoked = 0;
  Instant returned = 0;  // ignored for kUnknown. An operation precedes another if it returned before that was invoked
};

// "42 client 3 SET k v -> ok [100, 200]"
std::string to_string(const Operation& operation);

enum class Verdict : uint8_t { kLinearizable, kViolation, kUndecided };

struct CheckResult {
  Verdict verdict = Verdict::kLinearizable;
  std::string key;          // violated or undecided
  std::string explanation;  // the furthest point any order reached: the value there, and the operations that
                            // do not fit
  uint64_t steps = 0;       // orders tried, of all keys
};

// `steps_max` bounds the search per key; a key that exceeds it is undecided (which a caller should count, not
// ignore).
CheckResult check_linearizable(const std::vector<Operation>& history, uint64_t steps_max = 1'000'000);

struct FinalValue {
  std::string key;
  std::optional<std::string> value;  // none: the key does not exist
};

// Once everything is healed and quiet: is each key's final value one that the acknowledged operations allow?
// Cheap, and independent of how reads behaved. nullopt: yes; otherwise what was lost, resurrected or
// invented. Keys that mix increments with other operations are only checked for invented values where that is
// certain.
std::optional<std::string> check_acknowledged(const std::vector<Operation>& history,
                                              const std::vector<FinalValue>& final_values);

}  // namespace cairn::sim
