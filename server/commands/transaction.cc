#include "server/commands/transaction.h"

#include "server/commands/key_access.h"
#include "sharding/slot.h"

namespace cairn::server {
namespace {

constexpr std::string_view kMalformed = "ERR internal error: the transaction could not be read";
constexpr std::string_view kTooLarge =
    "EXECABORT Transaction discarded because its effects take more than 41943040 bytes or 500000 rows; nothing was "
    "changed";

std::string key_prefix(const EvalContext& ctx, std::string_view user_key) {
  std::string prefix;
  sharding::append_key_prefix(prefix, ctx.keyspace, sharding::key_slot(user_key), user_key);
  return prefix;
}

EvalStatus watch(EvalContext& ctx, Argv argv) {
  bool needs_rows = false;
  std::vector<uint64_t> expiries;
  for (const std::string_view user_key : argv.subspan(1)) {
    KeyAccess key(ctx, user_key);  // one that is due goes now, so that it counts as absent later
    needs_rows = key.load() == KeyState::kNeedsRows || needs_rows;
    expiries.push_back(key.meta().expire_ms);
  }
  if (needs_rows) return EvalStatus::kNeedsRows;
  ctx.reply.array(expiries.size());
  for (size_t i = 0; i < expiries.size(); ++i) {
    ctx.reply.bulk(WatchMark{ctx.rows.watch(key_prefix(ctx, argv[1 + i])), expiries[i]}.encode());
  }
  return EvalStatus::kDone;
}

// Whether a watched key was changed, or has become due, which deletes it. Goes on if the rows that this takes are
// there.
Answered find_changes(EvalContext& ctx, std::string_view watched, bool& changed) {
  std::vector<std::string_view> words;
  if (!read_words(watched, words) || words.size() % 2 != 0) return fail(ctx, kMalformed);
  bool needs_rows = false;
  for (size_t i = 0; i < words.size(); i += 2) {
    const auto mark = WatchMark::decode(words[i + 1]);
    if (!mark) return fail(ctx, kMalformed);
    const bool due = mark->expire_ms != 0 && mark->expire_ms <= ctx.rows.now_ms();
    changed = due || ctx.rows.changed_since(key_prefix(ctx, words[i]), mark->moment) || changed;
    if (due) needs_rows = KeyAccess(ctx, words[i]).load() == KeyState::kNeedsRows || needs_rows;
  }
  if (needs_rows) return EvalStatus::kNeedsRows;
  return std::nullopt;
}

EvalStatus run_command(EvalContext& ctx, std::string_view bytes) {
  std::vector<std::string_view> words;
  const CommandSpec* spec = read_words(bytes, words) && !words.empty() ? find_command(words[0]) : nullptr;
  if (spec == nullptr || spec->evaluate == nullptr || spec->first_key <= 0 ||
      static_cast<size_t>(spec->first_key) >= words.size()) {
    return fail(ctx, kMalformed);
  }
  const auto slot = sharding::key_slot(words[static_cast<size_t>(spec->first_key)]);
  EvalContext command{ctx.rows, ctx.reply, ctx.keyspace, slot, ctx.lookups, asks_for_keys(*spec)};
  return spec->evaluate(command, words);
}

EvalStatus exec(EvalContext& ctx, Argv argv) {
  bool changed = false;
  if (argv.size() < 2) return fail(ctx, kMalformed);
  if (const Answered answered = find_changes(ctx, argv[1], changed)) return *answered;
  if (changed) {
    ctx.reply.null_array();
    return EvalStatus::kDone;
  }
  const size_t start = ctx.reply.size();
  const auto before = ctx.rows.written();
  bool needs_rows = false;
  ctx.reply.array(argv.size() - 2);
  for (const std::string_view command : argv.subspan(2)) {
    // With a row missing the rest is of no use but for the rows that it asks for.
    needs_rows = run_command(ctx, command) == EvalStatus::kNeedsRows || needs_rows;
    const auto now = ctx.rows.written();
    if (now.bytes - before.bytes <= kTransactionEffectBytesMax && now.count - before.count <= kTransactionEffectsMax) {
      continue;
    }
    if (needs_rows) break;
    ctx.reply.rollback(start);
    ctx.reply.error(kTooLarge);
    return EvalStatus::kRefused;
  }
  return needs_rows ? EvalStatus::kNeedsRows : EvalStatus::kDone;
}

}  // namespace

std::string WatchMark::encode() const {
  std::string out;
  for (const uint64_t part : {moment.range, moment.term, moment.leadership, moment.number, expire_ms}) {
    put_varint(out, part);
  }
  return out;
}

std::optional<WatchMark> WatchMark::decode(std::string_view bytes) {
  Decoder in(bytes);
  WatchMark mark;
  for (uint64_t* part :
       {&mark.moment.range, &mark.moment.term, &mark.moment.leadership, &mark.moment.number, &mark.expire_ms}) {
    *part = in.varint();
  }
  if (!in.ok() || !in.at_end()) return std::nullopt;
  return mark;
}

bool is_exec(const CommandSpec& spec) { return spec.evaluate == &exec; }

const CommandSpec& exec_command(uint32_t flags) {
  if ((flags & kWrite) == 0) return kExecReadingCommand;
  return (flags & kDenyOom) == 0 ? kExecDeletingCommand : kExecCommand;
}

const CommandSpec kWatchCommand = internal_command("\x01WATCH", -2, kReadOnly, &watch, true);
const CommandSpec kExecCommand = internal_command(
    "\x01"
    "EXEC",
    -2, kWrite | kDenyOom, &exec);
const CommandSpec kExecDeletingCommand = internal_command(
    "\x01"
    "EXECDEL",
    -2, kWrite, &exec);
const CommandSpec kExecReadingCommand = internal_command(
    "\x01"
    "EXECGET",
    -2, kReadOnly, &exec);

}  // namespace cairn::server
