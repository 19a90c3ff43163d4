// Hashes: small ones inline in the meta row, larger ones as element rows (row_format.h).
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/codec.h"
#include "server/commands/arguments.h"
#include "server/commands/evaluators.h"
#include "server/commands/hash_elements.h"
#include "server/commands/hash_fields.h"

namespace cairn::server {
namespace {

using Field = HashField;
using Fields = std::vector<Field>;

Fields& fields_scratch() {
  static thread_local Fields fields;
  fields.clear();
  return fields;
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

void put_exploded_meta(KeyAccess& key, const MetaRow& hash) {
  std::string& value = value_scratch();
  append_exploded_meta(value, hash);
  key.put_meta(value);
}

// Goes on with the fields of an inline hash; none of an absent key.
Answered inline_fields(EvalContext& ctx, const KeyAccess& key, Fields& fields) {
  if (decode_fields(key.meta().payload, fields)) return std::nullopt;
  return fail(ctx, kCorruptRow);
}

using Value = std::optional<std::string_view>;

// Goes on with the value of a field of a loaded hash, without its text if it is long.
Answered find_value(EvalContext& ctx, KeyAccess& key, std::string_view name, std::optional<ElementValue>& value) {
  if (key.exploded()) return find_element(ctx, key, name, value);
  Decoder in(key.meta().payload);
  while (!in.at_end()) {
    const std::string_view field = in.bytes();
    const std::string_view held = in.bytes();
    if (!in.ok()) return fail(ctx, kCorruptRow);
    if (field != name) continue;
    value.emplace().whole = held;
    break;
  }
  return std::nullopt;
}

Answered find_text(EvalContext& ctx, KeyAccess& key, std::string_view name, Value& text) {
  std::optional<ElementValue> value;
  if (const Answered answered = find_value(ctx, key, name, value)) return answered;
  if (!value) return std::nullopt;
  return element_text(ctx, key.key_prefix(), key.meta().version, *value, text.emplace());
}

Answered load_value(EvalContext& ctx, KeyAccess& key, std::string_view name, Value& text) {
  if (const Answered answered = load_hash(ctx, key)) return answered;
  return find_text(ctx, key, name, text);
}

// Goes on with the number of its bytes, or none.
Answered load_size(EvalContext& ctx, KeyAccess& key, std::string_view name, std::optional<uint64_t>& size) {
  if (const Answered answered = load_hash(ctx, key)) return answered;
  std::optional<ElementValue> value;
  const Answered answered = find_value(ctx, key, name, value);
  if (value) size = value->size();
  return answered;
}

Answered count_fields(EvalContext& ctx, const KeyAccess& key, uint64_t& count) {
  count = key.meta().count;
  if (!key.found() || key.exploded()) return std::nullopt;
  Fields& fields = fields_scratch();
  const Answered answered = inline_fields(ctx, key, fields);
  count = fields.size();
  return answered;
}

// Calls `on_count(n)`, then `on_field(name, value)` for each of the n fields of a loaded hash; views last for the call.
// Kept: what was answered if a row was missing or malformed; the reply is then as it was before, but for the error.
// All may start again after some of them.
template <class OnCount, class OnField>
Answered visit_fields(EvalContext& ctx, KeyAccess& key, Values values, OnCount on_count, OnField on_field) {
  if (key.exploded()) {
    HashRows hash(key);
    return visit_elements(ctx, hash, values, on_count, on_field);
  }
  Fields& fields = fields_scratch();
  if (const Answered answered = inline_fields(ctx, key, fields)) return answered;
  on_count(fields.size());
  for (const Field& field : fields) on_field(field.name, field.value);
  return std::nullopt;
}

// ---- changes ----

// `pairs`: names and values in turns. Goes on with the number of fields that are new.
Answered set_exploded(EvalContext& ctx, KeyAccess& key, Argv pairs, int64_t& added) {
  MetaRow hash = key.meta();
  bool needs_rows = false;
  for (size_t i = 0; i < pairs.size(); i += 2) {
    std::optional<ElementValue> before;
    if (const Answered answered = find_element(ctx, key, pairs[i], before)) {
      if (answered == EvalStatus::kDone) return answered;
      needs_rows = true;
      continue;
    }
    if (!before) ++added;
    if (before) drop_chunks(ctx, key, hash, *before);
    put_element(ctx, key, hash, pairs[i], pairs[i + 1]);
  }
  if (needs_rows) return EvalStatus::kNeedsRows;
  hash.count += static_cast<uint64_t>(added);
  if (added > 0 || hash.long_values != key.meta().long_values) put_exploded_meta(key, hash);
  return std::nullopt;
}

void merge_few(Fields& fields, Argv pairs) {
  for (size_t i = 0; i < pairs.size(); i += 2) {
    const auto found = find_field(fields, pairs[i]);
    if (found != fields.end()) {
      found->value = pairs[i + 1];
    } else {
      fields.push_back({pairs[i], pairs[i + 1], 0});
    }
  }
}

// Sorts, because looking each one up in a list would take too long.
void merge_many(Fields& fields, Argv pairs) {
  for (size_t i = 0; i < pairs.size(); i += 2) fields.push_back({pairs[i], pairs[i + 1], i + 1});
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
}

// Of a loaded hash or absent key; otherwise as set_exploded().
Answered set_fields(EvalContext& ctx, KeyAccess& key, Argv pairs, int64_t& added) {
  if (key.exploded()) return set_exploded(ctx, key, pairs, added);
  Fields& fields = fields_scratch();
  if (const Answered answered = inline_fields(ctx, key, fields)) return answered;
  const size_t before = fields.size();
  if (pairs.size() / 2 <= 2 * kInlineFieldsMax) {
    merge_few(fields, pairs);
  } else {
    merge_many(fields, pairs);
  }
  added = static_cast<int64_t>(fields.size() - before);
  const uint64_t expire_ms = key.meta().expire_ms;
  if (fits_inline(fields)) {
    put_inline(key, fields, expire_ms);
    return std::nullopt;
  }
  const bool long_values =
      std::any_of(fields.begin(), fields.end(), [&](const Field& f) { return is_long_value(ctx, {}, f.value); });
  MetaRow hash = new_exploded_hash(ctx, key, expire_ms, long_values);
  for (const Field& field : fields) put_element(ctx, key, hash, field.name, field.value);
  hash.count = fields.size();
  put_exploded_meta(key, hash);
  return std::nullopt;
}

// `command` answers the number of new fields, or OK.
EvalStatus set_pairs(EvalContext& ctx, Argv argv, std::string_view command, bool count) {
  if (argv.size() % 2 != 0) {
    return fail(ctx, "ERR wrong number of arguments for '" + std::string(command) + "' command");
  }
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_hash(ctx, key)) return *answered;
  int64_t added = 0;
  if (const Answered answered = set_fields(ctx, key, argv.subspan(2), added)) return *answered;
  return count ? answer(ctx, added) : answer_ok(ctx);
}

// Of a loaded hash or absent key.
Answered set_field(EvalContext& ctx, KeyAccess& key, std::string_view name, std::string_view value) {
  const std::string_view pair[] = {name, value};
  int64_t added = 0;
  return set_fields(ctx, key, pair, added);
}

EvalStatus delete_exploded(EvalContext& ctx, KeyAccess& key, Argv names) {
  MetaRow hash = key.meta();
  bool needs_rows = false;
  uint64_t removed = 0;
  for (const std::string_view name : names) {
    std::optional<ElementValue> value;
    if (const Answered answered = find_element(ctx, key, name, value)) {
      if (answered == EvalStatus::kDone) return *answered;
      needs_rows = true;
    }
    if (!value) continue;
    ++removed;
    drop_chunks(ctx, key, hash, *value);
    ctx.rows.remove(key.element_key(hash.version, name));
  }
  if (needs_rows) return EvalStatus::kNeedsRows;
  if (removed >= hash.count) {
    key.drop();
  } else if (removed > 0) {
    hash.count -= removed;
    put_exploded_meta(key, hash);
  }
  return answer(ctx, static_cast<int64_t>(removed));
}

// ---- HGETALL, HKEYS, HVALS ----

EvalStatus list_fields(EvalContext& ctx, Argv argv, bool names, bool values) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_hash(ctx, key)) return *answered;
  const auto begin = [&](size_t count) { names&& values ? ctx.reply.map(count) : ctx.reply.array(count); };
  const auto write = [&](std::string_view name, std::string_view value) {
    if (names) ctx.reply.bulk(name);
    if (values) ctx.reply.bulk(value);
  };
  return visit_fields(ctx, key, values ? Values::kRead : Values::kSkip, begin, write).value_or(EvalStatus::kDone);
}

