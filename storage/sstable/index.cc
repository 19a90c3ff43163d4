#include "storage/sstable/index.h"

#include "base/codec.h"
#include "storage/key_head.h"

namespace cairn::storage {

Result<TableIndex> TableIndex::parse(std::string_view bytes, bool last_keys, uint32_t blocks, uint64_t data_bytes,
                                     const std::string& path) {
  Decoder in(bytes);
  if (in.varint() != blocks || blocks > bytes.size()) return corrupt(path, "index does not fit the properties");
  TableIndex index;
  index.handles_.reserve(blocks);
  index.ends_.reserve(blocks);
  std::string separator;
  uint64_t offset = 0;
  for (uint32_t i = 0; i < blocks; ++i) {
    const uint64_t shared = last_keys ? 0 : in.varint();
    const std::string_view rest = in.bytes();
    if (last_keys) offset = in.varint();
    const uint64_t size = in.varint();
    if (!in.ok() || shared > separator.size() || size > ~0u) return corrupt(path, "malformed index");
    separator.resize(shared);
    separator.append(rest);
    if (!index.add(separator, {offset, static_cast<uint32_t>(size)}, data_bytes))
      return corrupt(path, "malformed index");
    offset += size;
  }
  if (!in.at_end()) return corrupt(path, "malformed index");
  index.make_heads();
  return index;
}

bool TableIndex::add(std::string_view next, const BlockHandle& handle, uint64_t data_bytes) {
  if (handle.offset > data_bytes || handle.size > data_bytes - handle.offset) return false;
  if (size() > 0 && next <= separator(size() - 1)) return false;
  if (separators_.size() + next.size() > ~0u) return false;
  separators_.append(next);
  ends_.push_back(static_cast<uint32_t>(separators_.size()));
  handles_.push_back(handle);
  return true;
}

void TableIndex::make_heads() {
  if (size() == 0) return;
  shared_ = common_prefix(separator(0), separator(size() - 1));
  heads_.reserve(size());
  for (uint32_t i = 0; i < size(); ++i) heads_.push_back(key_head(rest(i)));
}

uint32_t TableIndex::find(std::string_view key) const {
  if (handles_.empty()) return 0;
  const std::string_view shared(separators_.data(), shared_);
  const int order = key.substr(0, shared_).compare(shared);
  if (order != 0) return order < 0 ? 0 : size();
  key.remove_prefix(shared_);
  const uint64_t head = key_head(key);
  const uint32_t low = heads_below(heads_.data(), size(), head);
  if (low == size() || heads_[low] != head) return low;
  const uint32_t high = head == ~0ull ? size() : low + heads_below(heads_.data() + low, size() - low, head + 1);
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
