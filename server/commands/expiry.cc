// EXPIRE and its relatives. Relative times become absolute milliseconds here, by the leader's clock.
#include <limits>
#include <string>

#include "server/commands/arguments.h"
#include "server/commands/evaluators.h"

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
  if (!read_integer(ctx, argv[2], when)) return EvalStatus::kDone;
  const auto now = static_cast<int64_t>(ctx.rows.now_ms());
  bool valid = !seconds || (when <= kInt64Max / 1000 && when >= kInt64Min / 1000);
  if (valid && seconds) when *= 1000;
  if (valid && relative) valid = !__builtin_add_overflow(when, now, &when);
  if (!valid) return fail(ctx, "ERR invalid expire time in '" + std::string(name) + "' command");

  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_key(ctx, key)) return *answered;
  if (!key.found()) return answer(ctx, 0);
  const bool has_expiry = key.meta().expire_ms != 0;
  const auto current = static_cast<int64_t>(key.meta().expire_ms);
  const bool refused = (conditions.nx && has_expiry) || (conditions.xx && !has_expiry) ||
                       (conditions.gt && (!has_expiry || when <= current)) ||
                       (conditions.lt && has_expiry && when >= current);
  if (refused) return answer(ctx, 0);
  if (when <= now) {
    key.drop();
  } else {
    key.set_expiry(static_cast<uint64_t>(when));
  }
  return answer(ctx, 1);
}

// The expiry in milliseconds, relative to `since`.
EvalStatus time_of(EvalContext& ctx, Argv argv, bool seconds, uint64_t since) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_key(ctx, key)) return *answered;
  if (!key.found()) return answer(ctx, -2);
  if (key.meta().expire_ms == 0) return answer(ctx, -1);
  const uint64_t ms = key.meta().expire_ms - since;
  return answer(ctx, static_cast<int64_t>(seconds ? (ms + 500) / 1000 : ms));
}

}  // namespace

EvalStatus evaluate_expire(EvalContext& ctx, Argv argv) { return expire(ctx, argv, true, true, "expire"); }
EvalStatus evaluate_expireat(EvalContext& ctx, Argv argv) { return expire(ctx, argv, true, false, "expireat"); }
EvalStatus evaluate_pexpire(EvalContext& ctx, Argv argv) { return expire(ctx, argv, false, true, "pexpire"); }
EvalStatus evaluate_pexpireat(EvalContext& ctx, Argv argv) { return expire(ctx, argv, false, false, "pexpireat"); }
EvalStatus evaluate_ttl(EvalContext& ctx, Argv argv) { return time_of(ctx, argv, true, ctx.rows.now_ms()); }
EvalStatus evaluate_pttl(EvalContext& ctx, Argv argv) { return time_of(ctx, argv, false, ctx.rows.now_ms()); }
EvalStatus evaluate_expiretime(EvalContext& ctx, Argv argv) { return time_of(ctx, argv, true, 0); }
EvalStatus evaluate_pexpiretime(EvalContext& ctx, Argv argv) { return time_of(ctx, argv, false, 0); }

EvalStatus evaluate_persist(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_key(ctx, key)) return *answered;
  if (key.meta().expire_ms == 0) return answer(ctx, 0);
  key.set_expiry(0);
  return answer(ctx, 1);
}

}  // namespace cairn::server
