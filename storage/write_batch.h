// The effects of one log entry on a tablet, encoded as stored in the log (docs/formats/batch.md).
//
//   op: kind u8 | key (varint length, bytes) | value (varint length, bytes; only kPut)
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/codec.h"

namespace cairn::storage {

enum class OpKind : uint8_t {
  kPut = 1,
  kDelete = 2,
  kPrefixDelete = 3,  // every row whose key starts with the key; written only for whole collections, never nested
  kClear = 4,         // every row of the tablet with an older sequence; the key is empty
};

struct Op {
  OpKind kind;
  std::string_view key;
  std::string_view value;
};

class WriteBatch {
 public:
  void put(std::string_view key, std::string_view value) {
    put_u8(bytes_, static_cast<uint8_t>(OpKind::kPut));
    put_bytes(bytes_, key);
    put_bytes(bytes_, value);
    ++count_;
  }
  void remove(std::string_view key) { add_key(OpKind::kDelete, key); }
  void remove_prefix(std::string_view prefix) { add_key(OpKind::kPrefixDelete, prefix); }
  void clear_all() { add_key(OpKind::kClear, {}); }

  // Undo support: take a mark, write, go back to it.
  struct Mark {
    size_t bytes;
    uint32_t count;
  };
  Mark mark() const { return {bytes_.size(), count_}; }
  void rollback(Mark mark) {
    bytes_.resize(mark.bytes);
    count_ = mark.count;
  }

  bool empty() const { return count_ == 0; }
  uint32_t count() const { return count_; }
  const std::string& bytes() const { return bytes_; }
  std::string& mutable_bytes() { return bytes_; }  // for a header the owner puts in front before the first operation
  std::string take() {
    count_ = 0;
    return std::move(bytes_);
  }
  void reset() {
    bytes_.clear();
    count_ = 0;
  }

 private:
  void add_key(OpKind kind, std::string_view key) {
    put_u8(bytes_, static_cast<uint8_t>(kind));
    put_bytes(bytes_, key);
    ++count_;
  }
  std::string bytes_;
  uint32_t count_ = 0;
};

// Walks encoded operations. Foreign bytes are fine: next() returns false at the end or at the first malformed
// one; ok() tells which.
class BatchReader {
 public:
  explicit BatchReader(std::string_view bytes) : in_(bytes) {}
  bool next(Op& op) {
    if (in_.at_end() || !in_.ok()) return false;
    const uint8_t kind = in_.u8();
    if (kind < 1 || kind > 4) {
      in_.fail();
      return false;
    }
    op.kind = static_cast<OpKind>(kind);
    op.key = in_.bytes();
    op.value = op.kind == OpKind::kPut ? in_.bytes() : std::string_view{};
    return in_.ok();
  }
  bool ok() const { return in_.ok(); }

 private:
  Decoder in_;
};

}  // namespace cairn::storage
