#include "server/commands/key_access.h"

#include <algorithm>

#include "base/codec.h"
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
    const KeyState state = key.load_text();
    needs_rows = needs_rows || state == KeyState::kNeedsRows;
    if (error.empty() && state == KeyState::kCorrupt) error = kCorruptRow;
    if (error.empty() && !key.meta().is_string()) error = wrong_type;
    texts.push_back(key.meta().payload);
  }
  if (needs_rows) return EvalStatus::kNeedsRows;
  if (!error.empty()) return fail(ctx, error);
  return std::nullopt;
}

KeyState read_chunks(EvalContext& ctx, std::string_view prefix, uint64_t length, std::string_view& text) {
  std::string bytes;
  bytes.reserve(length);
  const RowState scanned = ctx.rows.scan(prefix, [&](std::string_view, std::string_view chunk) {
    bytes.append(chunk);
    return bytes.size() <= length;
  });
  if (scanned == RowState::kNeedsRows) return KeyState::kNeedsRows;
  if (bytes.size() != length) return KeyState::kCorrupt;
  text = ctx.rows.keep(std::move(bytes));
  return KeyState::kFound;
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
  KeyLookups ignored;
  KeyLookups& lookups = ctx_.lookups != nullptr ? *ctx_.lookups : ignored;
  if (ctx_.asking) ++(row.state == RowState::kAbsent ? lookups.misses : lookups.hits);
  if (row.state == RowState::kAbsent) return KeyState::kAbsent;
  if (!decode_meta_row(row.value, meta_)) return KeyState::kCorrupt;
  found_ = true;
  if (meta_.expire_ms != 0 && meta_.expire_ms <= ctx_.rows.now_ms()) {
    ++lookups.expired;
    if (ctx_.asking) {
      --lookups.hits;
      ++lookups.misses;
    }
    drop();
    return KeyState::kAbsent;
  }
  return KeyState::kFound;
}

KeyState KeyAccess::load_text() {
  const KeyState state = load();
  if (!chunked()) return state;
  if (meta_.version == kChunksToCome) return KeyState::kNeedsRows;
  return read_chunks(ctx_, rows_prefix(), meta_.count, meta_.payload);
}

KeyState KeyAccess::read_part(size_t offset, size_t size, std::string_view& part) {
  if (!chunked()) {
    part = meta_.payload.substr(offset, size);
    return KeyState::kFound;
  }
  if (meta_.version == kChunksToCome) return KeyState::kNeedsRows;
  if (size == 0) return KeyState::kFound;
  const auto first = static_cast<uint32_t>(offset / meta_.chunk_bytes);
  const size_t skipped = offset - size_t{first} * meta_.chunk_bytes;
  storage::RowPage page;
  page.prefix = rows_prefix();
  page.start_after = page.prefix;
  put_big_u32(page.start_after, first);
  page.start_included = true;
  page.rows_max = (skipped + size + meta_.chunk_bytes - 1) / meta_.chunk_bytes;
  std::string text;
  text.reserve(page.rows_max * meta_.chunk_bytes);
  RowView::PageEnd end;
  const RowState scanned = ctx_.rows.page(
      page,
      [&](std::string_view, std::string_view chunk) {
        text.append(chunk);
        return text.size() < skipped + size;
      },
      end);
  if (scanned == RowState::kNeedsRows) return KeyState::kNeedsRows;
  if (text.size() < skipped + size) return KeyState::kCorrupt;
  part = ctx_.rows.keep(std::move(text)).substr(skipped, size);
  return KeyState::kFound;
}

bool KeyAccess::can_put_part(size_t offset, size_t size) const {
  return chunked() && size > 0 && offset <= meta_.count && size <= ctx_.rows.whole_bytes_max();
}

