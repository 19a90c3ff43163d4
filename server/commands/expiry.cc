// EXPIRE and its relatives. Relative times become absolute milliseconds here, by the leader's clock.
#include <limits>
#include <string>

#include "server/commands/evaluators.h"
#include "server/commands/key_access.h"
#include "server/resp/number.h"

namespace cairn::server {
namespace {

constexpr int64_t kInt64Max = std::numeric_limits<int64_t>::max();
constexpr int64_t kInt64Min = std::numeric_limits<int64_t>::min();

struct Conditions {
  bool nx = false, xx = false, gt = false, lt = false;
};

// False: an error was written.
bool parse_conditions(EvalContext& ctx, Argv argv, Conditions& conditions) {
  for (size_t i = 3; i < argv.size(); ++i) {
    if (equals_ignoring_case(argv[i], "NX")) {
      conditions.nx = true;
    } else if (equals_ignoring_case(argv[i], "XX")) {
      conditions.xx = true;
    } else if (equals_ignoring_case(argv[i], "GT")) {
      conditions.gt = true;
    } else if (equals_ignoring_case(argv[i], "LT")) {
      conditions.lt = true;
    } else {
      ctx.reply.error("ERR Unsupported option " + std::string(until_zero(argv[i])));
      return false;
    }
  }
  if (conditions.nx && (conditions.xx || conditions.gt || conditions.lt)) {
    ctx.reply.error("ERR NX and XX, GT or LT options at the same time are not compatible");
    return false;
  }
  if (conditions.gt && conditions.lt) {
    ctx.reply.error("ERR GT and LT options at the same time are not compatible");
    return false;
  }
  return true;
}

EvalStatus expire(EvalContext& ctx, Argv argv, bool seconds, bool relative, std::string_view name) {
  Conditions conditions;
  if (!parse_conditions(ctx, argv, conditions)) return EvalStatus::kDone;
  int64_t when = 0;
  if (!parse_integer(argv[2], when)) {
    ctx.reply.error(kNotAnInteger);
    return EvalStatus::kDone;
  }
  const auto now = static_cast<int64_t>(ctx.rows.now_ms());
  bool valid = !seconds || (when <= kInt64Max / 1000 && when >= kInt64Min / 1000);
  if (valid && seconds) when *= 1000;
  if (valid && relative) valid = !__builtin_add_overflow(when, now, &when);
  if (!valid) {
    ctx.reply.error("ERR invalid expire time in '" + std::string(name) + "' command");
    return EvalStatus::kDone;
  }

  KeyAccess key(ctx, argv[1], ctx.slot);
  KeyState state;
  EvalStatus status;
  if (!load_or_answer(ctx, key, state, status)) return status;
  if (state == KeyState::kAbsent) {
    ctx.reply.integer(0);
    return EvalStatus::kDone;
  }
  const bool has_expiry = key.meta().expire_ms != 0;
  const auto current = static_cast<int64_t>(key.meta().expire_ms);
  const bool refused = (conditions.nx && has_expiry) || (conditions.xx && !has_expiry) ||
                       (conditions.gt && (!has_expiry || when <= current)) ||
                       (conditions.lt && has_expiry && when >= current);
  if (refused) {
    ctx.reply.integer(0);
    return EvalStatus::kDone;
  }
  if (when <= now) {
    key.drop();
  } else {
    key.set_expiry(static_cast<uint64_t>(when));
  }
  ctx.reply.integer(1);
  return EvalStatus::kDone;
}

EvalStatus time_left(EvalContext& ctx, Argv argv, bool seconds) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  KeyState state;
  EvalStatus status;
  if (!load_or_answer(ctx, key, state, status)) return status;
  if (state == KeyState::kAbsent) {
    ctx.reply.integer(-2);
  } else if (key.meta().expire_ms == 0) {
    ctx.reply.integer(-1);
  } else {
    const uint64_t left = key.meta().expire_ms - ctx.rows.now_ms();
    ctx.reply.integer(static_cast<int64_t>(seconds ? (left + 500) / 1000 : left));
  }
  return EvalStatus::kDone;
}

}  // namespace

EvalStatus evaluate_expire(EvalContext& ctx, Argv argv) { return expire(ctx, argv, true, true, "expire"); }
EvalStatus evaluate_expireat(EvalContext& ctx, Argv argv) { return expire(ctx, argv, true, false, "expireat"); }
EvalStatus evaluate_pexpire(EvalContext& ctx, Argv argv) { return expire(ctx, argv, false, true, "pexpire"); }
EvalStatus evaluate_pexpireat(EvalContext& ctx, Argv argv) { return expire(ctx, argv, false, false, "pexpireat"); }
EvalStatus evaluate_ttl(EvalContext& ctx, Argv argv) { return time_left(ctx, argv, true); }
EvalStatus evaluate_pttl(EvalContext& ctx, Argv argv) { return time_left(ctx, argv, false); }

EvalStatus evaluate_persist(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  KeyState state;
  EvalStatus status;
  if (!load_or_answer(ctx, key, state, status)) return status;
  const bool persists = state == KeyState::kFound && key.meta().expire_ms != 0;
  if (persists) key.set_expiry(0);
  ctx.reply.integer(persists ? 1 : 0);
  return EvalStatus::kDone;
}

}  // namespace cairn::server
