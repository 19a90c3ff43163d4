#include "server/commands/inner_commands.h"

#include <charconv>
#include <string>
#include <vector>

#include "server/commands/key_access.h"
#include "sharding/key_encoding.h"

namespace cairn::server {
namespace {

constexpr size_t kElementChunkKeyBytes = 21;  // behind the key: kind, owner, version, number
constexpr size_t kRowOverhead = 32;           // what index and bounds of a row take in a memtable, about

EvalStatus evaluate_memory_usage(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_key(ctx, key)) return *answered;
  if (!key.found()) {
    ctx.reply.null();
    return EvalStatus::kDone;
  }
  const RowResult row = ctx.rows.get(key.meta_key());
  if (row.state == RowState::kNeedsRows) return EvalStatus::kNeedsRows;
  size_t bytes = key.meta_key().size() + row.value.size() + kRowOverhead;
  if (key.chunked()) {
    const size_t chunks = (key.text_size() + key.meta().chunk_bytes - 1) / key.meta().chunk_bytes;
    bytes += key.text_size() + chunks * (key.rows_prefix().size() + 4 + kRowOverhead);
  } else if (key.exploded()) {
    const RowState state = ctx.rows.scan(key.rows_prefix(), [&](std::string_view element, std::string_view row) {
      bytes += element.size() + row.size() + kRowOverhead;
      ElementValue value;
      if (!decode_element(key.meta().type, row, value) || !value.chunked) return true;
      const size_t chunks = (value.length + value.chunk_bytes - 1) / value.chunk_bytes;
      bytes += value.length + chunks * (key.key_prefix().size() + kElementChunkKeyBytes + kRowOverhead);
      return true;
    });
    if (state == RowState::kNeedsRows) return EvalStatus::kNeedsRows;
  }
  return answer(ctx, static_cast<int64_t>(bytes));
}

EvalStatus evaluate_slot_keys(EvalContext& ctx, Argv argv) {
  const bool count = argv[1].empty();
  uint64_t most = 0;
  std::from_chars(argv[1].data(), argv[1].data() + argv[1].size(), most);
  std::vector<std::string> keys;
  int64_t found = 0;
  if (count || most > 0) {
    const RowState state =
        ctx.rows.scan(sharding::slot_bound(ctx.keyspace, ctx.slot), [&](std::string_view row, std::string_view value) {
          MetaRow meta;
          if (!sharding::is_meta_row(row) || !decode_meta_row(value, meta)) return true;
          if (meta.expire_ms != 0 && meta.expire_ms <= ctx.rows.now_ms()) return true;
          ++found;
          if (count) return true;
          if (const auto key = sharding::decode_row_key(row)) keys.push_back(key->user_key);
          return keys.size() < most;
        });
    if (state == RowState::kNeedsRows) return EvalStatus::kNeedsRows;
  }
  if (count) return answer(ctx, found);
  ctx.reply.array(keys.size());
  for (const std::string& key : keys) ctx.reply.bulk(key);
  return EvalStatus::kDone;
}

}  // namespace

const CommandSpec kMemoryUsageCommand = internal_command("\x01MEMORY", 2, kReadOnly, &evaluate_memory_usage, true);
const CommandSpec kSlotKeysCommand = internal_command("\x01SLOTKEYS", 2, kReadOnly, &evaluate_slot_keys);

}  // namespace cairn::server
