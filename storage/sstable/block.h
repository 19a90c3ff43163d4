// Data blocks: columns of keys, values, kinds, sequences and times of adjacent rows.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/codec.h"
#include "storage/row.h"
#include "storage/sstable/block_memory.h"
#include "storage/sstable/format.h"

namespace cairn::storage {

inline constexpr size_t kCacheLine = 64;

// When all rows of a table count as written, whatever its file says: SstableInfo::ingested.
struct RowStamp {
  uint64_t sequence = 0;
  uint64_t time_ms = 0;
};

// The rows of an unpacked block, whose bytes somebody else keeps. Accessors change nothing; thread safe.
class BlockRows {
 public:
  uint32_t rows() const { return rows_; }
  // The row of a key; rows() = none. `hash` = hash64(key).
  uint32_t find(std::string_view key, uint64_t hash) const;
  uint32_t lower_bound(std::string_view key) const;  // first row with a key >= `key`; rows() = none
  // Everything but the key, which is in two pieces.
  Row row(uint32_t row) const {
    return {.key = {},
            .value = value(row),
            .kind = kind(row),
            .sequence = sequence(row),
            .time_ms = base_time_ + number(times_at_, time_width_, row)};
  }
  std::string_view prefix() const { return {raw_ + prefix_at_, prefix_bytes_}; }  // of all keys
  std::string_view suffix(uint32_t row) const {                                   // the rest of the row's key
    return {raw_ + keys_at_ + start_of(key_ends_at_, even_key_, row), length_of(key_ends_at_, even_key_, row)};
  }
  void key(uint32_t row, std::string& out) const {
    out.assign(prefix());
    out.append(suffix(row));
  }
  std::string_view value(uint32_t row) const {
    return {raw_ + values_at_ + start_of(value_ends_at_, even_value_, row),
            length_of(value_ends_at_, even_value_, row)};
  }
  // What a search looks at before it comes to the keys.
  [[gnu::always_inline]] void prefetch() const {  // else GCC drops the call: it has no effect that it knows of
    for (size_t at = 0; at < kSearchBytes; at += kCacheLine) __builtin_prefetch(raw_ + at);
  }
  // What a scan from the first row on comes to first.
  [[gnu::always_inline]] void prefetch_rows() const {
    for (size_t at = 0; at < kFirstRowsBytes; at += kCacheLine) __builtin_prefetch(raw_ + keys_at_ + at);
    for (size_t at = 0; at < kFirstRowsBytes; at += kCacheLine) __builtin_prefetch(raw_ + values_at_ + at);
  }
  // The values of `n` rows, as far as a short scan will want them.
  [[gnu::always_inline]] void prefetch_values(uint32_t row, uint32_t n) const {
    const size_t begin = start_of(value_ends_at_, even_value_, row);
    const size_t end = start_of(value_ends_at_, even_value_, std::min(row + n, rows_));
    for (size_t at = begin; at < std::min(end, begin + kValueBytesAhead); at += kCacheLine)
      __builtin_prefetch(raw_ + values_at_ + at);
  }
  OpKind kind(uint32_t row) const { return kinds_at_ != 0 ? static_cast<OpKind>(raw_[kinds_at_ + row]) : kind_; }
  uint64_t sequence(uint32_t row) const { return base_sequence_ + number(sequences_at_, sequence_width_, row); }

  static constexpr size_t kHeaderBytes = 32;

 protected:
  void stamp(const RowStamp& stamp) {
    base_sequence_ = stamp.sequence;
    base_time_ = stamp.time_ms;
    sequence_width_ = time_width_ = 0;
  }
  // The block begins at `raw` and is `bytes` long. Checks every offset once, so that the accessors need not. False:
  // malformed.
  bool lay_out(const char* raw, size_t bytes);
  void move_to(const char* raw) { raw_ = raw; }  // where the same bytes are

