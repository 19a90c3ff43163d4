#include "sharding/key_encoding.h"

#include <utility>

#include "base/checksum.h"
#include "base/codec.h"

namespace cairn::sharding {
namespace {
constexpr char kHashKeyspace = 0x01;
constexpr size_t kHeader = 4 + 1 + 2 + 4;

void append_escaped(std::string& out, std::string_view user_key) {
  for (;;) {
    const size_t zero = user_key.find('\0');
    if (zero == std::string_view::npos) break;
    out.append(user_key.substr(0, zero + 1));
    out.push_back('\xFF');
    user_key.remove_prefix(zero + 1);
  }
  out.append(user_key);
  out.push_back('\x00');
  out.push_back('\x01');
}

// Offset just behind the terminated user key, or npos.
size_t end_of_user_key(std::string_view row_key, std::string* unescaped) {
  size_t i = kHeader;
  for (;;) {
    const size_t zero = row_key.find('\0', i);
    if (zero == std::string_view::npos || zero + 1 >= row_key.size()) return std::string_view::npos;
    if (unescaped != nullptr) unescaped->append(row_key.substr(i, zero - i));
    const char next = row_key[zero + 1];
    if (next == '\x01') return zero + 2;
    if (next != '\xFF') return std::string_view::npos;
    if (unescaped != nullptr) unescaped->push_back('\0');
    i = zero + 2;
  }
}
}  // namespace

void append_key_prefix(std::string& out, KeyspaceId keyspace, uint16_t slot, std::string_view user_key) {
  out.reserve(out.size() + kHeader + user_key.size() + 3);
  append_keyspace_prefix(out, keyspace);
  put_big_u16(out, slot);
  put_big_u32(out, hash32(user_key));
  append_escaped(out, user_key);
}

void append_meta_key(std::string& out, KeyspaceId keyspace, uint16_t slot, std::string_view user_key) {
  append_key_prefix(out, keyspace, slot, user_key);
  out.push_back(static_cast<char>(RowKind::kMeta));
}

void append_element_prefix(std::string& out, KeyspaceId keyspace, uint16_t slot, std::string_view user_key,
                           uint64_t version) {
  append_key_prefix(out, keyspace, slot, user_key);
  out.push_back(static_cast<char>(RowKind::kElement));
  put_big_u64(out, version);
}

void append_element_key(std::string& out, KeyspaceId keyspace, uint16_t slot, std::string_view user_key,
                        uint64_t version, std::string_view element) {
  append_element_prefix(out, keyspace, slot, user_key, version);
  put_big_u32(out, hash32(element));
  out.append(element);
}

void append_chunk_prefix(std::string& out, std::string_view key_prefix, uint64_t version) {
  out.reserve(out.size() + key_prefix.size() + 13);
  out.append(key_prefix);
  out.push_back(static_cast<char>(RowKind::kChunk));
  put_big_u64(out, version);
}

void append_element_chunk_prefix(std::string& out, std::string_view key_prefix, uint64_t owner, uint64_t version) {
  append_chunk_prefix(out, key_prefix, owner);
  put_big_u64(out, version);
}

std::string slot_bound(KeyspaceId keyspace, uint32_t slot) {
  std::string out;
  if (slot >= 16384) {
    put_big_u32(out, keyspace.value);
    out.push_back(kHashKeyspace + 1);
    return out;
  }
  append_keyspace_prefix(out, keyspace);
  put_big_u16(out, static_cast<uint16_t>(slot));
  return out;
}

std::optional<DecodedKey> decode_row_key(std::string_view row_key) {
  if (row_key.size() < kHeader || row_key[4] != kHashKeyspace) return std::nullopt;
  DecodedKey key;
  key.keyspace = {get_big_u32(row_key.data())};
  key.slot = get_big_u16(row_key.data() + 5);
  size_t at = end_of_user_key(row_key, &key.user_key);
  if (at == std::string_view::npos || at >= row_key.size()) return std::nullopt;
  key.kind = static_cast<RowKind>(row_key[at++]);
  if (key.kind == RowKind::kMeta) return at == row_key.size() ? std::optional(std::move(key)) : std::nullopt;
  if (row_key.size() < at + 12) return std::nullopt;
  key.version = get_big_u64(row_key.data() + at);
  if (key.kind == RowKind::kElement) {
    key.element = row_key.substr(at + 12);
  } else if (key.kind == RowKind::kChunk && row_key.size() == at + 12) {
    key.number = get_big_u32(row_key.data() + at + 8);
  } else if (key.kind == RowKind::kChunk && row_key.size() == at + 20) {
    key.owner = std::exchange(key.version, get_big_u64(row_key.data() + at + 8));
    key.number = get_big_u32(row_key.data() + at + 16);
  } else {
    return std::nullopt;
  }
  return key;
}

bool user_key_of_meta_row(std::string_view row_key, std::string& user_key) {
  user_key.clear();
  if (row_key.size() < kHeader || row_key[4] != kHashKeyspace) return false;
  const size_t at = end_of_user_key(row_key, &user_key);
  return at != std::string_view::npos && at + 1 == row_key.size() && row_key[at] == static_cast<char>(RowKind::kMeta);
}

bool is_meta_row(std::string_view row_key) {
  const size_t at = end_of_user_key(row_key, nullptr);
  return at != std::string_view::npos && at + 1 == row_key.size() && row_key[at] == static_cast<char>(RowKind::kMeta);
}

std::string_view key_prefix_of(std::string_view row_key) {
  if (row_key.size() <= kHeader || row_key[4] != kHashKeyspace) return {};
  const size_t end = end_of_user_key(row_key, nullptr);
  return end == std::string_view::npos ? std::string_view() : row_key.substr(0, end);
}

std::string meta_row_behind(std::string_view row_key) {
  const std::string_view prefix = key_prefix_of(row_key);
  if (prefix.empty() || prefix.size() >= row_key.size()) return {};
  const auto kind = static_cast<RowKind>(row_key[prefix.size()]);
  if (kind != RowKind::kElement && kind != RowKind::kChunk) return {};
  std::string meta(prefix);
  meta.push_back(static_cast<char>(RowKind::kMeta));
  return meta;
}

void append_keyspace_prefix(std::string& out, KeyspaceId keyspace) {
  put_big_u32(out, keyspace.value);
  out.push_back(kHashKeyspace);
}

}  // namespace cairn::sharding
