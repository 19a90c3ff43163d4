// One version of a row, and cursors over sorted rows.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/result.h"
#include "storage/write_batch.h"

namespace cairn::storage {

// Sequence = log index << kOrdinalBits | ordinal of the operation in its entry.
inline constexpr unsigned kOrdinalBits = 20;
// Of a row in a table: it stands for none in particular, and no deleted prefix below it has its key. See
// sequence_may_go().
inline constexpr uint64_t kNoSequence = 0;

struct Row {
  std::string_view key;
  std::string_view value;
  OpKind kind = OpKind::kPut;  // kPut or kDelete
  uint64_t sequence = 0;
  uint64_t time_ms = 0;
};

// When a row is dead by itself, ms since 1970 by the leaders' clock; 0: never. Its owner deletes it like any other row
// or lets a compaction do it; to every reader it is absent from then on. Any thread.
using RowExpiry = uint64_t (*)(std::string_view key, std::string_view value);

enum class CursorState : uint8_t {
  kRow,  // row() is valid until the next call
  kEnd,
  kNeedsDisk,  // memory does not hold the next block; only cursors that may not wait say so
  kFailed,     // error() tells
};

// Keys ascending, one version of each key. Not thread safe.
class RowCursor {
 public:
  virtual ~RowCursor() = default;
  virtual CursorState seek(std::string_view lower) = 0;  // to the first key >= lower
  virtual CursorState next() = 0;                        // requires kRow
  virtual const Row& row() const = 0;
  virtual const Error& error() const {
    static const Error none{};
    return none;
  }
};

// One that can also go through the keys in descending order.
class TwoWayCursor : public RowCursor {
 public:
  // To the last key < upper, or to the last of all if it is empty. next() goes down from there, until the next seek().
  virtual CursorState seek_back(std::string_view upper) = 0;
  // Hints: seek() for the same key follows, after the same hints to others. Each step fetches what the next one, or
  // seek(), will look at.
  static constexpr int kSeekSteps = 2;
  virtual void prepare_seek(std::string_view, int /*step*/) {}
};

}  // namespace cairn::storage