// ---- HRANDFIELD ----

constexpr uint64_t kPicksMax = 1u << 20;       // with repetitions
constexpr size_t kPickedBytesMax = 64u << 20;  // of the reply

// Which fields to answer, by their place in the hash and in the order of the reply.
using Picks = std::vector<uint64_t>;

Picks pick_with_repetition(RowView& rows, uint64_t fields, uint64_t count) {
  Picks picks(fields == 0 ? 0 : count);
  for (uint64_t& pick : picks) pick = rows.random() % fields;
  return picks;
}

// The first steps of a Fisher-Yates shuffle.
Picks pick_distinct(RowView& rows, uint64_t fields, uint64_t count) {
  Picks picks(fields);
  for (uint64_t i = 0; i < fields; ++i) picks[i] = i;
  if (count >= fields) return picks;
  for (uint64_t i = 0; i < count; ++i) std::swap(picks[i], picks[i + rows.random() % (fields - i)]);
  picks.resize(count);
  return picks;
}

struct Picked {
  uint64_t place = 0;
  std::string name, value;
};

// Goes on with the fields at `picks`, each once, by place.
Answered read_picks(EvalContext& ctx, KeyAccess& key, const Picks& picks, Values values, std::vector<Picked>& picked) {
  if (picks.empty()) return std::nullopt;
  Picks places = picks;
  std::sort(places.begin(), places.end());
  places.erase(std::unique(places.begin(), places.end()), places.end());
  picked.reserve(places.size());
  uint64_t place = 0;
  auto next = places.begin();
  const auto begin = [&](size_t) {
    place = 0;
    next = places.begin();
    picked.clear();
  };
  return visit_fields(ctx, key, values, begin, [&](std::string_view name, std::string_view value) {
    const bool wanted = next != places.end() && *next == place;
    if (wanted) picked.push_back({place, std::string(name), std::string(value)}), ++next;
    ++place;
  });
}

