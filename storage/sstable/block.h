// Data blocks: columns of keys, values, kinds, sequences and times of adjacent rows.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "storage/row.h"
#include "storage/sstable/format.h"

namespace cairn::storage {

// An unpacked block. Immutable; thread safe. Views into it live as long as the block.
class Block {
 public:
  // Checks every offset once, so that the accessors need not.
  static Result<std::shared_ptr<const Block>> parse(std::string raw, const std::string& path);

  uint32_t rows() const { return rows_; }
  size_t bytes() const { return raw_.size() + sizeof(Block); }
  uint32_t lower_bound(std::string_view key) const;  // first row with a key >= `key`; rows() = none
  bool key_equals(uint32_t row, std::string_view key) const {
    return key.size() == prefix_.size() + suffix(row).size() && key.starts_with(prefix_) && key.ends_with(suffix(row));
  }
  // Everything but the key, which is in two pieces.
  Row row(uint32_t row) const;
  void key(uint32_t row, std::string& out) const {
    out.assign(prefix_);
    out.append(suffix(row));
  }
  std::string_view value(uint32_t row) const {
    const size_t start = row == 0 ? 0 : offset(value_ends_, row - 1);
    return {values_ + start, offset(value_ends_, row) - start};
  }

 private:
  Block() = default;
  std::string_view suffix(uint32_t row) const {
    const size_t start = row == 0 ? 0 : offset(key_ends_, row - 1);
    return {keys_ + start, offset(key_ends_, row) - start};
  }
  size_t offset(const char* array, uint32_t i) const;

  std::string raw_;
  uint32_t rows_ = 0;
  bool wide_ = false;  // offsets of 4 bytes instead of 2
  std::string_view prefix_;
  const char* key_ends_ = nullptr;
  const char* value_ends_ = nullptr;
  const char* kinds_ = nullptr;  // null: all alike
  OpKind kind_ = OpKind::kPut;
  uint8_t sequence_width_ = 0, time_width_ = 0;
  uint64_t base_sequence_ = 0, base_time_ = 0;
  const char* sequences_ = nullptr;
  const char* times_ = nullptr;
  const char* keys_ = nullptr;
  const char* values_ = nullptr;
};

// Collects rows in key order.
class BlockBuilder {
 public:
  void add(const Row& row);
  bool empty() const { return rows_.empty(); }
  uint32_t rows() const { return static_cast<uint32_t>(rows_.size()); }
  size_t raw_bytes() const { return keys_.size() + values_.size() + rows_.size() * 6; }  // about
  std::string_view last_key() const;
  std::string finish();  // and empties the builder

 private:
  struct Meta {
    size_t key_end, value_end;
    uint64_t sequence, time_ms;
    OpKind kind;
  };
  std::string keys_, values_;
  std::vector<Meta> rows_;
};

}  // namespace cairn::storage
