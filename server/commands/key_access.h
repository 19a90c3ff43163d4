// One user key during one evaluation: its meta row, judged by the leader's time. Shared by all evaluators.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/commands/command.h"
#include "server/commands/row_format.h"

namespace cairn::server {

inline constexpr std::string_view kWrongType = "WRONGTYPE Operation against a key holding the wrong kind of value";
inline constexpr std::string_view kNotAnInteger = "ERR value is not an integer or out of range";
inline constexpr std::string_view kStringTooLong = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
inline constexpr std::string_view kSyntaxError = "ERR syntax error";
inline constexpr std::string_view kWouldOverflow = "ERR increment or decrement would overflow";
inline constexpr std::string_view kCorruptRow = "ERR the stored row of this key is of an unknown format";

enum class KeyState : uint8_t {
  kFound,
  kAbsent,
  kNeedsRows,
  kCorrupt,  // the evaluator answers kCorruptRow and leaves the row alone
};

// Thread safety: none, but objects on different threads are independent. The scratch memory behind
// `meta_key()` belongs to the thread: one KeyAccess is alive at a time.
class KeyAccess {
 public:
  // `slot`: of `user_key`. `user_key` must outlive this.
  KeyAccess(EvalContext& ctx, std::string_view user_key, uint16_t slot);
  // For commands with several keys: in a `sharding: whole` keyspace each has a slot of its own.
  KeyAccess(EvalContext& ctx, std::string_view user_key);

  // Reads the meta row. A key that is due is deleted here, and absent. Of a string in chunks meta().payload is empty.
  KeyState load();
  // The same, and the text of a string in chunks with it.
  KeyState load_text();
  bool found() const { return found_; }
  // The row as loaded; of an absent key: an empty string without expiry. Its payload stays valid until the evaluation
  // ends or the row is written.
  const MetaRow& meta() const { return meta_; }
  bool exploded() const { return found_ && meta_.is_exploded(); }
  bool chunked() const { return found_ && meta_.type == RowType::kChunkedString; }
  // Bytes [offset, offset + size) of a loaded string, which has them. kFound or kNeedsRows, or kCorrupt.
  KeyState read_part(size_t offset, size_t size, std::string_view& part);
  // Whether put_part() does it: a string in chunks, no gap before `offset`, and no more than is written in one entry.
  bool can_put_part(size_t offset, size_t size) const;
  // Writes `bytes` at `offset` of a loaded string, where they may go beyond its end: only the chunks that change.
  // kFound, kNeedsRows or kCorrupt. Requires: can_put_part().
  KeyState put_part(size_t offset, std::string_view bytes);
  // Of a string, in chunks or not; 0: absent.
  size_t text_size() const { return chunked() ? meta_.count : meta_.payload.size(); }
  std::string_view meta_key() const { return meta_key_; }
  std::string_view user_key() const { return user_key_; }
  // What all rows of the key begin with.
  std::string_view key_prefix() const { return meta_key().substr(0, meta_key().size() - 1); }
  uint16_t slot() const { return slot_; }

  // Deletes the key with all its rows. Requires: load() was called, or the key has no element rows.
  void drop();
  // Replaces whatever the key holds by a string (`head` followed by `tail`, which may point into
  // meta().payload). Requires: as drop(). `expire_ms` 0: never. A long one is written in chunks.
  void put_string(std::string_view head, std::string_view tail, uint64_t expire_ms);
  // Writes the meta row. `value` must not point into the scratch of this class.
  void put_meta(std::string_view value) { ctx_.rows.put(meta_key_, value); }
  // Writes the meta row with another expiry and the same payload. Requires: found().
  void set_expiry(uint64_t expire_ms);

  // What the chunk rows of a string or the element rows of a hash begin with. Requires: meta().has_more_rows(). Valid
  // until the next call.
  std::string_view rows_prefix();
  // Row key of one field. Valid until the next call.
  std::string_view element_key(uint64_t version, std::string_view field);

 private:
  void drop_rows();

  EvalContext& ctx_;
  std::string_view user_key_;
  uint16_t slot_;
  bool loaded_ = false;
  bool found_ = false;
  std::string& meta_key_;
  MetaRow meta_;
};

// The text of `length` bytes whose chunk rows begin with `prefix`. kFound, kNeedsRows or kCorrupt; valid until the
// evaluation ends.
KeyState read_chunks(EvalContext& ctx, std::string_view prefix, uint64_t length, std::string_view& text);

// For a value that an evaluator is putting together: cleared, memory kept. Valid until the next call on this
// thread.
std::string& value_scratch();
// The string of a loaded key in value_scratch(), to be edited; zero bytes fill it up to `bytes_min`.
std::string& editable_copy(const KeyAccess& key, size_t bytes_min);

inline EvalStatus fail(EvalContext& ctx, std::string_view error) {
  ctx.reply.error(error);
  return EvalStatus::kDone;
}
inline EvalStatus answer(EvalContext& ctx, int64_t number) {
  ctx.reply.integer(number);
  return EvalStatus::kDone;
}
inline EvalStatus answer_ok(EvalContext& ctx) {
  ctx.reply.ok();
  return EvalStatus::kDone;
}
inline EvalStatus answer(EvalContext& ctx, const std::optional<std::string_view>& text) {
  if (text) {
    ctx.reply.bulk(*text);
  } else {
    ctx.reply.null();
  }
  return EvalStatus::kDone;
}

// With a value: the evaluator ends with it, the reply is written or rows are missing. Without: it goes on.
using Answered = std::optional<EvalStatus>;

inline Answered go_on(EvalContext& ctx, KeyState state) {
  if (state == KeyState::kNeedsRows) return EvalStatus::kNeedsRows;
  if (state == KeyState::kCorrupt) return fail(ctx, kCorruptRow);
  return std::nullopt;
}
// Goes on with a key that is found or absent.
inline Answered load_key(EvalContext& ctx, KeyAccess& key) { return go_on(ctx, key.load()); }
// Goes on with a string or an absent key, whose meta() is that of an empty string. Without the text of one in chunks.
inline Answered load_string(EvalContext& ctx, KeyAccess& key) {
  Answered answered = load_key(ctx, key);
  if (!answered && !key.meta().is_string()) answered = fail(ctx, kWrongType);
  return answered;
}
// The same, with the text.
inline Answered load_text(EvalContext& ctx, KeyAccess& key) {
  Answered answered = go_on(ctx, key.load_text());
  if (!answered && !key.meta().is_string()) answered = fail(ctx, kWrongType);
  return answered;
}
// Before a key is overwritten: goes on without reading where it certainly has no element rows.
inline Answered load_to_overwrite(EvalContext& ctx, KeyAccess& key) {
  if (!ctx.rows.may_be_exploded(key.meta_key())) return std::nullopt;
  return load_key(ctx, key);
}

// The strings of several keys, absent ones empty; all rows are asked for together. The views stay valid until their
// rows are written.
Answered load_strings(EvalContext& ctx, Argv keys, std::vector<std::string_view>& texts, std::string_view wrong_type);

// As C's "%s" prints it: up to the first zero byte. Redis' error texts quote arguments so.
inline std::string_view until_zero(std::string_view text) { return text.substr(0, text.find('\0')); }

}  // namespace cairn::server
