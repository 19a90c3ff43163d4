// Commands that work on keys of every type: DEL, UNLINK, EXISTS, TOUCH, TYPE, RENAME, COPY, and FLUSHALL's part of one
// range.
#include <optional>
#include <string>
#include <utility>

#include "server/commands/arguments.h"
#include "server/commands/evaluators.h"
#include "server/commands/hash_elements.h"
#include "sharding/slot.h"

namespace cairn::server {
namespace {

// Calls `on_found(key)` for each key that exists and answers how many there were. A row of an unknown format
// is a key that exists, but is not touched: what else belongs to it is not known.
template <class OnFound>
EvalStatus for_each_key(EvalContext& ctx, Argv argv, bool count_corrupt, OnFound on_found) {
  int64_t count = 0;
  bool needs_rows = false;
  for (size_t i = 1; i < argv.size(); ++i) {
    KeyAccess key(ctx, argv[i]);
    switch (key.load()) {
      case KeyState::kFound:
        ++count;
        on_found(key);
        break;
      case KeyState::kAbsent: break;
      case KeyState::kNeedsRows: needs_rows = true; break;
      case KeyState::kCorrupt: count += count_corrupt ? 1 : 0; break;
    }
  }
  if (needs_rows) return EvalStatus::kNeedsRows;
  return answer(ctx, count);
}

// ---- RENAME and COPY ----

// The element rows of a hash travel as one log entry.
constexpr size_t kMovedBytesMax = kStringBytesMax;
constexpr size_t kElementOverhead = 13;  // of a row key: kind, version, hash of the name

struct Pair {
  MetaRow from;  // its payload stays valid until its row is written; that of a string is all of it
  bool from_found = false;
  bool to_found = false;
};

// Goes on with two keys that are found or absent; both are asked for together.
Answered load_pair(EvalContext& ctx, Argv argv, Pair& pair) {
  Answered first, second;
  {
    KeyAccess from(ctx, argv[1]);
    first = go_on(ctx, from.load_text());
    pair.from = from.meta();
    pair.from_found = from.found();
  }
  if (first == EvalStatus::kDone) return first;
  KeyAccess to(ctx, argv[2]);
  second = load_key(ctx, to);
  pair.to_found = to.found();
  return first ? first : second;
}

// Goes on if all rows of a hash are in memory and not too many.
Answered check_elements(EvalContext& ctx, HashRows& hash) {
  size_t bytes = 0, row_bytes = hash.key_prefix.size() + kElementOverhead;
  const auto begin = [&](size_t) { bytes = 0; };
  const auto add = [&](std::string_view name, std::string_view value) {
    bytes += row_bytes + name.size() + value.size();
  };
  if (const Answered answered = visit_elements(ctx, hash, Values::kRead, begin, add)) return answered;
  if (bytes > kMovedBytesMax) return fail(ctx, "ERR the hash is too large to be renamed or copied in one step");
  return std::nullopt;
}

// Goes on with the meta row of the copy. Requires: check_elements() went on.
Answered copy_elements(EvalContext& ctx, HashRows& from, KeyAccess& to, MetaRow& copy) {
  copy = new_exploded_hash(ctx, to, from.meta.expire_ms, !from.texts.empty());
  copy.count = from.meta.count;
  return visit_elements(
      ctx, from, Values::kRead, [](size_t) {},
      [&](std::string_view name, std::string_view value) { put_element(ctx, to, copy, name, value); });
}

// Puts what argv[1] holds, expiry included, in place of what argv[2] holds.
Answered copy_key(EvalContext& ctx, Argv argv, const MetaRow& from) {
  std::optional<HashRows> hash;
  if (from.is_exploded()) {
    std::string key_prefix;
    sharding::append_key_prefix(key_prefix, ctx.keyspace, sharding::key_slot(argv[1]), argv[1]);
    if (const Answered answered = check_elements(ctx, hash.emplace(std::move(key_prefix), from))) return answered;
  }
  KeyAccess to(ctx, argv[2]);
  if (const Answered answered = load_key(ctx, to)) return answered;
  to.drop();
  if (from.is_string()) {
    to.put_string(from.payload, {}, from.expire_ms);
    return std::nullopt;
  }
  MetaRow copy;
  if (hash) {
    if (const Answered answered = copy_elements(ctx, *hash, to, copy)) return answered;
  }
  std::string& row = value_scratch();
  if (hash) {
    append_exploded_meta(row, copy);
  } else {
    append_meta_header(row, from.type, from.expire_ms);
    row += from.payload;
  }
  to.put_meta(row);
  return std::nullopt;
}

EvalStatus rename(EvalContext& ctx, Argv argv, bool only_new) {
  const auto done = [&] { return only_new ? answer(ctx, 1) : answer_ok(ctx); };
  Pair pair;
  if (const Answered answered = load_pair(ctx, argv, pair)) return *answered;
  if (!pair.from_found) return fail(ctx, "ERR no such key");
  if (only_new && pair.to_found) return answer(ctx, 0);
  if (argv[1] == argv[2]) return done();
  if (const Answered answered = copy_key(ctx, argv, pair.from)) return *answered;
  KeyAccess from(ctx, argv[1]);
  from.load();
  from.drop();
  return done();
}

// False: an error was written.
bool parse_copy_options(EvalContext& ctx, Argv argv, bool& replace) {
  for (size_t i = 3; i < argv.size(); ++i) {
    int64_t database = 0;
    if (equals_ignoring_case(argv[i], "REPLACE")) {
      replace = true;
    } else if (!equals_ignoring_case(argv[i], "DB") || i + 1 == argv.size()) {
      ctx.reply.error(kSyntaxError);
      return false;
    } else if (!read_integer(ctx, argv[++i], database)) {
      return false;
    } else if (database != static_cast<int32_t>(database)) {
      ctx.reply.error("ERR value is out of range, value must between -2147483648 and 2147483647");
      return false;
    } else if (database != 0) {
      ctx.reply.error("ERR DB index is out of range");
      return false;
    }
  }
  return true;
}

}  // namespace

EvalStatus evaluate_del(EvalContext& ctx, Argv argv) {
  return for_each_key(ctx, argv, false, [](KeyAccess& key) { key.drop(); });
}

EvalStatus evaluate_exists(EvalContext& ctx, Argv argv) {
  return for_each_key(ctx, argv, true, [](KeyAccess&) {});
}

EvalStatus evaluate_type(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_key(ctx, key)) return *answered;
  ctx.reply.status(!key.found() ? "none" : key.meta().is_hash() ? "hash" : "string");
  return EvalStatus::kDone;
}

EvalStatus evaluate_rename(EvalContext& ctx, Argv argv) { return rename(ctx, argv, false); }
EvalStatus evaluate_renamenx(EvalContext& ctx, Argv argv) { return rename(ctx, argv, true); }

EvalStatus evaluate_copy(EvalContext& ctx, Argv argv) {
  bool replace = false;
  if (!parse_copy_options(ctx, argv, replace)) return EvalStatus::kDone;
  if (argv[1] == argv[2]) return fail(ctx, "ERR source and destination objects are the same");
  Pair pair;
  if (const Answered answered = load_pair(ctx, argv, pair)) return *answered;
  if (!pair.from_found || (pair.to_found && !replace)) return answer(ctx, 0);
  if (const Answered answered = copy_key(ctx, argv, pair.from)) return *answered;
  return answer(ctx, 1);
}

EvalStatus evaluate_flush(EvalContext& ctx, Argv) {
  ctx.rows.clear_all();
  return answer_ok(ctx);
}

}  // namespace cairn::server
