#include "storage/sstable/block.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/codec.h"
#include "storage/key_head.h"
#include "storage/sstable/tags.h"

namespace cairn::storage {
namespace {

// Header: rows u32 | prefix length u16 | flags u8 | widths u8 | base sequence u64 | base time u64 | kind u8 | 0 u8 |
// length of all key suffixes u16 | length of all values u32
constexpr uint8_t kWideOffsets = 1;
constexpr uint8_t kKindColumn = 2;
constexpr uint8_t kSearchColumns = 4;  // heads and tags; version 2 has them always
constexpr uint8_t kEvenKeys = 8;
constexpr uint8_t kEvenValues = 16;
constexpr uint8_t kFlagsKnown = 31;
constexpr uint32_t kRowsPerHead = 8;

uint32_t heads_of(uint32_t rows) { return (rows + kRowsPerHead - 1) / kRowsPerHead; }
size_t padded_tags(size_t rows) { return (rows + kTagPadding - 1) / kTagPadding * kTagPadding; }

uint8_t width_for(uint64_t max) {
  if (max == 0) return 0;
  if (max < 1ull << 8) return 1;
  if (max < 1ull << 16) return 2;
  if (max < 1ull << 32) return 4;
  return 8;
}
void put_width(std::string& out, uint64_t value, uint8_t width) {
  char raw[8];
  std::memcpy(raw, &value, 8);
  out.append(raw, width);
}

}  // namespace

Result<std::shared_ptr<const Block>> Block::parse(std::string raw, const std::string& path,
                                                  const std::optional<RowStamp>& stamp) {
  auto block = std::make_shared<Block>(Token{});
  block->own_ = std::move(raw);
  block->raw_ = block->own_;
  if (!block->lay_out(block->raw_.data(), block->raw_.size())) return corrupt(path, "malformed data block");
  if (stamp) block->stamp(*stamp);
  return std::shared_ptr<const Block>(std::move(block));
}

std::shared_ptr<Block> Block::make(size_t raw_bytes, BlockMemory& memory, char*& raw) {
  std::shared_ptr<char> keep;
  char* const piece = memory.take(kHeadBytes + raw_bytes, keep);
  raw = piece + kHeadBytes;
  auto block = std::allocate_shared<Block>(InPiece<Block>(piece, std::move(keep), kHeadBytes), Token{});
  block->raw_ = {raw, raw_bytes};
  return block;
}

Result<std::shared_ptr<const Block>> Block::unpack(const StoredBlock& stored, BlockMemory& memory,
                                                   const std::string& path, const std::optional<RowStamp>& stamp) {
  char* raw = nullptr;
  auto block = make(stored.raw_bytes, memory, raw);
  if (!unpack_block(stored, raw)) return corrupt(path, "a block does not unpack");
  if (!block->lay_out(raw, stored.raw_bytes)) return corrupt(path, "malformed data block");
  if (stamp) block->stamp(*stamp);
  return std::shared_ptr<const Block>(std::move(block));
}

std::shared_ptr<const Block> Block::copy(BlockMemory& memory) const {
  char* raw = nullptr;
  auto block = make(raw_.size(), memory, raw);
  std::memcpy(raw, raw_.data(), raw_.size());
  static_cast<BlockRows&>(*block) = *this;
  block->move_to(raw);
  return block;
}

bool BlockRows::lay_out(const char* raw, size_t bytes) {
  *this = {};
  if (bytes > kRawBlockMax) return false;
  raw_ = raw;
  Decoder in({raw, bytes});
  rows_ = in.u32();
  prefix_bytes_ = in.u16();
  const uint8_t flags = in.u8();
  const uint8_t widths = in.u8();
  base_sequence_ = in.u64();
  base_time_ = in.u64();
  kind_ = static_cast<OpKind>(in.u8());
  in.u8();
  even_key_ = in.u16();
  even_value_ = in.u32();
  wide_ = (flags & kWideOffsets) != 0;
  sequence_width_ = widths & 15;
  time_width_ = widths >> 4;
  const auto width_ok = [](uint8_t w) { return w == 0 || w == 1 || w == 2 || w == 4 || w == 8; };
  if (!in.ok() || (flags & ~kFlagsKnown) != 0 || !width_ok(sequence_width_) || !width_ok(time_width_)) return false;
  const size_t rows = rows_;
  if (rows == 0 || rows > bytes) return false;
  const auto column = [&](size_t length) {
    const auto at = static_cast<uint32_t>(bytes - in.rest().size());
    in.raw(length);
    return at;
  };
  if ((flags & kSearchColumns) != 0) {
    heads_at_ = column(heads_of(rows_) * sizeof(uint64_t));
    tags_at_ = column(padded_tags(rows));
  }
  prefix_at_ = column(prefix_bytes_);
  const size_t offset_bytes = rows * (wide_ ? 4 : 2);
  if ((flags & kEvenKeys) == 0) key_ends_at_ = column(offset_bytes);
  if ((flags & kEvenValues) == 0) value_ends_at_ = column(offset_bytes);
  if ((flags & kKindColumn) != 0) kinds_at_ = column(rows);
  sequences_at_ = column(rows * sequence_width_);
  times_at_ = column(rows * time_width_);
  const std::string_view rest = in.rest();
  keys_at_ = static_cast<uint32_t>(bytes - rest.size());
  if (!in.ok() || !check_rows(rest.size())) return false;
  values_at_ = keys_at_ + static_cast<uint32_t>(start_of(key_ends_at_, even_key_, rows_));
  return true;
}

// Offsets ascend and end with the block; kinds are known.
bool BlockRows::check_rows(size_t left) const {
  const auto known = [](OpKind kind) { return kind == OpKind::kPut || kind == OpKind::kDelete; };
  if (key_ends_at_ == 0 && value_ends_at_ == 0 && kinds_at_ == 0)
    return known(kind_) && size_t{rows_} * even_key_ + size_t{rows_} * even_value_ == left;
  size_t key_end = 0, value_end = 0;
  for (uint32_t i = 0; i < rows_; ++i) {
    const size_t key = start_of(key_ends_at_, even_key_, i + 1);
    const size_t value = start_of(value_ends_at_, even_value_, i + 1);
    if (key < key_end || value < value_end || !known(kind(i))) return false;
    key_end = key;
    value_end = value;
  }
  return key_end + value_end == left;
}

uint32_t BlockRows::find(std::string_view key, uint64_t hash) const {
  if (tags_at_ == 0) {
    const uint32_t row = lower_bound(key);
    const bool same = row < rows_ && key.size() == prefix_bytes_ + suffix(row).size() && key.ends_with(suffix(row));
    return same ? row : rows_;
  }
  if (!key.starts_with(prefix())) return rows_;
  const std::string_view rest = key.substr(prefix_bytes_);
  const auto* tags = reinterpret_cast<const uint8_t*>(raw_ + tags_at_);
  for (uint32_t base = 0; base < rows_; base += kTagsAtOnce) {
    uint64_t found = match_tags(tags + base, std::min(rows_ - base, kTagsAtOnce), tag_of(hash));
    for (; found != 0; found &= found - 1) {
      const uint32_t row = base + static_cast<uint32_t>(std::countr_zero(found));
      __builtin_prefetch(value(row).data());
      if (suffix(row) == rest) return row;
    }
  }
  return rows_;
}

uint32_t BlockRows::lower_bound(std::string_view key) const {
  const int order = key.substr(0, prefix_bytes_).compare(prefix());
  if (order != 0) return order < 0 ? 0 : rows_;
  const std::string_view rest = key.substr(prefix_bytes_);
  uint32_t low = 0, high = rows_;
  if (heads_at_ != 0) {
    const uint64_t wanted = key_head(rest);
    const auto head = [&](uint32_t i) { return get_fixed<uint64_t>(raw_ + heads_at_ + size_t{i} * sizeof(uint64_t)); };
    const uint32_t heads = heads_of(rows_);
    const uint32_t below = first_not_below(0, heads, [&](uint32_t i) { return head(i) < wanted; });
    // Every row under a larger head is larger; of equal heads only the keys tell.
    const uint32_t up_to = first_not_below(below, heads, [&](uint32_t i) { return head(i) == wanted; });
    if (below > 0) low = (below - 1) * kRowsPerHead + 1;
    if (up_to < heads) high = up_to * kRowsPerHead;
    if (low < high) {
      __builtin_prefetch(suffix(low).data());
      __builtin_prefetch(suffix(high - 1).data());
    }
  }
  return first_not_below(low, high, [&](uint32_t i) { return compare_keys(suffix(i), rest) < 0; });
}

void BlockBuilder::add(const Row& row, uint64_t hash) {
  keys_.append(row.key);
  values_.append(row.value);
  rows_.push_back({keys_.size(), values_.size(), row.sequence, row.time_ms, row.kind, tag_of(hash)});
}

std::string_view BlockBuilder::last_key() const { return rows_.empty() ? std::string_view() : key(rows_.size() - 1); }

// What all rows of a block have in common.
struct BlockBuilder::Shape {
  size_t prefix = 0;
  uint64_t min_sequence = ~0ull, max_sequence = 0, min_time = ~0ull, max_time = 0;
  bool same_kind = true, even_keys = true, even_values = true, wide = false;
  uint8_t flags() const {
    return static_cast<uint8_t>(kSearchColumns | (wide ? kWideOffsets : 0) | (same_kind ? 0 : kKindColumn) |
                                (even_keys ? kEvenKeys : 0) | (even_values ? kEvenValues : 0));
  }
};

BlockBuilder::Shape BlockBuilder::shape() const {
  Shape all;
  all.prefix = std::min<size_t>(common_prefix(key(0), last_key()), 0xFFFF);
  const size_t key_size = key(0).size(), value_size = rows_[0].value_end;
  for (size_t i = 0; i < rows_.size(); ++i) {
    const Meta& row = rows_[i];
    all.min_sequence = std::min(all.min_sequence, row.sequence);
    all.max_sequence = std::max(all.max_sequence, row.sequence);
    all.min_time = std::min(all.min_time, row.time_ms);
    all.max_time = std::max(all.max_time, row.time_ms);
    all.same_kind = all.same_kind && row.kind == rows_[0].kind;
    all.even_keys = all.even_keys && row.key_end == (i + 1) * key_size;
    all.even_values = all.even_values && row.value_end == (i + 1) * value_size;
  }
  all.even_keys = all.even_keys && key_size - all.prefix <= 0xFFFF;
  all.wide = std::max(keys_.size(), values_.size()) > 0xFFFF;
  return all;
}

std::string BlockBuilder::finish() {
  const Shape all = shape();
  const uint8_t sequence_width = width_for(all.max_sequence - all.min_sequence);
  const uint8_t time_width = width_for(all.max_time - all.min_time);
  std::string out;
  out.reserve(BlockRows::kHeaderBytes + keys_.size() + values_.size() + rows_.size() * 26 + kTagPadding + 8);
  put_u32(out, rows());
  put_u16(out, static_cast<uint16_t>(all.prefix));
  put_u8(out, all.flags());
  put_u8(out, static_cast<uint8_t>(sequence_width | time_width << 4));
  put_u64(out, all.min_sequence);
  put_u64(out, all.min_time);
  put_u8(out, static_cast<uint8_t>(rows_[0].kind));
  put_u8(out, 0);
  put_u16(out, all.even_keys ? static_cast<uint16_t>(key(0).size() - all.prefix) : 0);
  put_u32(out, all.even_values ? static_cast<uint32_t>(rows_[0].value_end) : 0);
  for (size_t i = 0; i < rows_.size(); i += kRowsPerHead) put_u64(out, key_head(key(i).substr(all.prefix)));
  for (const Meta& row : rows_) put_u8(out, row.tag);
  out.append(padded_tags(rows_.size()) - rows_.size(), '\0');
  out.append(key(0).substr(0, all.prefix));
  const uint8_t width = all.wide ? 4 : 2;
  for (size_t i = 0; !all.even_keys && i < rows_.size(); ++i)
    put_width(out, rows_[i].key_end - (i + 1) * all.prefix, width);
  for (size_t i = 0; !all.even_values && i < rows_.size(); ++i) put_width(out, rows_[i].value_end, width);
  for (size_t i = 0; !all.same_kind && i < rows_.size(); ++i) put_u8(out, static_cast<uint8_t>(rows_[i].kind));
  for (const Meta& row : rows_) put_width(out, row.sequence - all.min_sequence, sequence_width);
  for (const Meta& row : rows_) put_width(out, row.time_ms - all.min_time, time_width);
  for (size_t i = 0; i < rows_.size(); ++i) out.append(key(i).substr(all.prefix));
  out.append(values_);
  keys_.clear();
  values_.clear();
  rows_.clear();
  return out;
}

}  // namespace cairn::storage
