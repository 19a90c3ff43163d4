// Strings as rows of bits, the most significant bit of each byte first.
#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <vector>

#include "server/commands/arguments.h"
#include "server/commands/evaluators.h"

namespace cairn::server {
namespace {

constexpr std::string_view kBadOffset = "ERR bit offset is not an integer or out of range";
constexpr std::string_view kBadBit = "ERR bit is not an integer or out of range";

uint8_t byte_at(std::string_view text, size_t at) { return static_cast<uint8_t>(text[at]); }

bool bit_at(std::string_view text, uint64_t offset) {
  const uint64_t byte = offset / 8;
  return byte < text.size() && (byte_at(text, byte) >> (7 - offset % 8) & 1) != 0;
}

void set_bit(std::string& text, uint64_t offset, bool on) {
  char& byte = text[offset / 8];
  const int mask = 1 << (7 - offset % 8);
  byte = static_cast<char>(on ? byte | mask : byte & ~mask);
}

// `unit` 0: a plain offset. Else "#3" is the third field of so many bits; Redis lets the product wrap around.
bool read_offset(EvalContext& ctx, std::string_view text, int unit, uint64_t& offset) {
  const bool in_units = unit != 0 && text.starts_with('#');
  int64_t value = 0;
  if (!read_integer(ctx, text.substr(in_units ? 1 : 0), value, kBadOffset)) return false;
  if (in_units) value = static_cast<int64_t>(static_cast<uint64_t>(value) * static_cast<uint64_t>(unit));
  if (value < 0 || static_cast<size_t>(value / 8) >= kStringBytesMax) {
    ctx.reply.error(kBadOffset);
    return false;
  }
  offset = static_cast<uint64_t>(value);
  return true;
}

int64_t count_bits(std::string_view text, int64_t first, int64_t last) {
  const auto begin = static_cast<size_t>(first / 8), end = static_cast<size_t>(last / 8) + 1;
  int64_t count = 0;
  size_t at = begin;
  for (; at + 8 <= end; at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + at, 8);
    count += std::popcount(word);
  }
  for (; at < end; ++at) count += std::popcount(byte_at(text, at));
  const unsigned before = byte_at(text, begin) >> (8 - first % 8);
  const unsigned behind = byte_at(text, end - 1) & ((1u << (7 - last % 8)) - 1);
  return count - std::popcount(before) - std::popcount(behind);
}

// The first bit in [first, last] that is like `bit`, or -1.
int64_t find_bit(std::string_view text, int64_t first, int64_t last, bool bit) {
  const uint64_t other = bit ? 0 : ~0ull;
  for (int64_t at = first; at <= last;) {
    uint64_t word = 0;
    if (at % 8 == 0 && at + 63 <= last) {
      std::memcpy(&word, text.data() + at / 8, 8);
      if (word == other) {
        at += 64;
        continue;
      }
    }
    if (bit_at(text, static_cast<uint64_t>(at)) == bit) return at;
    ++at;
  }
  return -1;
}

// False: an error was written.
bool read_unit(EvalContext& ctx, std::string_view text, bool& bits) {
  bits = equals_ignoring_case(text, "BIT");
  if (bits || equals_ignoring_case(text, "BYTE")) return true;
  ctx.reply.error(kSyntaxError);
  return false;
}

// From positions given in bytes or bits to bits of `text`.
Positions bits_within(const Positions& range, std::string_view text, bool bits) {
  const auto bytes = static_cast<int64_t>(text.size());
  if (bits) return range.within(bytes * 8);
  const Positions part = range.within(bytes);
  if (part.empty()) return {0, -1};
  return {part.start * 8, part.end * 8 + 7};
}

// ---- BITOP ----

enum class BitOp : uint8_t { kNone, kAnd, kOr, kXor, kNot };

BitOp bit_op(std::string_view name) {
  if (equals_ignoring_case(name, "AND")) return BitOp::kAnd;
  if (equals_ignoring_case(name, "OR")) return BitOp::kOr;
  if (equals_ignoring_case(name, "XOR")) return BitOp::kXor;
  return equals_ignoring_case(name, "NOT") ? BitOp::kNot : BitOp::kNone;
}

// Folds `text`, as if zero bytes followed it, into `result`.
void combine(BitOp op, std::string& result, std::string_view text) {
  const size_t common = std::min(result.size(), text.size());
  switch (op) {
    case BitOp::kAnd:
      for (size_t i = 0; i < common; ++i) result[i] = static_cast<char>(result[i] & text[i]);
      std::fill(result.begin() + static_cast<std::ptrdiff_t>(common), result.end(), '\0');
      break;
    case BitOp::kOr:
      for (size_t i = 0; i < common; ++i) result[i] = static_cast<char>(result[i] | text[i]);
      break;
    case BitOp::kXor:
      for (size_t i = 0; i < common; ++i) result[i] = static_cast<char>(result[i] ^ text[i]);
      break;
    case BitOp::kNot:
    case BitOp::kNone: break;
  }
}

// ---- BITFIELD ----

enum class Overflow : uint8_t { kWrap, kSaturate, kFail };

struct FieldOp {
  enum class Kind : uint8_t { kGet, kSet, kAdd } kind = Kind::kGet;
  Overflow overflow = Overflow::kWrap;
  bool is_signed = false;
  int bits = 0;
  uint64_t offset = 0;
  int64_t operand = 0;
};

// False: an error was written.
bool read_field_type(EvalContext& ctx, std::string_view text, FieldOp& op) {
  int64_t bits = 0;
  op.is_signed = text.starts_with('i');
  const bool valid = (op.is_signed || text.starts_with('u')) && parse_integer(until_zero(text.substr(1)), bits) &&
                     bits >= 1 && bits <= (op.is_signed ? 64 : 63);
  if (!valid) {
    ctx.reply.error("ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.");
  }
  op.bits = static_cast<int>(bits);
  return valid;
}

bool read_overflow(EvalContext& ctx, std::string_view text, Overflow& overflow) {
  if (equals_ignoring_case(text, "WRAP")) {
    overflow = Overflow::kWrap;
  } else if (equals_ignoring_case(text, "SAT")) {
    overflow = Overflow::kSaturate;
  } else if (equals_ignoring_case(text, "FAIL")) {
    overflow = Overflow::kFail;
  } else {
    ctx.reply.error("ERR Invalid OVERFLOW type specified");
    return false;
  }
  return true;
}

// False: an error was written.
bool parse_field_ops(EvalContext& ctx, Argv argv, std::vector<FieldOp>& ops) {
  Overflow overflow = Overflow::kWrap;
  for (size_t i = 2; i < argv.size(); ++i) {
    const size_t behind = argv.size() - i - 1;
    FieldOp op;
    op.overflow = overflow;
    if (equals_ignoring_case(argv[i], "OVERFLOW") && behind >= 1) {
      if (!read_overflow(ctx, argv[++i], overflow)) return false;
      continue;
    }
    if (equals_ignoring_case(argv[i], "SET") && behind >= 3) {
      op.kind = FieldOp::Kind::kSet;
    } else if (equals_ignoring_case(argv[i], "INCRBY") && behind >= 3) {
      op.kind = FieldOp::Kind::kAdd;
    } else if (!equals_ignoring_case(argv[i], "GET") || behind < 2) {
      ctx.reply.error(kSyntaxError);
      return false;
    }
    if (!read_field_type(ctx, argv[i + 1], op) || !read_offset(ctx, argv[i + 2], op.bits, op.offset)) return false;
    i += 2;
    if (op.kind != FieldOp::Kind::kGet && !read_integer(ctx, argv[++i], op.operand)) return false;
    ops.push_back(op);
  }
  return true;
}

// The bits with the sign, if there is one, spread over all 64.
uint64_t extended(const FieldOp& op, uint64_t bits) {
  const int unused = 64 - op.bits;
  if (op.is_signed) return static_cast<uint64_t>(static_cast<int64_t>(bits << unused) >> unused);
  return bits << unused >> unused;
}

uint64_t read_field(std::string_view text, const FieldOp& op) {
  uint64_t bits = 0;
  for (int i = 0; i < op.bits; ++i) bits = bits << 1 | (bit_at(text, op.offset + static_cast<uint64_t>(i)) ? 1 : 0);
  return extended(op, bits);
}

void write_field(std::string& text, const FieldOp& op, uint64_t value) {
  for (int i = 0; i < op.bits; ++i) {
    set_bit(text, op.offset + static_cast<uint64_t>(i), (value >> (op.bits - 1 - i) & 1) != 0);
  }
}

// How value + delta leaves the field: 1 above, -1 below, 0 not. As Redis decides it, differences wrap around: a value
// that is far below a signed field counts as above.
int leaves_unsigned(const FieldOp& op, uint64_t value, int64_t delta) {
  const uint64_t max = (1ull << op.bits) - 1;
  if (value > max || (delta > 0 && delta > static_cast<int64_t>(max - value))) return 1;
  return delta < 0 && delta < static_cast<int64_t>(0 - value) ? -1 : 0;
}
int leaves_signed(const FieldOp& op, int64_t value, int64_t delta) {
  const int64_t max = std::numeric_limits<int64_t>::max() >> (64 - op.bits);
  const int64_t min = -max - 1;
  const auto room_above = static_cast<int64_t>(static_cast<uint64_t>(max) - static_cast<uint64_t>(value));
  const auto room_below = static_cast<int64_t>(static_cast<uint64_t>(min) - static_cast<uint64_t>(value));
  const bool narrow = op.bits != 64;
  if (value > max || ((narrow || (value >= 0 && delta > 0)) && delta > room_above)) return 1;
  if (value < min || ((narrow || (value < 0 && delta < 0)) && delta < room_below)) return -1;
  return 0;
}

// SET is an addition to nothing. Empty: the field would be left and OVERFLOW FAIL is on.
std::optional<uint64_t> new_value(const FieldOp& op, uint64_t old) {
  const bool adds = op.kind == FieldOp::Kind::kAdd;
  const uint64_t value = adds ? old : static_cast<uint64_t>(op.operand);
  const int64_t delta = adds ? op.operand : 0;
  const int left =
      op.is_signed ? leaves_signed(op, static_cast<int64_t>(value), delta) : leaves_unsigned(op, value, delta);
  if (left != 0 && op.overflow == Overflow::kFail) return std::nullopt;
  if (left == 0 || op.overflow == Overflow::kWrap) return extended(op, value + static_cast<uint64_t>(delta));
  const uint64_t all = ~0ull >> (64 - op.bits);
  if (!op.is_signed) return left > 0 ? all : 0;
  return left > 0 ? all >> 1 : ~(all >> 1);
}

void run_field_op(RespWriter& reply, std::string& text, const FieldOp& op) {
  const uint64_t old = read_field(text, op);
  if (op.kind == FieldOp::Kind::kGet) return reply.integer(static_cast<int64_t>(old));
  const std::optional<uint64_t> value = new_value(op, old);
  if (!value) return reply.null();
  reply.integer(static_cast<int64_t>(op.kind == FieldOp::Kind::kSet ? old : *value));
  write_field(text, op, *value);
}

EvalStatus bitfield(EvalContext& ctx, Argv argv, bool may_write) {
  std::vector<FieldOp> ops;
  if (!parse_field_ops(ctx, argv, ops)) return EvalStatus::kDone;
  size_t bytes_min = 0;
  for (const FieldOp& op : ops) {
    if (op.kind == FieldOp::Kind::kGet) continue;
    bytes_min = std::max<size_t>(bytes_min, (op.offset + static_cast<uint64_t>(op.bits) - 1) / 8 + 1);
  }
  const bool writes = bytes_min != 0;
  if (writes && !may_write) return fail(ctx, "ERR BITFIELD_RO only supports the GET subcommand");
  if (bytes_min > kStringBytesMax) return fail(ctx, kBadOffset);

  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_text(ctx, key)) return *answered;
  ctx.reply.array(ops.size());
  if (!writes) {
    for (const FieldOp& op : ops) ctx.reply.integer(static_cast<int64_t>(read_field(key.meta().payload, op)));
    return EvalStatus::kDone;
  }
  std::string& text = editable_copy(key, bytes_min);
  for (const FieldOp& op : ops) run_field_op(ctx.reply, text, op);
  key.put_string(text, {}, key.meta().expire_ms);
  return EvalStatus::kDone;
}

