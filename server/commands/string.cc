// Strings: values as a whole, parts of them, and the counters.
#include <charconv>
#include <cmath>
#include <limits>

#include "server/commands/arguments.h"
#include "server/commands/evaluators.h"

namespace cairn::server {
namespace {

constexpr int64_t kInt64Max = std::numeric_limits<int64_t>::max();
constexpr int64_t kInt64Min = std::numeric_limits<int64_t>::min();

// Of SET and GETEX.
struct Options {
  bool nx = false, xx = false, get = false, keep_ttl = false, persist = false;
  enum class Expiry : uint8_t { kNone, kEx, kPx, kExAt, kPxAt } expiry = Expiry::kNone;
  std::string_view expiry_text;
};
using Expiry = Options::Expiry;

Expiry expiry_kind(std::string_view text) {
  if (equals_ignoring_case(text, "EX")) return Expiry::kEx;
  if (equals_ignoring_case(text, "PX")) return Expiry::kPx;
  if (equals_ignoring_case(text, "EXAT")) return Expiry::kExAt;
  if (equals_ignoring_case(text, "PXAT")) return Expiry::kPxAt;
  return Expiry::kNone;
}

// The rules of Redis for repeated and contradicting options: the same kind of expiry may be given again, the
// last one counts; two different kinds, or one beside KEEPTTL or PERSIST, are an error.
bool parse_options(Argv argv, bool set, Options& options) {
  for (size_t i = set ? 3 : 2; i < argv.size(); ++i) {
    const std::string_view text = argv[i];
    if (const Expiry kind = expiry_kind(text); kind != Expiry::kNone) {
      const bool another = options.expiry != Expiry::kNone && options.expiry != kind;
      if (options.keep_ttl || options.persist || another || i + 1 == argv.size()) return false;
      options.expiry = kind;
      options.expiry_text = argv[++i];
    } else if (set && equals_ignoring_case(text, "NX") && !options.xx) {
      options.nx = true;
    } else if (set && equals_ignoring_case(text, "XX") && !options.nx) {
      options.xx = true;
    } else if (set && equals_ignoring_case(text, "GET")) {
      options.get = true;
    } else if (set && equals_ignoring_case(text, "KEEPTTL") && options.expiry == Expiry::kNone) {
      options.keep_ttl = true;
    } else if (!set && equals_ignoring_case(text, "PERSIST") && options.expiry == Expiry::kNone) {
      options.persist = true;
    } else {
      return false;
    }
  }
  return true;
}

// False: an error was written.
bool read_expiry(EvalContext& ctx, const Options& options, std::string_view command, uint64_t& expire_ms) {
  if (options.expiry == Expiry::kNone) return true;
  int64_t ms = 0;
  if (!read_integer(ctx, options.expiry_text, ms)) return false;
  const bool seconds = options.expiry == Expiry::kEx || options.expiry == Expiry::kExAt;
  const bool relative = options.expiry == Expiry::kEx || options.expiry == Expiry::kPx;
  bool valid = ms > 0 && !(seconds && ms > kInt64Max / 1000);
  if (valid && seconds) ms *= 1000;
  if (valid && relative) valid = !__builtin_add_overflow(ms, static_cast<int64_t>(ctx.rows.now_ms()), &ms);
  if (!valid) {
    ctx.reply.error("ERR invalid expire time in '" + std::string(command) + "' command");
    return false;
  }
  expire_ms = static_cast<uint64_t>(ms);
  return true;
}

bool too_long(EvalContext& ctx, size_t bytes) {
  if (bytes <= kStringBytesMax) return false;
  ctx.reply.error(kStringTooLong);
  return true;
}

std::optional<std::string_view> text_of(const KeyAccess& key) {
  if (!key.found()) return std::nullopt;
  return key.meta().payload;
}

// Of a key that was loaded for it. Set and expired in one step: only the deletion is left.
void overwrite(EvalContext& ctx, KeyAccess& key, std::string_view value, uint64_t expire_ms) {
  if (expire_ms != 0 && expire_ms <= ctx.rows.now_ms()) {
    key.drop();
  } else {
    key.put_string(value, {}, expire_ms);
  }
}

EvalStatus set_with_expiry(EvalContext& ctx, Argv argv, Expiry kind, std::string_view command) {
  Options options;
  options.expiry = kind;
  options.expiry_text = argv[2];
  uint64_t expire_ms = 0;
  if (!read_expiry(ctx, options, command, expire_ms)) return EvalStatus::kDone;
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_to_overwrite(ctx, key)) return *answered;
  overwrite(ctx, key, argv[3], expire_ms);
  return answer_ok(ctx);
}

EvalStatus add(EvalContext& ctx, Argv argv, int64_t delta) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_text(ctx, key)) return *answered;
  int64_t value = 0;
  if (key.found() && !read_integer(ctx, key.meta().payload, value)) return EvalStatus::kDone;
  if (__builtin_add_overflow(value, delta, &value)) return fail(ctx, kWouldOverflow);
  char digits[24];
  const char* end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  key.put_string({digits, static_cast<size_t>(end - digits)}, {}, key.meta().expire_ms);
  return answer(ctx, value);
}