 private:
  static constexpr size_t kSearchBytes = 256;  // header, heads, tags and prefix of a block of usual size
  static constexpr size_t kValueBytesAhead = 512;
  static constexpr size_t kFirstRowsBytes = 256;  // of keys, and of values
  bool check_rows(size_t left) const;
  size_t offset(uint32_t array, uint32_t i) const {
    return wide_ ? get_fixed<uint32_t>(raw_ + array + size_t{i} * 4)
                 : get_fixed<uint16_t>(raw_ + array + size_t{i} * 2);
  }
  uint64_t number(uint32_t column, uint8_t width, uint32_t i) const {
    if (width == 0) return 0;
    const char* at = raw_ + column + size_t{i} * width;
    if (width == 4) return get_fixed<uint32_t>(at);
    if (width == 8) return get_fixed<uint64_t>(at);
    return width == 2 ? get_fixed<uint16_t>(at) : static_cast<uint8_t>(*at);
  }
  // `ends` 0: all are `even` bytes long.
  size_t start_of(uint32_t ends, uint32_t even, uint32_t row) const {
    if (ends == 0) return size_t{row} * even;
    return row == 0 ? 0 : offset(ends, row - 1);
  }
  size_t length_of(uint32_t ends, uint32_t even, uint32_t row) const {
    return ends == 0 ? even : offset(ends, row) - start_of(ends, even, row);
  }

  // What a lookup needs first. Columns are named by where they begin; 0, where the header is: there is no such column.
  const char* raw_ = nullptr;
  uint32_t rows_ = 0;
  uint32_t tags_at_ = 0;
  uint32_t prefix_at_ = 0, keys_at_ = 0, values_at_ = 0;
  uint32_t even_value_ = 0;
  uint32_t key_ends_at_ = 0, value_ends_at_ = 0;
  uint16_t even_key_ = 0, prefix_bytes_ = 0;
  bool wide_ = false;  // offsets of 4 bytes instead of 2
  OpKind kind_ = OpKind::kPut;
  uint8_t sequence_width_ = 0, time_width_ = 0;
  uint32_t kinds_at_ = 0, heads_at_ = 0, sequences_at_ = 0, times_at_ = 0;
  uint64_t base_sequence_ = 0, base_time_ = 0;
};

// A whole unpacked block with its bytes. Immutable; thread safe. Views into it live as long as the block. (Aligned so
// that what points to one has room for marks.)
class alignas(kBlockAlignment) Block : public BlockRows, public std::enable_shared_from_this<Block> {
  struct Token {};  // makes the constructor the parser's own

 public:
  explicit Block(Token) {}
  static Result<std::shared_ptr<const Block>> parse(std::string raw, const std::string& path,
                                                    const std::optional<RowStamp>& stamp = {});
  // The same of a stored block whose checksum was right, to `memory`.
  static Result<std::shared_ptr<const Block>> unpack(const StoredBlock& stored, BlockMemory& memory,
                                                     const std::string& path,
                                                     const std::optional<RowStamp>& stamp = {});
  std::shared_ptr<const Block> copy(BlockMemory& memory) const;
  size_t bytes() const { return kHeadBytes + raw_.size(); }
  std::string_view raw() const { return raw_; }
  bool in_memory() const { return own_.empty(); }  // a BlockMemory's

 private:
  static constexpr size_t kHeadBytes = 256;  // room for a Block and what shares it
  static std::shared_ptr<Block> make(size_t raw_bytes, BlockMemory& memory, char*& raw);

  std::string_view raw_;
  std::string own_;  // its bytes, if they are not in a BlockMemory
};

// Collects rows in key order.
class BlockBuilder {
 public:
  void add(const Row& row, uint64_t hash);  // `hash` = hash64(row.key)
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
    uint8_t tag;
  };
  struct Shape;
  Shape shape() const;
  std::string_view key(size_t row) const {
    const size_t start = row == 0 ? 0 : rows_[row - 1].key_end;
    return std::string_view(keys_).substr(start, rows_[row].key_end - start);
  }
  std::string keys_, values_;
  std::vector<Meta> rows_;
};

}  // namespace cairn::storage
