// What clients did and saw, in virtual time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/types.h"

namespace cairn::sim {

enum class OpKind : uint8_t { kGet, kSet, kSetNx, kDelete, kIncr };
enum class Outcome : uint8_t {
  kOk,       // answered; `result` is the answer
  kFailed,   // answered: certainly not applied
  kUnknown,  // may take effect at any time after the invocation, or never
};

struct HistoryOp {
  uint64_t client = 0;
  OpKind kind = OpKind::kGet;
  std::string key;                    // a register: a string key, or a field of a hash as "key/field"
  std::string value;                  // kSet, kSetNx
  Instant invoked = 0;
  Instant returned = 0;               // kUnknown: ~0
  Outcome outcome = Outcome::kUnknown;
  std::optional<std::string> result;  // kGet: value or nothing; kSetNx, kDelete: "1" or "0"; kIncr: the number
};

using History = std::vector<HistoryOp>;

}  // namespace cairn::sim