struct Seen {
  bool needs_rows = false, found = false, corrupt = false;
};
// Every second argument is a key. `blind`: those that may be overwritten unread are not looked at.
Seen look_at_pairs(EvalContext& ctx, Argv argv, bool blind) {
  Seen seen;
  for (size_t i = 1; i < argv.size(); i += 2) {
    KeyAccess key(ctx, argv[i]);
    if (blind && !ctx.rows.may_be_exploded(key.meta_key())) continue;
    const KeyState state = key.load();
    seen.needs_rows = seen.needs_rows || state == KeyState::kNeedsRows;
    seen.found = seen.found || state == KeyState::kFound;
    seen.corrupt = seen.corrupt || state == KeyState::kCorrupt;
  }
  return seen;
}

// Requires: look_at_pairs() found nothing missing or corrupt.
void put_pairs(EvalContext& ctx, Argv argv) {
  for (size_t i = 1; i < argv.size(); i += 2) {
    KeyAccess key(ctx, argv[i]);
    load_to_overwrite(ctx, key);
    key.put_string(argv[i + 1], {}, 0);
  }
}

}  // namespace

EvalStatus evaluate_get(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_text(ctx, key)) return *answered;
  return answer(ctx, text_of(key));
}

EvalStatus evaluate_mget(EvalContext& ctx, Argv argv) {
  bool needs_rows = false;
  ctx.reply.array(argv.size() - 1);
  for (size_t i = 1; i < argv.size(); ++i) {
    KeyAccess key(ctx, argv[i]);
    const KeyState state = key.load_text();
    if (state == KeyState::kNeedsRows) {
      needs_rows = true;
    } else if (state == KeyState::kFound && key.meta().is_string()) {
      if (!needs_rows) ctx.reply.bulk(key.meta().payload);
    } else {
      ctx.reply.null();
    }
  }
  return needs_rows ? EvalStatus::kNeedsRows : EvalStatus::kDone;
}

EvalStatus evaluate_getdel(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_text(ctx, key)) return *answered;
  answer(ctx, text_of(key));
  key.drop();
  return EvalStatus::kDone;
}

EvalStatus evaluate_getset(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_text(ctx, key)) return *answered;
  answer(ctx, text_of(key));
  key.put_string(argv[2], {}, 0);
  return EvalStatus::kDone;
}

EvalStatus evaluate_getex(EvalContext& ctx, Argv argv) {
  Options options;
  if (!parse_options(argv, false, options)) return fail(ctx, kSyntaxError);
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_text(ctx, key)) return *answered;
  if (!key.found()) return answer(ctx, std::nullopt);
  uint64_t expire_ms = 0;
  if (!read_expiry(ctx, options, "getex", expire_ms)) return EvalStatus::kDone;
  answer(ctx, text_of(key));
  if (expire_ms != 0 && expire_ms <= ctx.rows.now_ms()) {
    key.drop();
  } else if (expire_ms != 0 || (options.persist && key.meta().expire_ms != 0)) {
    key.set_expiry(expire_ms);
  }
  return EvalStatus::kDone;
}

EvalStatus evaluate_set(EvalContext& ctx, Argv argv) {
  Options options;
  if (!parse_options(argv, true, options)) return fail(ctx, kSyntaxError);
  uint64_t expire_ms = 0;
  if (!read_expiry(ctx, options, "set", expire_ms)) return EvalStatus::kDone;
  if (too_long(ctx, argv[2].size())) return EvalStatus::kDone;

  KeyAccess key(ctx, argv[1], ctx.slot);
  if (options.get) ctx.asking = true;  // keyspace_hits count it as they count a GET
  const bool old_matters = options.nx || options.xx || options.get || options.keep_ttl;
  if (const Answered answered = options.get   ? load_text(ctx, key)
                                : old_matters ? load_key(ctx, key)
                                              : load_to_overwrite(ctx, key)) {
    return *answered;
  }
  const bool found = key.found();
  if (options.get) {
    answer(ctx, text_of(key));
  }
  if ((options.nx && found) || (options.xx && !found)) {
    if (!options.get) ctx.reply.null();
    return EvalStatus::kDone;
  }
  overwrite(ctx, key, argv[2], options.keep_ttl ? key.meta().expire_ms : expire_ms);
  if (!options.get) ctx.reply.ok();
  return EvalStatus::kDone;
}

EvalStatus evaluate_setex(EvalContext& ctx, Argv argv) { return set_with_expiry(ctx, argv, Expiry::kEx, "setex"); }
EvalStatus evaluate_psetex(EvalContext& ctx, Argv argv) { return set_with_expiry(ctx, argv, Expiry::kPx, "psetex"); }

EvalStatus evaluate_setnx(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_key(ctx, key)) return *answered;
  if (key.found()) return answer(ctx, 0);
  key.put_string(argv[2], {}, 0);
  return answer(ctx, 1);
}

