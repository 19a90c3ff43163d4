#include "server/commands/row_format.h"

#include "base/codec.h"
#include "sharding/key_encoding.h"

namespace cairn::server {
namespace {
constexpr uint8_t kWholeElement = 0;
constexpr uint8_t kChunkedElement = 1;

// What stands for a text in chunks.
void append_chunk_reference(std::string& out, uint64_t version, uint64_t length, uint32_t chunk_bytes) {
  put_u64(out, version);
  put_u64(out, length);
  put_u32(out, chunk_bytes);
}
bool decode_chunk_reference(std::string_view in, uint64_t& version, uint64_t& length, uint32_t& chunk_bytes) {
  if (in.size() != 20) return false;
  version = get_fixed<uint64_t>(in.data());
  length = get_fixed<uint64_t>(in.data() + 8);
  chunk_bytes = get_fixed<uint32_t>(in.data() + 16);
  return length <= kStringBytesMax && chunk_bytes != 0;
}
}  // namespace

bool decode_meta_row(std::string_view value, MetaRow& row) {
  if (value.size() < 2) return false;
  const auto type = static_cast<uint8_t>(value[0]);
  const auto flags = static_cast<uint8_t>(value[1]);
  if (type < 1 || type > 5 || (flags & ~(kHasExpiry | kHasLongValues)) != 0) return false;
  row.type = static_cast<RowType>(type);
  row.long_values = (flags & kHasLongValues) != 0;
  if (row.long_values && row.type != RowType::kExplodedHash) return false;
  value.remove_prefix(2);
  row.expire_ms = 0;
  if (flags & kHasExpiry) {
    if (value.size() < 8) return false;
    row.expire_ms = get_fixed<uint64_t>(value.data());
    value.remove_prefix(8);
  }
  row.payload = value;
  if (row.is_exploded()) {
    if (value.size() != 16) return false;
    row.version = get_fixed<uint64_t>(value.data());
    row.count = get_fixed<uint64_t>(value.data() + 8);
  } else if (row.type == RowType::kChunkedString) {
    row.payload = {};
    return decode_chunk_reference(value, row.version, row.count, row.chunk_bytes);
  }
  return true;
}

void append_meta_header(std::string& out, RowType type, uint64_t expire_ms, bool long_values) {
  put_u8(out, static_cast<uint8_t>(type));
  put_u8(out, static_cast<uint8_t>((expire_ms != 0 ? kHasExpiry : 0) | (long_values ? kHasLongValues : 0)));
  if (expire_ms != 0) put_u64(out, expire_ms);
}

void append_exploded_meta(std::string& out, const MetaRow& row) {
  append_meta_header(out, row.type, row.expire_ms, row.long_values);
  put_u64(out, row.version);
  put_u64(out, row.count);
}

void append_chunked_meta(std::string& out, uint64_t expire_ms, uint64_t version, uint64_t length,
                         uint32_t chunk_bytes) {
  append_meta_header(out, RowType::kChunkedString, expire_ms);
  append_chunk_reference(out, version, length, chunk_bytes);
}

bool decode_element(RowType type, std::string_view row, ElementValue& value) {
  value = {};
  if (type == RowType::kBareHash) {
    value.whole = row;
    return true;
  }
  if (row.empty()) return false;
  const auto header = static_cast<uint8_t>(row[0]);
  row.remove_prefix(1);
  value.chunked = header == kChunkedElement;
  if (value.chunked) return decode_chunk_reference(row, value.version, value.length, value.chunk_bytes);
  value.whole = row;
  return header == kWholeElement;
}

void append_whole_element(std::string& out, RowType type, std::string_view value) {
  if (type != RowType::kBareHash) put_u8(out, kWholeElement);
  out.append(value);
}

void append_chunked_element(std::string& out, const ElementValue& value) {
  put_u8(out, kChunkedElement);
  append_chunk_reference(out, value.version, value.length, value.chunk_bytes);
}

uint64_t row_expiry(std::string_view row_key, std::string_view value) {
  MetaRow row;
  if (value.size() < 10 || value[1] != static_cast<char>(kHasExpiry)) return 0;  // most rows
  if (!decode_meta_row(value, row) || row.has_more_rows()) return 0;
  const auto key = sharding::decode_row_key(row_key);  // an element's value may look like anything
  return key && key->kind == sharding::RowKind::kMeta ? row.expire_ms : 0;
}

}  // namespace cairn::server