// Of a string in chunks, and a byte that it has: one chunk is read and written. Goes on with any other.
Answered set_bit_in_chunk(EvalContext& ctx, KeyAccess& key, uint64_t offset, bool bit) {
  const size_t byte = offset / 8;
  if (byte >= key.text_size() || !key.can_put_part(byte, 1)) return std::nullopt;
  std::string_view part;
  if (const Answered answered = go_on(ctx, key.read_part(byte, 1, part))) return answered;
  const bool before = bit_at(part, offset % 8);
  if (before != bit) {
    std::string changed(part);
    set_bit(changed, offset % 8, bit);
    if (const Answered answered = go_on(ctx, key.put_part(byte, changed))) return answered;
  }
  return answer(ctx, before ? 1 : 0);
}

}  // namespace

EvalStatus evaluate_setbit(EvalContext& ctx, Argv argv) {
  uint64_t offset = 0;
  int64_t bit = 0;
  if (!read_offset(ctx, argv[2], 0, offset) || !read_integer(ctx, argv[3], bit, kBadBit)) return EvalStatus::kDone;
  if (bit != 0 && bit != 1) return fail(ctx, kBadBit);
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_string(ctx, key)) return *answered;
  if (const Answered answered = set_bit_in_chunk(ctx, key, offset, bit != 0)) return *answered;
  if (const Answered answered = go_on(ctx, key.load_text())) return *answered;
  const bool before = bit_at(key.meta().payload, offset);
  if (before == (bit != 0) && key.meta().payload.size() > offset / 8) return answer(ctx, bit);  // nothing is written
  std::string& text = editable_copy(key, offset / 8 + 1);
  set_bit(text, offset, bit != 0);
  answer(ctx, before ? 1 : 0);
  key.put_string(text, {}, key.meta().expire_ms);
  return EvalStatus::kDone;
}

