// The element rows of exploded hashes, and the chunk rows of their long values (row_format.h).
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "server/commands/key_access.h"

namespace cairn::server {

// Goes on with the value of a field of a loaded exploded hash, or none.
Answered find_element(EvalContext& ctx, KeyAccess& key, std::string_view name, std::optional<ElementValue>& value);
// Goes on with its bytes, which stay valid as those of a row do. `owner`: version of the hash.
Answered element_text(EvalContext& ctx, std::string_view key_prefix, uint64_t owner, const ElementValue& value,
                      std::string_view& text);

// The meta row of a hash that is going to be exploded. `long_values`: some value will be in chunks.
MetaRow new_exploded_hash(EvalContext& ctx, const KeyAccess& key, uint64_t expire_ms, bool long_values);
// Whether put_element() writes it in chunks.
bool is_long_value(const EvalContext& ctx, const MetaRow& hash, std::string_view value);
// Writes the element row of a field; `hash` takes note of a long value. What the field held before keeps its chunk
// rows.
void put_element(EvalContext& ctx, KeyAccess& key, MetaRow& hash, std::string_view name, std::string_view value);
// Deletes the chunk rows of a value that is replaced or deleted.
void drop_chunks(EvalContext& ctx, const KeyAccess& key, const MetaRow& hash, const ElementValue& value);

// All rows of a hash; for evaluations that look at other keys too.
struct HashRows {
  HashRows(std::string prefix, const MetaRow& row) : key_prefix(std::move(prefix)), meta(row) {}
  explicit HashRows(const KeyAccess& key) : HashRows(std::string(key.key_prefix()), key.meta()) {}

  std::string key_prefix;
  MetaRow meta;
  std::map<uint64_t, std::string_view> texts;  // of long values, by version, once somebody has asked
};
enum class Values : uint8_t { kSkip, kRead };

// Calls `on_count(n)`, then `on_field(name, value)` for each of the n fields of an exploded hash, by hash of the name;
// views last for the call. Where long values turn up that `hash.texts` lacks, they are read, and everything starts
// again. Kept: what was answered if a row was missing or malformed; the reply is then as it was before, but for the
// error.
Answered visit_elements(EvalContext& ctx, HashRows& hash, Values values, const std::function<void(size_t)>& on_count,
                        const std::function<void(std::string_view name, std::string_view value)>& on_field);

}  // namespace cairn::server
