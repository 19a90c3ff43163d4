// Hashes: small ones inline in the meta row, larger ones as element rows (row_format.h).
#include <algorithm>
#include <vector>

#include "base/codec.h"
#include "server/commands/evaluators.h"
#include "server/commands/key_access.h"

namespace cairn::server {
namespace {

struct Field {
  std::string_view name;
  std::string_view value;
  size_t order = 0;  // only where many fields are sorted
};
using Fields = std::vector<Field>;

Fields& fields_scratch() {
  static thread_local Fields fields;
  fields.clear();
  return fields;
}

// False: malformed. The views point into `payload`.
bool decode_fields(std::string_view payload, Fields& fields) {
  Decoder in(payload);
  while (!in.at_end()) {
    const std::string_view name = in.bytes();
    const std::string_view value = in.bytes();
    if (!in.ok()) return false;
    fields.push_back({name, value, 0});
  }
  return in.ok();
}

Fields::iterator find_field(Fields& fields, std::string_view name) {
  return std::find_if(fields.begin(), fields.end(), [&](const Field& field) { return field.name == name; });
}

bool fits_inline(const Fields& fields) {
  if (fields.size() > kInlineFieldsMax) return false;
  size_t bytes = 0;
  for (const Field& field : fields) {
    if (field.name.size() > kInlineItemBytesMax || field.value.size() > kInlineItemBytesMax) return false;
    bytes += 2 + field.name.size() + field.value.size();  // items this small have lengths of one byte
  }
  return bytes <= kInlinePayloadBytesMax;
}

void put_inline(KeyAccess& key, const Fields& fields, uint64_t expire_ms) {
  std::string& value = value_scratch();
  append_meta_header(value, RowType::kInlineHash, expire_ms);
  for (const Field& field : fields) {
    put_bytes(value, field.name);
    put_bytes(value, field.value);
  }
  key.put_meta(value);
}

void put_exploded_meta(KeyAccess& key, uint64_t expire_ms, uint64_t version, uint64_t count) {
  std::string& value = value_scratch();
  append_exploded_meta(value, expire_ms, version, count);
  key.put_meta(value);
}

// Loads a key that must be a hash or absent. True: go on; else return `status`.
bool load_hash(EvalContext& ctx, KeyAccess& key, KeyState& state, EvalStatus& status) {
  if (!load_or_answer(ctx, key, state, status)) return false;
  if (state == KeyState::kFound && !key.meta().is_hash()) {
    ctx.reply.error(kWrongType);
    return false;
  }
  return true;
}

EvalStatus corrupt(EvalContext& ctx, size_t reply_start) {
  ctx.reply.rollback(reply_start);
  ctx.reply.error(kCorruptRow);
  return EvalStatus::kDone;
}

EvalStatus set_exploded(EvalContext& ctx, KeyAccess& key, Argv argv) {
  const MetaRow meta = key.meta();
  bool needs_rows = false;
  int64_t added = 0;
  for (size_t i = 2; i < argv.size(); i += 2) {
    const std::string_view row_key = key.element_key(meta.version, argv[i]);
    const RowState state = ctx.rows.get(row_key).state;
    if (state == RowState::kNeedsRows) {
      needs_rows = true;
      continue;
    }
    if (state == RowState::kAbsent) ++added;
    ctx.rows.put(row_key, argv[i + 1]);
  }
  if (needs_rows) return EvalStatus::kNeedsRows;
  if (added > 0) put_exploded_meta(key, meta.expire_ms, meta.version, meta.count + static_cast<uint64_t>(added));
  ctx.reply.integer(added);
  return EvalStatus::kDone;
}

EvalStatus delete_exploded(EvalContext& ctx, KeyAccess& key, Argv argv) {
  const MetaRow meta = key.meta();
  bool needs_rows = false;
  uint64_t removed = 0;
  for (size_t i = 2; i < argv.size(); ++i) {
    const std::string_view row_key = key.element_key(meta.version, argv[i]);
    const RowState state = ctx.rows.get(row_key).state;
    if (state == RowState::kNeedsRows) needs_rows = true;
    if (state != RowState::kFound) continue;
    ++removed;
    ctx.rows.remove(row_key);
  }
  if (needs_rows) return EvalStatus::kNeedsRows;
  if (removed >= meta.count) {
    key.drop();
  } else if (removed > 0) {
    put_exploded_meta(key, meta.expire_ms, meta.version, meta.count - removed);
  }
  ctx.reply.integer(static_cast<int64_t>(removed));
  return EvalStatus::kDone;
}

}  // namespace

EvalStatus evaluate_hset(EvalContext& ctx, Argv argv) {
  if (argv.size() % 2 != 0) {
    ctx.reply.error("ERR wrong number of arguments for 'hset' command");
    return EvalStatus::kDone;
  }
  KeyAccess key(ctx, argv[1], ctx.slot);
  KeyState state;
  EvalStatus status;
  if (!load_hash(ctx, key, state, status)) return status;
  if (state == KeyState::kFound && key.meta().type == RowType::kExplodedHash) return set_exploded(ctx, key, argv);

  Fields& fields = fields_scratch();
  uint64_t expire_ms = 0;
  if (state == KeyState::kFound) {
    expire_ms = key.meta().expire_ms;
    if (!decode_fields(key.meta().payload, fields)) return corrupt(ctx, ctx.reply.size());
  }
  int64_t added = 0;
  const bool many = argv.size() / 2 > 2 * kInlineFieldsMax;  // too many to look each up in a list
  if (!many) {
    for (size_t i = 2; i < argv.size(); i += 2) {
      const auto found = find_field(fields, argv[i]);
      if (found != fields.end()) {
        found->value = argv[i + 1];
      } else {
        fields.push_back({argv[i], argv[i + 1], 0});
        ++added;
      }
    }
  } else {
    const size_t before = fields.size();
    for (size_t i = 2; i < argv.size(); i += 2) fields.push_back({argv[i], argv[i + 1], i});
    std::sort(fields.begin(), fields.end(),
              [](const Field& a, const Field& b) { return a.name != b.name ? a.name < b.name : a.order < b.order; });
    size_t kept = 0;
    for (size_t i = 0; i < fields.size(); ++i) {  // of equal names the last one counts
      if (kept > 0 && fields[kept - 1].name == fields[i].name) {
        fields[kept - 1] = fields[i];
      } else {
        fields[kept++] = fields[i];
      }
    }
    fields.resize(kept);
    added = static_cast<int64_t>(kept - before);
  }
  if (fits_inline(fields)) {
    put_inline(key, fields, expire_ms);
  } else {
    const uint64_t version = ctx.rows.next_version();
    for (const Field& field : fields) ctx.rows.put(key.element_key(version, field.name), field.value);
    put_exploded_meta(key, expire_ms, version, fields.size());
  }
  ctx.reply.integer(added);
  return EvalStatus::kDone;
}

EvalStatus evaluate_hget(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  KeyState state;
  EvalStatus status;
  if (!load_hash(ctx, key, state, status)) return status;
  if (state == KeyState::kAbsent) {
    ctx.reply.null();
    return EvalStatus::kDone;
  }
  if (key.meta().type == RowType::kExplodedHash) {
    const RowResult row = ctx.rows.get(key.element_key(key.meta().version, argv[2]));
    if (row.state == RowState::kNeedsRows) return EvalStatus::kNeedsRows;
    if (row.state == RowState::kFound) {
      ctx.reply.bulk(row.value);
    } else {
      ctx.reply.null();
    }
    return EvalStatus::kDone;
  }
  Decoder in(key.meta().payload);
  while (!in.at_end()) {
    const std::string_view name = in.bytes();
    const std::string_view value = in.bytes();
    if (!in.ok()) return corrupt(ctx, ctx.reply.size());
    if (name == argv[2]) {
      ctx.reply.bulk(value);
      return EvalStatus::kDone;
    }
  }
  ctx.reply.null();
  return EvalStatus::kDone;
}

EvalStatus evaluate_hdel(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  KeyState state;
  EvalStatus status;
  if (!load_hash(ctx, key, state, status)) return status;
  if (state == KeyState::kAbsent) {
    ctx.reply.integer(0);
    return EvalStatus::kDone;
  }
  if (key.meta().type == RowType::kExplodedHash) return delete_exploded(ctx, key, argv);
  Fields& fields = fields_scratch();
  if (!decode_fields(key.meta().payload, fields)) return corrupt(ctx, ctx.reply.size());
  int64_t removed = 0;
  for (size_t i = 2; i < argv.size() && !fields.empty(); ++i) {
    const auto found = find_field(fields, argv[i]);
    if (found == fields.end()) continue;
    fields.erase(found);
    ++removed;
  }
  if (fields.empty()) {
    key.drop();
  } else if (removed > 0) {
    put_inline(key, fields, key.meta().expire_ms);
  }
  ctx.reply.integer(removed);
  return EvalStatus::kDone;
}

EvalStatus evaluate_hlen(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  KeyState state;
  EvalStatus status;
  if (!load_hash(ctx, key, state, status)) return status;
  uint64_t count = 0;
  if (state == KeyState::kFound && key.meta().type == RowType::kExplodedHash) {
    count = key.meta().count;
  } else if (state == KeyState::kFound) {
    Fields& fields = fields_scratch();
    if (!decode_fields(key.meta().payload, fields)) return corrupt(ctx, ctx.reply.size());
    count = fields.size();
  }
  ctx.reply.integer(static_cast<int64_t>(count));
  return EvalStatus::kDone;
}

EvalStatus evaluate_hgetall(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  KeyState state;
  EvalStatus status;
  if (!load_hash(ctx, key, state, status)) return status;
  const size_t reply_start = ctx.reply.size();
  if (state == KeyState::kAbsent) {
    ctx.reply.map(0);
    return EvalStatus::kDone;
  }
  if (key.meta().type == RowType::kInlineHash) {
    Fields& fields = fields_scratch();
    if (!decode_fields(key.meta().payload, fields)) return corrupt(ctx, reply_start);
    ctx.reply.map(fields.size());
    for (const Field& field : fields) {
      ctx.reply.bulk(field.name);
      ctx.reply.bulk(field.value);
    }
    return EvalStatus::kDone;
  }
  ctx.reply.map(key.meta().count);
  std::string prefix;
  sharding::append_element_prefix(prefix, ctx.keyspace, key.slot(), key.user_key(), key.meta().version);
  const size_t name_at = prefix.size() + 4;  // behind the hash of the field
  uint64_t seen = 0;
  bool malformed = false;
  const RowState scanned = ctx.rows.scan(prefix, [&](std::string_view row_key, std::string_view value) {
    malformed = row_key.size() < name_at;
    if (malformed) return false;
    ++seen;
    ctx.reply.bulk(row_key.substr(name_at));
    ctx.reply.bulk(value);
    return true;
  });
  if (scanned == RowState::kNeedsRows) return EvalStatus::kNeedsRows;
  if (malformed || seen != key.meta().count) return corrupt(ctx, reply_start);
  return EvalStatus::kDone;
}

}  // namespace cairn::server