KeyState KeyAccess::put_part(size_t offset, std::string_view bytes) {
  const size_t chunk_bytes = meta_.chunk_bytes, end = offset + bytes.size(), length = std::max(meta_.count, end);
  // What stands in the first and in the last chunk before and behind the new bytes.
  const size_t start = offset / chunk_bytes * chunk_bytes;
  const size_t stop = std::min(length, (end + chunk_bytes - 1) / chunk_bytes * chunk_bytes);
  std::string_view before, behind;
  KeyState state = read_part(start, offset - start, before);
  if (state == KeyState::kFound && end < stop) state = read_part(end, stop - end, behind);
  if (state != KeyState::kFound) return state;
  std::string& chunk = cleared(scratch().own_value);
  std::string row_key(rows_prefix());
  const size_t number_at = row_key.size();
  for (size_t at = start; at < stop; at += chunk_bytes) {
    chunk.clear();
    const size_t chunk_end = std::min(at + chunk_bytes, stop);
    if (at < offset) chunk.append(before);
    const size_t from = std::max(at, offset), to = std::min(chunk_end, end);
    chunk.append(bytes.substr(from - offset, to - from));
    if (chunk_end > end) chunk.append(behind);
    row_key.resize(number_at);
    put_big_u32(row_key, static_cast<uint32_t>(at / chunk_bytes));
    ctx_.rows.put(row_key, chunk);
  }
  chunk.clear();
  append_chunked_meta(chunk, meta_.expire_ms, meta_.version, length, meta_.chunk_bytes);
  ctx_.rows.put(meta_key_, chunk);  // behind the chunks: it says that they belong to a string
  meta_.count = length;
  return KeyState::kFound;
}

std::string_view KeyAccess::rows_prefix() {
  std::string& prefix = cleared(scratch().element_key);
  if (chunked()) {
    sharding::append_chunk_prefix(prefix, key_prefix(), meta_.version);
  } else {
    sharding::append_element_prefix(prefix, ctx_.keyspace, slot_, user_key_, meta_.version);
  }
  return prefix;
}

void KeyAccess::drop_rows() {
  if (!found_ || !meta_.has_more_rows()) return;
  ctx_.rows.remove_prefix(rows_prefix());
  if (!meta_.long_values) return;
  std::string& chunks = cleared(scratch().element_key);
  sharding::append_chunk_prefix(chunks, key_prefix(), meta_.version);
  ctx_.rows.remove_prefix(chunks);
}

void KeyAccess::drop() {
  if (loaded_ && !found_) return;
  ctx_.rows.remove(meta_key_);
  drop_rows();
  found_ = false;
  meta_ = {};
}

void KeyAccess::put_string(std::string_view head, std::string_view tail, uint64_t expire_ms) {
  std::string& value = cleared(scratch().own_value);
  const size_t size = head.size() + tail.size();
  if (size > ctx_.rows.whole_bytes_max()) {
    const ChunksWritten chunks = ctx_.rows.write_chunks(key_prefix(), 0, head, tail);
    append_chunked_meta(value, expire_ms, chunks.version, size, chunks.chunk_bytes);
  } else {
    append_meta_header(value, RowType::kString, expire_ms);
    value.append(head);
    value.append(tail);
  }
  ctx_.rows.put(meta_key_, value);
  drop_rows();
}

void KeyAccess::set_expiry(uint64_t expire_ms) {
  std::string& value = cleared(scratch().own_value);
  if (chunked()) {
    append_chunked_meta(value, expire_ms, meta_.version, meta_.count, meta_.chunk_bytes);
  } else {
    append_meta_header(value, meta_.type, expire_ms, meta_.long_values);
    value.append(meta_.payload);
  }
  ctx_.rows.put(meta_key_, value);
}

std::string_view KeyAccess::element_key(uint64_t version, std::string_view field) {
  std::string& key = cleared(scratch().element_key);
  sharding::append_element_key(key, ctx_.keyspace, slot_, user_key_, version, field);
  return key;
}

}  // namespace cairn::server
