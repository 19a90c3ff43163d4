#include "storage/sstable/block.h"

#include <algorithm>

#include "base/codec.h"

namespace cairn::storage {
namespace {

// Header: rows u32 | prefix length u16 | flags u8 | widths u8 | base sequence u64 | base time u64 | kind u8 |
// 0 u8[7]
constexpr size_t kHeaderBytes = 32;
constexpr uint8_t kWideOffsets = 1;
constexpr uint8_t kKindColumn = 2;

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
uint64_t get_width(const char* in, uint8_t width) {
  switch (width) {
    case 1: return static_cast<uint8_t>(*in);
    case 2: return get_fixed<uint16_t>(in);
    case 4: return get_fixed<uint32_t>(in);
    case 8: return get_fixed<uint64_t>(in);
    default: return 0;
  }
}

}  // namespace

size_t Block::offset(const char* array, uint32_t i) const {
  return wide_ ? get_fixed<uint32_t>(array + size_t{i} * 4) : get_fixed<uint16_t>(array + size_t{i} * 2);
}

Result<std::shared_ptr<const Block>> Block::parse(std::string raw, const std::string& path) {
  const Error bad = corrupt(path, "malformed data block");
  auto block = std::shared_ptr<Block>(new Block);
  block->raw_ = std::move(raw);
  Decoder in(block->raw_);
  block->rows_ = in.u32();
  const uint16_t prefix_length = in.u16();
  const uint8_t flags = in.u8();
  const uint8_t widths = in.u8();
  block->base_sequence_ = in.u64();
  block->base_time_ = in.u64();
  block->kind_ = static_cast<OpKind>(in.u8());
  in.raw(7);
  block->wide_ = (flags & kWideOffsets) != 0;
  block->sequence_width_ = widths & 15;
  block->time_width_ = widths >> 4;
  const auto width_ok = [](uint8_t w) { return w == 0 || w == 1 || w == 2 || w == 4 || w == 8; };
  if (!in.ok() || !width_ok(block->sequence_width_) || !width_ok(block->time_width_)) return bad;
  const size_t rows = block->rows_;
  if (rows == 0 || rows > block->raw_.size()) return bad;
  const size_t offset_bytes = rows * (block->wide_ ? 4 : 2);
  block->prefix_ = in.raw(prefix_length);
  block->key_ends_ = in.raw(offset_bytes).data();
  block->value_ends_ = in.raw(offset_bytes).data();
  if ((flags & kKindColumn) != 0) block->kinds_ = in.raw(rows).data();
  block->sequences_ = in.raw(rows * block->sequence_width_).data();
  block->times_ = in.raw(rows * block->time_width_).data();
  if (!in.ok()) return bad;
  block->keys_ = in.rest().data();
  size_t key_end = 0, value_end = 0;
  for (uint32_t i = 0; i < rows; ++i) {
    const size_t key = block->offset(block->key_ends_, i);
    const size_t value = block->offset(block->value_ends_, i);
    const OpKind kind = block->kinds_ != nullptr ? static_cast<OpKind>(block->kinds_[i]) : block->kind_;
    if (key < key_end || value < value_end || (kind != OpKind::kPut && kind != OpKind::kDelete)) return bad;
    key_end = key;
    value_end = value;
  }
  if (key_end + value_end != in.remaining()) return bad;
  block->values_ = block->keys_ + key_end;
  return std::shared_ptr<const Block>(std::move(block));
}

uint32_t Block::lower_bound(std::string_view key) const {
  const int order = key.substr(0, prefix_.size()).compare(prefix_);
  if (order != 0) return order < 0 ? 0 : rows_;
  const std::string_view rest = key.substr(prefix_.size());
  uint32_t low = 0;
  for (uint32_t n = rows_; n > 0;) {
    const uint32_t half = n / 2;
    if (suffix(low + half).compare(rest) < 0) {
      low += half + 1;
      n -= half + 1;
    } else {
      n = half;
    }
  }
  return low;
}

Row Block::row(uint32_t i) const {
  Row row;
  row.value = value(i);
  row.kind = kinds_ != nullptr ? static_cast<OpKind>(kinds_[i]) : kind_;
  row.sequence = base_sequence_ + get_width(sequences_ + size_t{i} * sequence_width_, sequence_width_);
  row.time_ms = base_time_ + get_width(times_ + size_t{i} * time_width_, time_width_);
  return row;
}

void BlockBuilder::add(const Row& row) {
  keys_.append(row.key);
  values_.append(row.value);
  rows_.push_back({keys_.size(), values_.size(), row.sequence, row.time_ms, row.kind});
}

std::string_view BlockBuilder::last_key() const {
  const size_t start = rows_.size() < 2 ? 0 : rows_[rows_.size() - 2].key_end;
  return std::string_view(keys_).substr(start);
}

std::string BlockBuilder::finish() {
  const std::string_view first = std::string_view(keys_).substr(0, rows_[0].key_end);
  const size_t prefix = std::min<size_t>(common_prefix(first, last_key()), 0xFFFF);
  uint64_t min_sequence = ~0ull, max_sequence = 0, min_time = ~0ull, max_time = 0;
  bool same_kind = true;
  for (const Meta& row : rows_) {
    min_sequence = std::min(min_sequence, row.sequence);
    max_sequence = std::max(max_sequence, row.sequence);
    min_time = std::min(min_time, row.time_ms);
    max_time = std::max(max_time, row.time_ms);
    same_kind = same_kind && row.kind == rows_[0].kind;
  }
  const uint8_t sequence_width = width_for(max_sequence - min_sequence);
  const uint8_t time_width = width_for(max_time - min_time);
  const bool wide = std::max(keys_.size(), values_.size()) > 0xFFFF;

  std::string out;
  out.reserve(kHeaderBytes + keys_.size() + values_.size() + rows_.size() * 24);
  put_u32(out, rows());
  put_u16(out, static_cast<uint16_t>(prefix));
  put_u8(out, static_cast<uint8_t>((wide ? kWideOffsets : 0) | (same_kind ? 0 : kKindColumn)));
  put_u8(out, static_cast<uint8_t>(sequence_width | time_width << 4));
  put_u64(out, min_sequence);
  put_u64(out, min_time);
  put_u8(out, static_cast<uint8_t>(rows_[0].kind));
  out.append(kHeaderBytes - out.size(), '\0');
  out.append(first.substr(0, prefix));
  const uint8_t width = wide ? 4 : 2;
  size_t i = 0;
  for (const Meta& row : rows_) put_width(out, row.key_end - ++i * prefix, width);
  for (const Meta& row : rows_) put_width(out, row.value_end, width);
  if (!same_kind) {
    for (const Meta& row : rows_) put_u8(out, static_cast<uint8_t>(row.kind));
  }
  for (const Meta& row : rows_) put_width(out, row.sequence - min_sequence, sequence_width);
  for (const Meta& row : rows_) put_width(out, row.time_ms - min_time, time_width);
  size_t start = 0;
  for (const Meta& row : rows_) {
    out.append(keys_, start + prefix, row.key_end - start - prefix);
    start = row.key_end;
  }
  out.append(values_);
  keys_.clear();
  values_.clear();
  rows_.clear();
  return out;
}

}  // namespace cairn::storage