const Picked& at_place(const std::vector<Picked>& picked, uint64_t place) {
  return *std::lower_bound(picked.begin(), picked.end(), place,
                           [](const Picked& field, uint64_t wanted) { return field.place < wanted; });
}

// RESP3 pairs name and value in arrays of their own; RESP2 has one flat array.
EvalStatus write_picks(EvalContext& ctx, const Picks& picks, const std::vector<Picked>& picked, bool values) {
  RespWriter& reply = ctx.reply;
  const size_t start = reply.size();
  const bool nested = values && reply.proto() == 3;
  reply.array(picks.size() * (values && !nested ? 2 : 1));
  for (const uint64_t pick : picks) {
    const Picked& field = at_place(picked, pick);
    if (nested) reply.array(2);
    reply.bulk(field.name);
    if (values) reply.bulk(field.value);
    if (reply.size() - start <= kPickedBytesMax) continue;
    reply.rollback(start);
    return fail(ctx, "ERR value is out of range");
  }
  return EvalStatus::kDone;
}

EvalStatus random_fields(EvalContext& ctx, KeyAccess& key, int64_t count, bool values) {
  uint64_t fields = 0;
  if (const Answered answered = count_fields(ctx, key, fields)) return *answered;
  const bool repeats = count < 0;
  const uint64_t wanted = repeats ? 0 - static_cast<uint64_t>(count) : static_cast<uint64_t>(count);
  if (repeats && fields != 0 && wanted > kPicksMax) return fail(ctx, "ERR value is out of range");
  const Picks picks =
      repeats ? pick_with_repetition(ctx.rows, fields, wanted) : pick_distinct(ctx.rows, fields, wanted);
  std::vector<Picked> picked;
  if (const Answered answered = read_picks(ctx, key, picks, values ? Values::kRead : Values::kSkip, picked))
    return *answered;
  return write_picks(ctx, picks, picked, values);
}

EvalStatus random_field(EvalContext& ctx, KeyAccess& key) {
  uint64_t fields = 0;
  if (const Answered answered = count_fields(ctx, key, fields)) return *answered;
  std::vector<Picked> picked;
  const Picks pick = pick_with_repetition(ctx.rows, fields, 1);
  if (const Answered answered = read_picks(ctx, key, pick, Values::kSkip, picked)) return *answered;
  return answer(ctx, picked.empty() ? Value() : Value(picked[0].name));
}

}  // namespace

EvalStatus evaluate_hset(EvalContext& ctx, Argv argv) { return set_pairs(ctx, argv, "hset", true); }
EvalStatus evaluate_hmset(EvalContext& ctx, Argv argv) { return set_pairs(ctx, argv, "hmset", false); }

EvalStatus evaluate_hsetnx(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  std::optional<uint64_t> size;
  if (const Answered answered = load_size(ctx, key, argv[2], size)) return *answered;
  if (size) return answer(ctx, 0);
  if (const Answered answered = set_field(ctx, key, argv[2], argv[3])) return *answered;
  return answer(ctx, 1);
}

EvalStatus evaluate_hincrby(EvalContext& ctx, Argv argv) {
  int64_t delta = 0, number = 0;
  if (!read_integer(ctx, argv[3], delta)) return EvalStatus::kDone;
  KeyAccess key(ctx, argv[1], ctx.slot);
  Value value;
  if (const Answered answered = load_value(ctx, key, argv[2], value)) return *answered;
  if (value && !read_integer(ctx, *value, number, "ERR hash value is not an integer")) return EvalStatus::kDone;
  if (__builtin_add_overflow(number, delta, &number)) return fail(ctx, kWouldOverflow);
  if (const Answered answered = set_field(ctx, key, argv[2], std::to_string(number))) return *answered;
  return answer(ctx, number);
}

