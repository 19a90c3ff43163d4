#include "server/commands/hash_elements.h"

#include <utility>
#include <vector>

#include "base/codec.h"

namespace cairn::server {
namespace {

constexpr size_t kNameHashBytes = 4;  // before the name, in the row key

std::string element_prefix(const HashRows& hash) {
  std::string prefix = hash.key_prefix;
  prefix.push_back(static_cast<char>(sharding::RowKind::kElement));
  put_big_u64(prefix, hash.meta.version);
  return prefix;
}

// Goes on when all of them are there.
Answered read_texts(EvalContext& ctx, HashRows& hash, const std::vector<ElementValue>& values) {
  Answered answered;
  for (const ElementValue& value : values) {
    std::string_view text;
    const Answered one = element_text(ctx, hash.key_prefix, hash.meta.version, value, text);
    if (one == EvalStatus::kDone) return one;
    if (one) answered = one;  // all are asked for together
    hash.texts[value.version] = text;
  }
  return answered;
}

}  // namespace

Answered find_element(EvalContext& ctx, KeyAccess& key, std::string_view name, std::optional<ElementValue>& value) {
  const RowResult row = ctx.rows.get(key.element_key(key.meta().version, name));
  if (row.state == RowState::kNeedsRows) return EvalStatus::kNeedsRows;
  if (row.state == RowState::kAbsent) return std::nullopt;
  if (!decode_element(key.meta().type, row.value, value.emplace())) return fail(ctx, kCorruptRow);
  return std::nullopt;
}

Answered element_text(EvalContext& ctx, std::string_view key_prefix, uint64_t owner, const ElementValue& value,
                      std::string_view& text) {
  if (!value.chunked) {
    text = value.whole;
    return std::nullopt;
  }
  if (value.version == kChunksToCome) return EvalStatus::kNeedsRows;
  std::string prefix;
  sharding::append_element_chunk_prefix(prefix, key_prefix, owner, value.version);
  return go_on(ctx, read_chunks(ctx, prefix, value.length, text));
}

MetaRow new_exploded_hash(EvalContext& ctx, const KeyAccess& key, uint64_t expire_ms, bool long_values) {
  MetaRow hash;
  hash.type = RowType::kExplodedHash;
  hash.expire_ms = expire_ms;
  hash.version = long_values ? ctx.rows.next_owner(key.key_prefix()) : ctx.rows.next_version();
  return hash;
}

bool is_long_value(const EvalContext& ctx, const MetaRow& hash, std::string_view value) {
  return hash.type != RowType::kBareHash && value.size() > ctx.rows.whole_bytes_max();
}

void put_element(EvalContext& ctx, KeyAccess& key, MetaRow& hash, std::string_view name, std::string_view value) {
  std::string& row = value_scratch();
  if (is_long_value(ctx, hash, value)) {
    const ChunksWritten chunks = ctx.rows.write_chunks(key.key_prefix(), hash.version, value, {});
    append_chunked_element(row, {.chunked = true,
                                 .whole = {},
                                 .version = chunks.version,
                                 .length = value.size(),
                                 .chunk_bytes = chunks.chunk_bytes});
    hash.long_values = true;
  } else {
    append_whole_element(row, hash.type, value);
  }
  ctx.rows.put(key.element_key(hash.version, name), row);
}

void drop_chunks(EvalContext& ctx, const KeyAccess& key, const MetaRow& hash, const ElementValue& value) {
  if (!value.chunked) return;
  std::string prefix;
  sharding::append_element_chunk_prefix(prefix, key.key_prefix(), hash.version, value.version);
  ctx.rows.remove_prefix(prefix);
}

Answered visit_elements(EvalContext& ctx, HashRows& hash, Values values, const std::function<void(size_t)>& on_count,
                        const std::function<void(std::string_view name, std::string_view value)>& on_field) {
  const size_t reply_start = ctx.reply.size();
  const std::string prefix = element_prefix(hash);
  std::vector<ElementValue> unread;
  const auto visit = [&](std::string_view name, const ElementValue& value) {
    if (!value.chunked || values == Values::kSkip) {
      if (unread.empty()) on_field(name, value.whole);
    } else if (const auto text = hash.texts.find(value.version); text == hash.texts.end()) {
      unread.push_back(value);
    } else if (unread.empty()) {
      on_field(name, text->second);
    }
  };
  do {
    if (const Answered answered = read_texts(ctx, hash, std::exchange(unread, {}))) return answered;
    uint64_t seen = 0;
    bool malformed = false;
    on_count(hash.meta.count);
    const RowState scanned = ctx.rows.scan(prefix, [&](std::string_view row_key, std::string_view row) {
      ElementValue value;
      malformed = row_key.size() < prefix.size() + kNameHashBytes || !decode_element(hash.meta.type, row, value);
      if (malformed) return false;
      ++seen;
      visit(row_key.substr(prefix.size() + kNameHashBytes), value);
      return true;
    });
    if (scanned == RowState::kNeedsRows) return EvalStatus::kNeedsRows;
    if (malformed || seen != hash.meta.count || !unread.empty()) ctx.reply.rollback(reply_start);
    if (malformed || seen != hash.meta.count) return fail(ctx, kCorruptRow);
  } while (!unread.empty());
  return std::nullopt;
}

}  // namespace cairn::server
