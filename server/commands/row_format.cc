#include "server/commands/row_format.h"

#include "base/codec.h"
#include "sharding/key_encoding.h"

namespace cairn::server {

bool decode_meta_row(std::string_view value, MetaRow& row) {
  if (value.size() < 2) return false;
  const auto type = static_cast<uint8_t>(value[0]);
  const auto flags = static_cast<uint8_t>(value[1]);
  if (type < 1 || type > 4 || (flags & ~kHasExpiry) != 0) return false;
  row.type = static_cast<RowType>(type);
  value.remove_prefix(2);
  row.expire_ms = 0;
  if (flags & kHasExpiry) {
    if (value.size() < 8) return false;
    row.expire_ms = get_fixed<uint64_t>(value.data());
    value.remove_prefix(8);
  }
  row.payload = value;
  if (row.type == RowType::kExplodedHash) {
    if (value.size() != 16) return false;
    row.version = get_fixed<uint64_t>(value.data());
    row.count = get_fixed<uint64_t>(value.data() + 8);
  } else if (row.type == RowType::kChunkedString) {
    if (value.size() != 20) return false;
    row.version = get_fixed<uint64_t>(value.data());
    row.count = get_fixed<uint64_t>(value.data() + 8);
    row.chunk_bytes = get_fixed<uint32_t>(value.data() + 16);
    if (row.count > kStringBytesMax || row.chunk_bytes == 0) return false;
    row.payload = {};
  }
  return true;
}

void append_meta_header(std::string& out, RowType type, uint64_t expire_ms) {
  put_u8(out, static_cast<uint8_t>(type));
  put_u8(out, expire_ms != 0 ? kHasExpiry : 0);
  if (expire_ms != 0) put_u64(out, expire_ms);
}

void append_exploded_meta(std::string& out, uint64_t expire_ms, uint64_t version, uint64_t count) {
  append_meta_header(out, RowType::kExplodedHash, expire_ms);
  put_u64(out, version);
  put_u64(out, count);
}

void append_chunked_meta(std::string& out, uint64_t expire_ms, uint64_t version, uint64_t length,
                         uint32_t chunk_bytes) {
  append_meta_header(out, RowType::kChunkedString, expire_ms);
  put_u64(out, version);
  put_u64(out, length);
  put_u32(out, chunk_bytes);
}

uint64_t row_expiry(std::string_view row_key, std::string_view value) {
  MetaRow row;
  if (value.size() < 10 || value[1] != static_cast<char>(kHasExpiry)) return 0;  // most rows
  if (!decode_meta_row(value, row) || row.has_more_rows()) return 0;
  const auto key = sharding::decode_row_key(row_key);  // an element's value may look like anything
  return key && key->kind == sharding::RowKind::kMeta ? row.expire_ms : 0;
}

}  // namespace cairn::server
