// Strings: SET, GET, MGET, APPEND, STRLEN and the counters.
#include <charconv>
#include <limits>

#include "server/commands/evaluators.h"
#include "server/commands/key_access.h"
#include "server/resp/number.h"
#include "sharding/slot.h"

namespace cairn::server {
namespace {

constexpr int64_t kInt64Max = std::numeric_limits<int64_t>::max();
constexpr int64_t kInt64Min = std::numeric_limits<int64_t>::min();

struct SetOptions {
  bool nx = false, xx = false, get = false, keep_ttl = false;
  enum class Expiry : uint8_t { kNone, kEx, kPx, kExAt, kPxAt } expiry = Expiry::kNone;
  std::string_view expiry_text;
};

// The rules of Redis for repeated and contradicting options: the same kind of expiry may be given again, the
// last one counts; two different kinds, or one beside KEEPTTL, are an error.
bool parse_set_options(Argv argv, SetOptions& options) {
  using Expiry = SetOptions::Expiry;
  for (size_t i = 3; i < argv.size(); ++i) {
    const std::string_view text = argv[i];
    const bool has_next = i + 1 < argv.size();
    const auto expiry = [&](Expiry kind) {
      if (options.keep_ttl || (options.expiry != Expiry::kNone && options.expiry != kind) || !has_next) return false;
      options.expiry = kind;
      options.expiry_text = argv[++i];
      return true;
    };
    if (equals_ignoring_case(text, "NX") && !options.xx) {
      options.nx = true;
    } else if (equals_ignoring_case(text, "XX") && !options.nx) {
      options.xx = true;
    } else if (equals_ignoring_case(text, "GET")) {
      options.get = true;
    } else if (equals_ignoring_case(text, "KEEPTTL") && options.expiry == Expiry::kNone) {
      options.keep_ttl = true;
    } else if (equals_ignoring_case(text, "EX")) {
      if (!expiry(Expiry::kEx)) return false;
    } else if (equals_ignoring_case(text, "PX")) {
      if (!expiry(Expiry::kPx)) return false;
    } else if (equals_ignoring_case(text, "EXAT")) {
      if (!expiry(Expiry::kExAt)) return false;
    } else if (equals_ignoring_case(text, "PXAT")) {
      if (!expiry(Expiry::kPxAt)) return false;
    } else {
      return false;
    }
  }
  return true;
}

// False: an error was written.
bool read_set_expiry(EvalContext& ctx, const SetOptions& options, uint64_t& expire_ms) {
  using Expiry = SetOptions::Expiry;
  if (options.expiry == Expiry::kNone) return true;
  int64_t ms = 0;
  if (!parse_integer(options.expiry_text, ms)) {
    ctx.reply.error(kNotAnInteger);
    return false;
  }
  const bool seconds = options.expiry == Expiry::kEx || options.expiry == Expiry::kExAt;
  const bool relative = options.expiry == Expiry::kEx || options.expiry == Expiry::kPx;
  bool valid = ms > 0 && !(seconds && ms > kInt64Max / 1000);
  if (valid && seconds) ms *= 1000;
  if (valid && relative) valid = !__builtin_add_overflow(ms, static_cast<int64_t>(ctx.rows.now_ms()), &ms);
  if (!valid) {
    ctx.reply.error("ERR invalid expire time in 'set' command");
    return false;
  }
  expire_ms = static_cast<uint64_t>(ms);
  return true;
}

bool too_long(EvalContext& ctx, size_t bytes) {
  if (bytes <= kStringBytesMax) return false;
  ctx.reply.error("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
  return true;
}

EvalStatus add(EvalContext& ctx, Argv argv, int64_t delta) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  KeyState state;
  EvalStatus status;
  if (!load_or_answer(ctx, key, state, status)) return status;
  int64_t value = 0;
  uint64_t expire_ms = 0;
  if (state == KeyState::kFound) {
    if (key.meta().type != RowType::kString) {
      ctx.reply.error(kWrongType);
      return EvalStatus::kDone;
    }
    if (!parse_integer(key.meta().payload, value)) {
      ctx.reply.error(kNotAnInteger);
      return EvalStatus::kDone;
    }
    expire_ms = key.meta().expire_ms;
  }
  if (__builtin_add_overflow(value, delta, &value)) {
    ctx.reply.error("ERR increment or decrement would overflow");
    return EvalStatus::kDone;
  }
  char digits[24];
  const char* end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  key.put_string({digits, static_cast<size_t>(end - digits)}, {}, expire_ms);
  ctx.reply.integer(value);
  return EvalStatus::kDone;
}

}  // namespace

EvalStatus evaluate_get(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  KeyState state;
  EvalStatus status;
  if (!load_or_answer(ctx, key, state, status)) return status;
  if (state == KeyState::kAbsent) {
    ctx.reply.null();
  } else if (key.meta().type != RowType::kString) {
    ctx.reply.error(kWrongType);
  } else {
    ctx.reply.bulk(key.meta().payload);
  }
  return EvalStatus::kDone;
}

EvalStatus evaluate_mget(EvalContext& ctx, Argv argv) {
  bool needs_rows = false;
  ctx.reply.array(argv.size() - 1);
  for (size_t i = 1; i < argv.size(); ++i) {
    KeyAccess key(ctx, argv[i], sharding::key_slot(argv[i]));
    const KeyState state = key.load();
    if (state == KeyState::kNeedsRows) {
      needs_rows = true;
    } else if (state == KeyState::kFound && key.meta().type == RowType::kString) {
      if (!needs_rows) ctx.reply.bulk(key.meta().payload);
    } else {
      ctx.reply.null();
    }
  }
  return needs_rows ? EvalStatus::kNeedsRows : EvalStatus::kDone;
}

EvalStatus evaluate_set(EvalContext& ctx, Argv argv) {
  SetOptions options;
  if (!parse_set_options(argv, options)) {
    ctx.reply.error(kSyntaxError);
    return EvalStatus::kDone;
  }
  uint64_t expire_ms = 0;
  if (!read_set_expiry(ctx, options, expire_ms)) return EvalStatus::kDone;
  if (too_long(ctx, argv[2].size())) return EvalStatus::kDone;

  KeyAccess key(ctx, argv[1], ctx.slot);
  KeyState state = KeyState::kAbsent;
  // Blind where nothing of the old value matters: then no row has to be in memory.
  const bool blind =
      !options.nx && !options.xx && !options.get && !options.keep_ttl && !ctx.rows.may_be_exploded(key.meta_key());
  if (!blind) {
    EvalStatus status;
    if (!load_or_answer(ctx, key, state, status)) return status;
  }
  const bool found = state == KeyState::kFound;
  if (options.get) {
    if (found && key.meta().type != RowType::kString) {
      ctx.reply.error(kWrongType);
      return EvalStatus::kDone;
    }
    if (found) {
      ctx.reply.bulk(key.meta().payload);
    } else {
      ctx.reply.null();
    }
  }
  if ((options.nx && found) || (options.xx && !found)) {
    if (!options.get) ctx.reply.null();
    return EvalStatus::kDone;
  }
  if (options.keep_ttl && found) expire_ms = key.meta().expire_ms;
  if (expire_ms != 0 && expire_ms <= ctx.rows.now_ms()) {  // set and expired in one step: only the deletion is left
    if (found) {
      key.drop();
    } else if (blind) {
      key.remove_meta();
    }
  } else {
    key.put_string(argv[2], {}, expire_ms);
  }
  if (!options.get) ctx.reply.ok();
  return EvalStatus::kDone;
}

EvalStatus evaluate_append(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  KeyState state;
  EvalStatus status;
  if (!load_or_answer(ctx, key, state, status)) return status;
  std::string_view old;
  uint64_t expire_ms = 0;
  if (state == KeyState::kFound) {
    if (key.meta().type != RowType::kString) {
      ctx.reply.error(kWrongType);
      return EvalStatus::kDone;
    }
    old = key.meta().payload;
    expire_ms = key.meta().expire_ms;
  }
  if (too_long(ctx, old.size() + argv[2].size())) return EvalStatus::kDone;
  const size_t length = old.size() + argv[2].size();
  key.put_string(old, argv[2], expire_ms);
  ctx.reply.integer(static_cast<int64_t>(length));
  return EvalStatus::kDone;
}

EvalStatus evaluate_strlen(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  KeyState state;
  EvalStatus status;
  if (!load_or_answer(ctx, key, state, status)) return status;
  if (state == KeyState::kFound && key.meta().type != RowType::kString) {
    ctx.reply.error(kWrongType);
  } else {
    ctx.reply.integer(state == KeyState::kFound ? static_cast<int64_t>(key.meta().payload.size()) : 0);
  }
  return EvalStatus::kDone;
}

EvalStatus evaluate_incr(EvalContext& ctx, Argv argv) { return add(ctx, argv, 1); }
EvalStatus evaluate_decr(EvalContext& ctx, Argv argv) { return add(ctx, argv, -1); }

EvalStatus evaluate_incrby(EvalContext& ctx, Argv argv) {
  int64_t delta = 0;
  if (!parse_integer(argv[2], delta)) {
    ctx.reply.error(kNotAnInteger);
    return EvalStatus::kDone;
  }
  return add(ctx, argv, delta);
}

EvalStatus evaluate_decrby(EvalContext& ctx, Argv argv) {
  int64_t delta = 0;
  if (!parse_integer(argv[2], delta)) {
    ctx.reply.error(kNotAnInteger);
    return EvalStatus::kDone;
  }
  if (delta == kInt64Min) {  // has no opposite
    ctx.reply.error("ERR decrement would overflow");
    return EvalStatus::kDone;
  }
  return add(ctx, argv, -delta);
}

}  // namespace cairn::server
