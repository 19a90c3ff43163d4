#include "server/commands/key_access.h"

#include <algorithm>

#include "sharding/slot.h"

namespace cairn::server {
namespace {
// A rare huge value does not keep its memory for ever.
constexpr size_t kScratchKept = 1024 * 1024;

struct Scratch {
  std::string meta_key;
  std::string element_key;
  std::string own_value;  // of put_string and set_expiry
  std::string value;      // of evaluators
};
Scratch& scratch() {
  static thread_local Scratch memory;
  return memory;
}
std::string& cleared(std::string& memory) {
  memory.clear();
  if (memory.capacity() > kScratchKept) memory.shrink_to_fit();
  return memory;
}
}  // namespace

std::string& value_scratch() { return cleared(scratch().value); }

std::string& editable_copy(const KeyAccess& key, size_t bytes_min) {
  std::string& value = value_scratch();
  value.reserve(std::max(bytes_min, key.meta().payload.size()));
  value.assign(key.meta().payload);
  if (value.size() < bytes_min) value.resize(bytes_min, '\0');
  return value;
}

Answered load_strings(EvalContext& ctx, Argv keys, std::vector<std::string_view>& texts, std::string_view wrong_type) {
  bool needs_rows = false;
  std::string_view error;
  for (const std::string_view user_key : keys) {
    KeyAccess key(ctx, user_key);
    const KeyState state = key.load();
    needs_rows = needs_rows || state == KeyState::kNeedsRows;
    if (error.empty() && state == KeyState::kCorrupt) error = kCorruptRow;
    if (error.empty() && key.meta().type != RowType::kString) error = wrong_type;
    texts.push_back(key.meta().payload);
  }
  if (needs_rows) return EvalStatus::kNeedsRows;
  if (!error.empty()) return fail(ctx, error);
  return std::nullopt;
}

KeyAccess::KeyAccess(EvalContext& ctx, std::string_view user_key, uint16_t slot)
    : ctx_(ctx), user_key_(user_key), slot_(slot), meta_key_(cleared(scratch().meta_key)) {
  sharding::append_meta_key(meta_key_, ctx.keyspace, slot, user_key);
}

KeyAccess::KeyAccess(EvalContext& ctx, std::string_view user_key)
    : KeyAccess(ctx, user_key, sharding::key_slot(user_key)) {}

KeyState KeyAccess::load() {
  const RowResult row = ctx_.rows.get(meta_key_);
  if (row.state == RowState::kNeedsRows) return KeyState::kNeedsRows;
  loaded_ = true;
  if (row.state == RowState::kAbsent) return KeyState::kAbsent;
  if (!decode_meta_row(row.value, meta_)) return KeyState::kCorrupt;
  found_ = true;
  if (meta_.expire_ms != 0 && meta_.expire_ms <= ctx_.rows.now_ms()) {
    drop();
    return KeyState::kAbsent;
  }
  return KeyState::kFound;
}

void KeyAccess::drop_elements() {
  if (!exploded()) return;
  std::string& prefix = cleared(scratch().element_key);
  sharding::append_element_prefix(prefix, ctx_.keyspace, slot_, user_key_, meta_.version);
  ctx_.rows.remove_prefix(prefix);
}

void KeyAccess::drop() {
  if (loaded_ && !found_) return;
  ctx_.rows.remove(meta_key_);
  drop_elements();
  found_ = false;
  meta_ = {};
}

void KeyAccess::put_string(std::string_view head, std::string_view tail, uint64_t expire_ms) {
  std::string& value = cleared(scratch().own_value);
  append_meta_header(value, RowType::kString, expire_ms);
  value.append(head);
  value.append(tail);
  ctx_.rows.put(meta_key_, value);
  drop_elements();
}

void KeyAccess::set_expiry(uint64_t expire_ms) {
  std::string& value = cleared(scratch().own_value);
  append_meta_header(value, meta_.type, expire_ms);
  value.append(meta_.payload);
  ctx_.rows.put(meta_key_, value);
}

std::string_view KeyAccess::element_key(uint64_t version, std::string_view field) {
  std::string& key = cleared(scratch().element_key);
  sharding::append_element_key(key, ctx_.keyspace, slot_, user_key_, version, field);
  return key;
}

}  // namespace cairn::server