EvalStatus evaluate_getbit(EvalContext& ctx, Argv argv) {
  uint64_t offset = 0;
  if (!read_offset(ctx, argv[2], 0, offset)) return EvalStatus::kDone;
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_string(ctx, key)) return *answered;
  const size_t byte = offset / 8;
  if (byte >= key.text_size()) return answer(ctx, 0);
  std::string_view part;
  if (const Answered answered = go_on(ctx, key.read_part(byte, 1, part))) return *answered;
  return answer(ctx, bit_at(part, offset % 8) ? 1 : 0);
}

EvalStatus evaluate_bitcount(EvalContext& ctx, Argv argv) {
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_text(ctx, key)) return *answered;
  if (!key.found()) return answer(ctx, 0);
  if (argv.size() == 3 || argv.size() > 5) return fail(ctx, kSyntaxError);
  Positions range{0, -1};
  bool bits = false;
  if (argv.size() > 3) {
    if (!read_integer(ctx, argv[2], range.start) || !read_integer(ctx, argv[3], range.end)) return EvalStatus::kDone;
    if (range.reversed_from_end()) return answer(ctx, 0);
    if (argv.size() == 5 && !read_unit(ctx, argv[4], bits)) return EvalStatus::kDone;
  }
  const std::string_view text = key.meta().payload;
  const Positions part = bits_within(range, text, bits);
  return answer(ctx, part.empty() ? 0 : count_bits(text, part.start, part.end));
}

