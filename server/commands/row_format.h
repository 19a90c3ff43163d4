// What the value of a meta row looks like (docs/formats/rows.md).
//
//   type u8 | flags u8 | [expire u64 LE, ms since 1970; flag kHasExpiry] | payload
//   string          payload = the bytes
//   inline hash     payload = (varint length, field, varint length, value)*, in order of insertion
//   exploded hash   payload = version u64 LE | number of fields u64 LE; the fields are element rows of that version
//   bare hash       the same, as earlier versions wrote it: its element rows have no header
//   chunked string  payload = version u64 LE | length u64 LE | bytes of a chunk u32 LE; the bytes are chunk rows of
//                   that version, numbered from 0, all but the last of that size
//
// The value of an element row is a header u8 and a payload; that of a bare hash only the field's value.
//
//   0 whole     payload = the field's value
//   1 chunked   payload = version u64 LE | length u64 LE | bytes of a chunk u32 LE; chunk rows that the hash owns
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace cairn::server {

enum class RowType : uint8_t { kString = 1, kInlineHash = 2, kBareHash = 3, kChunkedString = 4, kExplodedHash = 5 };
inline constexpr uint8_t kHasExpiry = 1;
inline constexpr uint8_t kHasLongValues = 2;  // an exploded hash that had a long value: it may have chunk rows

// A hash is kept inline up to these; it never becomes inline again.
inline constexpr size_t kInlineFieldsMax = 128;
inline constexpr size_t kInlineItemBytesMax = 64;       // of a field and of a value
inline constexpr size_t kInlinePayloadBytesMax = 2048;  // encoded
inline constexpr size_t kStringBytesMax = 32 * 1024 * 1024;

struct MetaRow {
  RowType type = RowType::kString;
  uint64_t expire_ms = 0;  // 0: never
  std::string_view payload;
  uint64_t version = 0;      // exploded, chunked
  uint64_t count = 0;        // exploded: number of fields, at least 1; chunked: length
  uint32_t chunk_bytes = 0;  // chunked
  bool long_values = false;  // exploded: kHasLongValues

  bool is_string() const { return type == RowType::kString || type == RowType::kChunkedString; }
  bool is_hash() const { return !is_string(); }
  bool is_exploded() const { return type == RowType::kExplodedHash || type == RowType::kBareHash; }
  // All that there is of the key besides its meta row has this version; it goes when the meta row goes.
  bool has_more_rows() const { return is_exploded() || type == RowType::kChunkedString; }
};

// False: not a meta row of a version we know. `row.payload` points into `value`.
bool decode_meta_row(std::string_view value, MetaRow& row);
// Type, flags and expiry; the payload is to be appended.
void append_meta_header(std::string& out, RowType type, uint64_t expire_ms, bool long_values = false);
void append_exploded_meta(std::string& out, const MetaRow& row);
void append_chunked_meta(std::string& out, uint64_t expire_ms, uint64_t version, uint64_t length, uint32_t chunk_bytes);

// The value of a field as its element row has it.
struct ElementValue {
  bool chunked = false;
  std::string_view whole;  // points into the row
  uint64_t version = 0;    // chunked
  uint64_t length = 0;
  uint32_t chunk_bytes = 0;

  uint64_t size() const { return chunked ? length : whole.size(); }
};
// `type`: of the hash. False: malformed.
bool decode_element(RowType type, std::string_view row, ElementValue& value);
void append_whole_element(std::string& out, RowType type, std::string_view value);
void append_chunked_element(std::string& out, const ElementValue& value);

// When a row may go by itself, ms since 1970; 0: never. Not for those that have more
// rows: these would stay. Takes the bytes of any row.
uint64_t row_expiry(std::string_view row_key, std::string_view value);

}  // namespace cairn::server