EvalStatus evaluate_hincrbyfloat(EvalContext& ctx, Argv argv) {
  long double delta = 0, number = 0;
  if (!parse_float(argv[3], delta)) return fail(ctx, kNotAFloat);
  if (!std::isfinite(delta)) return fail(ctx, "ERR value is NaN or Infinity");
  KeyAccess key(ctx, argv[1], ctx.slot);
  Value value;
  if (const Answered answered = load_value(ctx, key, argv[2], value)) return *answered;
  if (value && !parse_float(*value, number)) return fail(ctx, "ERR hash value is not a float");
  number += delta;
  if (!std::isfinite(number)) return fail(ctx, kWouldBeInfinite);
  const std::string text = format_float(number);
  if (const Answered answered = set_field(ctx, key, argv[2], text)) return *answered;
  return answer(ctx, std::string_view(text));
}

EvalStatus evaluate_hget(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  Value value;
  if (const Answered answered = load_value(ctx, key, argv[2], value)) return *answered;
  return answer(ctx, value);
}

EvalStatus evaluate_hexists(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  std::optional<uint64_t> size;
  if (const Answered answered = load_size(ctx, key, argv[2], size)) return *answered;
  return answer(ctx, size ? 1 : 0);
}

EvalStatus evaluate_hstrlen(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  std::optional<uint64_t> size;
  if (const Answered answered = load_size(ctx, key, argv[2], size)) return *answered;
  return answer(ctx, static_cast<int64_t>(size.value_or(0)));
}

EvalStatus evaluate_hmget(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_hash(ctx, key)) return *answered;
  Fields& fields = fields_scratch();
  if (!key.exploded()) {
    if (const Answered answered = inline_fields(ctx, key, fields)) return *answered;
  }
  bool needs_rows = false;
  const size_t reply_start = ctx.reply.size();
  ctx.reply.array(argv.size() - 2);
  for (const std::string_view name : argv.subspan(2)) {
    Value value;
    if (key.exploded()) {
      const size_t start = ctx.reply.size();
      const Answered answered = find_text(ctx, key, name, value);
      if (answered == EvalStatus::kDone) {
        const std::string error = ctx.reply.buffer().substr(start);
        ctx.reply.rollback(reply_start);
        ctx.reply.raw(error);
        return EvalStatus::kDone;
      }
      needs_rows = answered.has_value() || needs_rows;
    } else if (const auto field = find_field(fields, name); field != fields.end()) {
      value = field->value;
    }
    answer(ctx, value);
  }
  return needs_rows ? EvalStatus::kNeedsRows : EvalStatus::kDone;
}

EvalStatus evaluate_hdel(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_hash(ctx, key)) return *answered;
  if (!key.found()) return answer(ctx, 0);
  if (key.exploded()) return delete_exploded(ctx, key, argv.subspan(2));
  Fields& fields = fields_scratch();
  if (const Answered answered = inline_fields(ctx, key, fields)) return *answered;
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
  return answer(ctx, removed);
}

EvalStatus evaluate_hlen(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_hash(ctx, key)) return *answered;
  uint64_t count = 0;
  if (const Answered answered = count_fields(ctx, key, count)) return *answered;
  return answer(ctx, static_cast<int64_t>(count));
}

EvalStatus evaluate_hgetall(EvalContext& ctx, Argv argv) { return list_fields(ctx, argv, true, true); }
EvalStatus evaluate_hkeys(EvalContext& ctx, Argv argv) { return list_fields(ctx, argv, true, false); }
EvalStatus evaluate_hvals(EvalContext& ctx, Argv argv) { return list_fields(ctx, argv, false, true); }

EvalStatus evaluate_hrandfield(EvalContext& ctx, Argv argv) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  int64_t count = 0;
  if (argv.size() > 2) {
    if (!read_integer(ctx, argv[2], count)) return EvalStatus::kDone;
    if (count < -kMax) {
      return fail(ctx, "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");
    }
    if (argv.size() > 4 || (argv.size() == 4 && !equals_ignoring_case(argv[3], "WITHVALUES"))) {
      return fail(ctx, kSyntaxError);
    }
    if (argv.size() == 4 && (count < -kMax / 2 || count > kMax / 2)) return fail(ctx, "ERR value is out of range");
  }
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_hash(ctx, key)) return *answered;
  return argv.size() > 2 ? random_fields(ctx, key, count, argv.size() == 4) : random_field(ctx, key);
}

}  // namespace cairn::server