EvalStatus evaluate_bitpos(EvalContext& ctx, Argv argv) {
  int64_t bit = 0;
  if (!read_integer(ctx, argv[2], bit)) return EvalStatus::kDone;
  if (bit != 0 && bit != 1) return fail(ctx, "ERR The bit argument must be 1 or 0.");
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_text(ctx, key)) return *answered;
  if (!key.found()) return answer(ctx, bit == 1 ? -1 : 0);
  if (argv.size() > 6) return fail(ctx, kSyntaxError);
  Positions range{0, -1};
  bool bits = false;
  if (argv.size() > 3 && !read_integer(ctx, argv[3], range.start)) return EvalStatus::kDone;
  if (argv.size() == 6 && !read_unit(ctx, argv[5], bits)) return EvalStatus::kDone;
  if (argv.size() > 4 && !read_integer(ctx, argv[4], range.end)) return EvalStatus::kDone;
  const std::string_view text = key.meta().payload;
  const Positions part = bits_within(range, text, bits);
  if (part.empty()) return answer(ctx, -1);
  const int64_t found = find_bit(text, part.start, part.end, bit == 1);
  // Without an end the string goes on with zeros for ever.
  if (found < 0 && bit == 0 && argv.size() < 5) return answer(ctx, part.end + 1);
  return answer(ctx, found);
}

EvalStatus evaluate_bitop(EvalContext& ctx, Argv argv) {
  const BitOp op = bit_op(argv[1]);
  if (op == BitOp::kNone) return fail(ctx, kSyntaxError);
  if (op == BitOp::kNot && argv.size() != 4) {
    return fail(ctx, "ERR BITOP NOT must be called with a single source key.");
  }
  const bool target_missing = KeyAccess(ctx, argv[2]).load() == KeyState::kNeedsRows;  // asked for with the others
  std::vector<std::string_view> texts;
  if (const Answered answered = load_strings(ctx, argv.subspan(3), texts, kWrongType)) return *answered;
  if (target_missing) return EvalStatus::kNeedsRows;

  const auto longer = [](std::string_view a, std::string_view b) { return a.size() < b.size(); };
  std::string& result = value_scratch();
  result.assign(texts[0]);
  result.resize(std::max_element(texts.begin(), texts.end(), longer)->size(), '\0');
  for (size_t i = 1; i < texts.size(); ++i) combine(op, result, texts[i]);
  if (op == BitOp::kNot) {
    for (char& byte : result) byte = static_cast<char>(~byte);
  }
  KeyAccess target(ctx, argv[2]);
  if (const Answered answered = load_key(ctx, target)) return *answered;
  if (result.empty()) {
    target.drop();
  } else {
    target.put_string(result, {}, 0);
  }
  return answer(ctx, static_cast<int64_t>(result.size()));
}

EvalStatus evaluate_bitfield(EvalContext& ctx, Argv argv) { return bitfield(ctx, argv, true); }
EvalStatus evaluate_bitfield_ro(EvalContext& ctx, Argv argv) { return bitfield(ctx, argv, false); }

}  // namespace cairn::server
