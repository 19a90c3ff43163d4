#include "storage/sstable/index.h"

#include <algorithm>

#include "base/codec.h"
#include "storage/key_head.h"

namespace cairn::storage {

// Whole ones, one behind the other.
struct TableIndex::Separators {
  std::string bytes;
  std::vector<uint32_t> ends;
  std::string_view operator[](size_t i) const {
    const size_t start = i == 0 ? 0 : ends[i - 1];
    return std::string_view(bytes).substr(start, ends[i] - start);
  }
  bool add(std::string_view next) {
    if (!ends.empty() && next <= (*this)[ends.size() - 1]) return false;
    if (bytes.size() + next.size() > ~0u) return false;
    bytes.append(next);
    ends.push_back(static_cast<uint32_t>(bytes.size()));
    return true;
  }
};

Result<TableIndex> TableIndex::parse(std::string_view bytes, bool last_keys, uint32_t blocks, uint64_t data_bytes,
                                     const std::string& path) {
  Decoder in(bytes);
  if (in.varint() != blocks || blocks > bytes.size()) return corrupt(path, "index does not fit the properties");
  TableIndex index;
  Separators separators;
  index.offsets_.reserve(size_t{blocks} + 1);
  separators.ends.reserve(blocks);
  std::string separator;
  for (uint32_t i = 0; i < blocks; ++i) {
    const uint64_t offset = index.offsets_.back();
    const uint64_t shared = last_keys ? 0 : in.varint();
    const std::string_view rest = in.bytes();
    const bool in_place = !last_keys || in.varint() == offset;
    const uint64_t size = in.varint();
    if (!in.ok() || !in_place || shared > separator.size() || size > ~0u || size > data_bytes - offset)
      return corrupt(path, "malformed index");
    separator.resize(shared);
    separator.append(rest);
    if (!separators.add(separator)) return corrupt(path, "malformed index");
    index.offsets_.push_back(offset + size);
  }
  if (!in.at_end()) return corrupt(path, "malformed index");
  index.keep(separators);
  return index;
}

void TableIndex::keep(const Separators& separators) {
  const size_t blocks = separators.ends.size();
  if (blocks == 0) return;
  shared_ = separators[0].substr(0, common_prefix(separators[0], separators[blocks - 1]));
  rests_.reserve(separators.bytes.size() - blocks * shared_.size());
  heads_.reserve(blocks);
  ends_.reserve(blocks);
  for (size_t i = 0; i < blocks; ++i) {
    const std::string_view rest = separators[i].substr(shared_.size());
    rests_.append(rest);
    ends_.push_back(static_cast<uint32_t>(rests_.size()));
    heads_.push_back(key_head(rest));
    if (i % kHeadsPerTop == 0) tops_.push_back(heads_.back());
  }
}

// The heads between two tops are asked for together, not one after the other as a search finds its way.
uint32_t TableIndex::heads_below(uint64_t head) const {
  const uint32_t tops = storage::heads_below(tops_.data(), static_cast<uint32_t>(tops_.size()), head);
  if (tops == 0) return 0;
  const uint32_t low = (tops - 1) * kHeadsPerTop + 1;
  const uint32_t high = std::min(tops * kHeadsPerTop, size());
  constexpr uint32_t kHeadsPerLine = 8;
  for (uint32_t i = low; i < high; i += kHeadsPerLine) __builtin_prefetch(&heads_[i]);
  return low + storage::heads_below(heads_.data() + low, high - low, head);
}

uint32_t TableIndex::find(std::string_view key) const {
  if (ends_.empty()) return 0;
  const int order = key.substr(0, shared_.size()).compare(shared_);
  if (order != 0) return order < 0 ? 0 : size();
  key.remove_prefix(shared_.size());
  const uint64_t head = key_head(key);
  const uint32_t low = heads_below(head);
  if (low == size() || heads_[low] != head) return low;
  const uint32_t high = head == ~0ull ? size() : heads_below(head + 1);
  return first_not_below(low, high, [&](uint32_t i) { return rest(i) < key; });
}

std::string separator_between(std::string_view last, std::string_view next) {
  const size_t shared = common_prefix(last, next);
  const auto byte = [](std::string_view key, size_t i) { return static_cast<uint8_t>(key[i]); };
  if (shared == last.size()) return std::string(last);
  // One byte raised ends the separator; the first that differs only where that does not reach `next`.
  size_t at = shared;
  if (byte(last, at) + 1 >= byte(next, at)) {
    ++at;
    while (at < last.size() && byte(last, at) == 0xFF) ++at;
  }
  if (at >= last.size()) return std::string(last);
  std::string separator(last.substr(0, at + 1));
  separator.back() = static_cast<char>(byte(last, at) + 1);
  return separator;
}

void IndexBuilder::add(std::string_view last_key, std::string_view next_key, uint32_t stored_size) {
  const std::string separator = next_key.empty() ? std::string(last_key) : separator_between(last_key, next_key);
  const size_t shared = common_prefix(previous_, separator);
  put_varint(entries_, shared);
  put_bytes(entries_, std::string_view(separator).substr(shared));
  put_varint(entries_, stored_size);
  previous_ = separator;
}

std::string IndexBuilder::finish(uint32_t blocks) const {
  std::string out;
  put_varint(out, blocks);
  out.append(entries_);
  return out;
}

}  // namespace cairn::storage
