// One user key during one evaluation: its meta row, judged by the leader's time. Shared by all evaluators.
#pragma once

#include <string>
#include <string_view>

#include "server/commands/command.h"
#include "server/commands/row_format.h"

namespace cairn::server {

inline constexpr std::string_view kWrongType = "WRONGTYPE Operation against a key holding the wrong kind of value";
inline constexpr std::string_view kNotAnInteger = "ERR value is not an integer or out of range";
inline constexpr std::string_view kSyntaxError = "ERR syntax error";
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

  // Reads the meta row. A key that is due is deleted here, and absent.
  KeyState load();
  // The row as loaded. Requires: load() == kFound. Its payload stays valid until the evaluation ends or the
  // row is written.
  const MetaRow& meta() const { return meta_; }
  std::string_view meta_key() const { return meta_key_; }
  std::string_view user_key() const { return user_key_; }
  uint16_t slot() const { return slot_; }

  // Deletes the key with all its rows. Requires: load() == kFound.
  void drop();
  // Replaces whatever the key holds by a string (`head` followed by `tail`, which may point into
  // meta().payload). Requires: load() was called, or the key has no element rows. `expire_ms` 0: never.
  void put_string(std::string_view head, std::string_view tail, uint64_t expire_ms);
  // Writes the meta row. `value` must not point into the scratch of this class.
  void put_meta(std::string_view value) { ctx_.rows.put(meta_key_, value); }
  // Writes the meta row with another expiry and the same payload. Requires: load() == kFound.
  void set_expiry(uint64_t expire_ms);
  // Deletes a key that was not loaded and has no element rows.
  void remove_meta() { ctx_.rows.remove(meta_key_); }

  // Row key of one field. Valid until the next call.
  std::string_view element_key(uint64_t version, std::string_view field);

 private:
  void drop_elements();

  EvalContext& ctx_;
  std::string_view user_key_;
  uint16_t slot_;
  bool found_ = false;
  std::string& meta_key_;
  MetaRow meta_;
};

// For a value that an evaluator is putting together: cleared, memory kept. Valid until the next call on this
// thread.
std::string& value_scratch();

// Loads the key, or answers for it. Returns true if the evaluator goes on (found or absent); else it returns
// `status`.
inline bool load_or_answer(EvalContext& ctx, KeyAccess& key, KeyState& state, EvalStatus& status) {
  state = key.load();
  status = EvalStatus::kDone;
  if (state == KeyState::kNeedsRows) status = EvalStatus::kNeedsRows;
  if (state == KeyState::kCorrupt) ctx.reply.error(kCorruptRow);
  return state == KeyState::kFound || state == KeyState::kAbsent;
}

// As C's "%s" prints it: up to the first zero byte. Redis' error texts quote arguments so.
inline std::string_view until_zero(std::string_view text) { return text.substr(0, text.find('\0')); }

}  // namespace cairn::server
