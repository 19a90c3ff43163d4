// Row keys of the one ordered key space (docs/formats/keys.md).
//
//   hash keyspace     [keyspace u32 BE][0x01][slot u16 BE][hash32 of the user key BE][user key, 00 -> 00 FF, end 00 01]
//                     [kind u8][version u64 BE][hash32 of the element BE][element]
//                     or   [kind u8][owner u64 BE, of an element's value][version u64 BE][number u32 BE]
//   ordered keyspace  [keyspace u32 BE][0x02][user key, escaped and terminated][kind][version][element]
//
// A meta row ends after its kind; element rows have version, hash and element, chunk rows version and number. Those of
// an element's value have the version of the collection, their owner, before their own.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/types.h"

namespace cairn::sharding {

struct KeyspaceId {
  uint32_t value = 0;
  friend constexpr auto operator<=>(KeyspaceId, KeyspaceId) = default;
};

enum class RowKind : uint8_t {
  kMeta = 'M',     // type, expiry, count, and the whole value where it is small
  kElement = 'E',  // one field of an exploded collection
  kChunk = 'C',    // one piece of a long string, or of the long value of an element
};

// Everything of a row key up to and including the terminated user key.
void append_key_prefix(std::string& out, KeyspaceId keyspace, uint16_t slot, std::string_view user_key);
void append_meta_key(std::string& out, KeyspaceId keyspace, uint16_t slot, std::string_view user_key);
// Prefix of all element rows of one version of a collection: what a prefix tombstone names.
void append_element_prefix(std::string& out, KeyspaceId keyspace, uint16_t slot, std::string_view user_key,
                           uint64_t version);
void append_element_key(std::string& out, KeyspaceId keyspace, uint16_t slot, std::string_view user_key,
                        uint64_t version, std::string_view element);

// `key_prefix` is what append_key_prefix() makes. Prefix of all chunk rows of one version of a string, of all chunk
// rows of a collection's elements (its version), and of one of these.
void append_chunk_prefix(std::string& out, std::string_view key_prefix, uint64_t version);
void append_element_chunk_prefix(std::string& out, std::string_view key_prefix, uint64_t owner, uint64_t version);

// First row key of a slot: the bound of ranges in a hash keyspace. slot may be 16384 (the end of the keyspace).
std::string slot_bound(KeyspaceId keyspace, uint32_t slot);

struct DecodedKey {
  KeyspaceId keyspace;
  uint16_t slot = 0;
  std::string user_key;  // unescaped
  RowKind kind = RowKind::kMeta;
  uint64_t version = 0;  // element and chunk rows
  uint64_t owner = 0;    // chunk rows of an element's value; 0: of a string
  std::string element;   // element rows
  uint32_t number = 0;   // chunk rows
};
std::optional<DecodedKey> decode_row_key(std::string_view row_key);  // nullopt: not a row of a hash keyspace
// The same of a meta row, into memory that is used again. False: it is none; `user_key` may be anything then.
bool user_key_of_meta_row(std::string_view row_key, std::string& user_key);
// True if the row is a meta row; cheap, for counting. Requires: a well-formed row key of a hash keyspace.
bool is_meta_row(std::string_view row_key);
// Of an element or chunk row: the meta row of its key, which comes behind all of them. Empty for every other row.
std::string meta_row_behind(std::string_view row_key);
// What append_key_prefix() made: all that the rows of a key begin with. Empty: not a row of a hash keyspace.
std::string_view key_prefix_of(std::string_view row_key);
// All rows of a hash keyspace start with this; slot and hash of the key follow, 6 bytes.
void append_keyspace_prefix(std::string& out, KeyspaceId keyspace);

}  // namespace cairn::sharding
