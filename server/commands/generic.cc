// Commands that work on keys of every type: DEL, UNLINK, EXISTS, TYPE, and FLUSHALL's part of one range.
#include "server/commands/evaluators.h"
#include "server/commands/key_access.h"
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
    KeyAccess key(ctx, argv[i], sharding::key_slot(argv[i]));
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
  ctx.reply.integer(count);
  return EvalStatus::kDone;
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
  KeyState state;
  EvalStatus status;
  if (!load_or_answer(ctx, key, state, status)) return status;
  if (state == KeyState::kAbsent) {
    ctx.reply.status("none");
  } else {
    ctx.reply.status(key.meta().is_hash() ? "hash" : "string");
  }
  return EvalStatus::kDone;
}

EvalStatus evaluate_flush(EvalContext& ctx, Argv) {
  ctx.rows.clear_all();
  ctx.reply.ok();
  return EvalStatus::kDone;
}

}  // namespace cairn::server