EvalStatus evaluate_mset(EvalContext& ctx, Argv argv) {
  if (argv.size() % 2 == 0) return fail(ctx, "ERR wrong number of arguments for 'mset' command");
  const Seen seen = look_at_pairs(ctx, argv, true);
  if (seen.needs_rows) return EvalStatus::kNeedsRows;
  if (seen.corrupt) return fail(ctx, kCorruptRow);
  put_pairs(ctx, argv);
  return answer_ok(ctx);
}

EvalStatus evaluate_msetnx(EvalContext& ctx, Argv argv) {
  if (argv.size() % 2 == 0) return fail(ctx, "ERR wrong number of arguments for 'msetnx' command");
  const Seen seen = look_at_pairs(ctx, argv, false);
  if (seen.needs_rows) return EvalStatus::kNeedsRows;
  if (seen.found || seen.corrupt) return answer(ctx, 0);
  put_pairs(ctx, argv);
  return answer(ctx, 1);
}

EvalStatus evaluate_append(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_string(ctx, key)) return *answered;
  const size_t length = key.text_size() + argv[2].size();
  if (too_long(ctx, length)) return EvalStatus::kDone;
  if (key.can_put_part(key.text_size(), argv[2].size())) {
    if (const Answered answered = go_on(ctx, key.put_part(key.text_size(), argv[2]))) return *answered;
    return answer(ctx, static_cast<int64_t>(length));
  }
  if (const Answered answered = go_on(ctx, key.load_text())) return *answered;
  key.put_string(key.meta().payload, argv[2], key.meta().expire_ms);
  return answer(ctx, static_cast<int64_t>(length));
}

EvalStatus evaluate_strlen(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_string(ctx, key)) return *answered;
  return answer(ctx, static_cast<int64_t>(key.text_size()));
}

EvalStatus evaluate_setrange(EvalContext& ctx, Argv argv) {
  int64_t offset = 0;
  if (!read_integer(ctx, argv[2], offset)) return EvalStatus::kDone;
  if (offset < 0) return fail(ctx, "ERR offset is out of range");
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_string(ctx, key)) return *answered;
  if (argv[3].empty()) return answer(ctx, static_cast<int64_t>(key.text_size()));
  const auto at = static_cast<size_t>(offset);
  if (too_long(ctx, at + argv[3].size())) return EvalStatus::kDone;
  if (key.can_put_part(at, argv[3].size())) {
    if (const Answered answered = go_on(ctx, key.put_part(at, argv[3]))) return *answered;
    return answer(ctx, static_cast<int64_t>(key.text_size()));
  }
  if (const Answered answered = go_on(ctx, key.load_text())) return *answered;
  std::string& value = editable_copy(key, at + argv[3].size());
  value.replace(at, argv[3].size(), argv[3]);
  key.put_string(value, {}, key.meta().expire_ms);
  return answer(ctx, static_cast<int64_t>(value.size()));
}

EvalStatus evaluate_getrange(EvalContext& ctx, Argv argv) {
  Positions range;
  if (!read_integer(ctx, argv[2], range.start) || !read_integer(ctx, argv[3], range.end)) return EvalStatus::kDone;
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_string(ctx, key)) return *answered;
  const Positions part = range.within(static_cast<int64_t>(key.text_size()));
  if (range.reversed_from_end() || part.empty()) return answer(ctx, std::string_view());
  std::string_view text;
  const KeyState state =
      key.read_part(static_cast<size_t>(part.start), static_cast<size_t>(part.end - part.start + 1), text);
  if (const Answered answered = go_on(ctx, state)) return *answered;
  return answer(ctx, text);
}

EvalStatus evaluate_incr(EvalContext& ctx, Argv argv) { return add(ctx, argv, 1); }
EvalStatus evaluate_decr(EvalContext& ctx, Argv argv) { return add(ctx, argv, -1); }

EvalStatus evaluate_incrby(EvalContext& ctx, Argv argv) {
  int64_t delta = 0;
  if (!read_integer(ctx, argv[2], delta)) return EvalStatus::kDone;
  return add(ctx, argv, delta);
}

EvalStatus evaluate_decrby(EvalContext& ctx, Argv argv) {
  int64_t delta = 0;
  if (!read_integer(ctx, argv[2], delta)) return EvalStatus::kDone;
  if (delta == kInt64Min) return fail(ctx, "ERR decrement would overflow");  // has no opposite
  return add(ctx, argv, -delta);
}

EvalStatus evaluate_incrbyfloat(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_text(ctx, key)) return *answered;
  long double value = 0, delta = 0;
  if ((key.found() && !parse_float(key.meta().payload, value)) || !parse_float(argv[2], delta)) {
    return fail(ctx, kNotAFloat);
  }
  value += delta;
  if (!std::isfinite(value)) return fail(ctx, kWouldBeInfinite);
  const std::string text = format_float(value);
  key.put_string(text, {}, key.meta().expire_ms);
  return answer(ctx, std::string_view(text));
}

}  // namespace cairn::server
