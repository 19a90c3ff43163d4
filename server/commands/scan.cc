#include "server/commands/scan.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <functional>
#include <vector>

#include "base/codec.h"
#include "server/commands/arguments.h"
#include "server/commands/evaluators.h"
#include "server/commands/glob.h"
#include "server/commands/hash_elements.h"
#include "server/commands/hash_fields.h"

namespace cairn::server {
namespace {

constexpr uint64_t kPageBytesMax = 1u << 20;   // of one evaluation, but for its last row
constexpr uint64_t kMetaBytesRead = 64;        // of a meta row: its type, expiry and numbers
constexpr uint64_t kMatchWorkMax = 4'000'000;  // bytes of pattern that a page may be held against
constexpr uint64_t kRowsExpected = 64;         // memory is taken for at once
constexpr std::string_view kEveryKey = "*";
// A SCAN that asks for more has turns of the loop of its own.
constexpr uint64_t kCountAtOnceMax = 100;
constexpr size_t kPatternAtOnceMax = 64;

// ---- walking in the order of a hash ----

// Rows under `prefix` are sorted by the big-endian number of `width` bytes behind it. Those of one number come
// together.
struct Walk {
  std::string prefix;
  size_t width = 4;
  uint64_t position = 0;  // number to begin with
  uint64_t end = 0;       // the number behind the last one
  uint64_t rows = 10;     // to look at, more or less
  uint64_t value_bytes_max = ~0ull;
  std::string (*skip)(std::string_view) = nullptr;
};

uint64_t number_of(const Walk& walk, std::string_view row_key) {
  if (row_key.size() >= walk.prefix.size() + 8) {
    return get_big_u64(row_key.data() + walk.prefix.size()) >> (64 - 8 * walk.width);
  }
  uint64_t number = 0;
  for (size_t i = 0; i < walk.width; ++i) {
    const size_t at = walk.prefix.size() + i;
    number = number << 8 | (at < row_key.size() ? static_cast<uint8_t>(row_key[at]) : 0u);
  }
  return number;
}

std::string first_row(const Walk& walk, uint64_t number) {
  std::string key = walk.prefix;
  for (size_t i = walk.width; i-- > 0;) key.push_back(static_cast<char>(number >> 8 * i));
  return key;
}

// Collects rows from the position on and moves it behind them. A page may end among the rows of one number: those are
// left for the next call, unless it began with them, which would bring them for ever. Of `found`, add() takes a row,
// mark() says that those of another number follow, and cut() drops what came since.
template <class Found>
RowState walk_rows(RowView& view, Walk& walk, Found& found) {
  if (walk.position >= walk.end) return RowState::kFound;
  storage::RowPage page;
  page.prefix = walk.prefix;
  page.start_after = first_row(walk, walk.position);
  page.start_included = true;  // the row of an empty field has no more than this
  page.rows_max = walk.rows + 1;
  page.bytes_max = kPageBytesMax;
  page.value_bytes_max = walk.value_bytes_max;
  page.skip = walk.skip;
  uint64_t last = ~0ull;  // number
  const auto take = [&](std::string_view key, std::string_view value) {
    if (const uint64_t number = number_of(walk, key); number != last) {
      last = number;
      found.mark();
    }
    found.add(key, value);
    return true;
  };
  for (;;) {
    RowView::PageEnd end;
    const RowState state = view.page(page, std::ref(take), end);
    if (state != RowState::kFound) return state;
    if (end.complete) {
      walk.position = walk.end;
      return state;
    }
    const uint64_t reached = number_of(walk, end.reached);
    if (reached > walk.position) {
      walk.position = reached;
      if (last == reached) found.cut();
      return state;
    }
    page.start_after = std::move(end.reached);
    page.start_included = false;
    page.rows_max = kScanPageKeysMax;
  }
}

bool matches(const std::optional<std::string_view>& pattern, std::string_view text) {
  return !pattern || *pattern == kEveryKey || glob_matches(*pattern, text);
}

uint64_t rows_to_look_at(const ScanOptions& options) {
  const uint64_t affordable = options.pattern ? kMatchWorkMax / (options.pattern->size() + 1) + 1 : kScanPageKeysMax;
  return std::min({options.count, affordable, kScanPageKeysMax});
}

// ---- keys ----

bool is_of_type(const MetaRow& meta, std::string_view type) {
  return equals_ignoring_case(type, meta.is_string() ? "STRING" : "HASH");
}

// True: `key` is the user key of a meta row that is to be shown. A key that is due is left to those who ask for it.
bool is_shown(EvalContext& ctx, const ScanOptions& options, std::string_view row_key, std::string_view row_value,
              std::string& key) {
  if (!sharding::user_key_of_meta_row(row_key, key)) return false;
  MetaRow meta;
  const bool known = decode_meta_row(row_value, meta);
  if (known && meta.expire_ms != 0 && meta.expire_ms <= ctx.rows.now_ms()) return false;
  if (options.type && !(known && is_of_type(meta, *options.type))) return false;
  return matches(options.pattern, key);
}

// The keys of meta rows, as they are sent.
class KeysFound {
 public:
  KeysFound(EvalContext& ctx, const ScanOptions& options)
      : ctx_(ctx), options_(options), writer_(keys_, ctx.reply.proto()) {}
  void add(std::string_view row_key, std::string_view value) {
    ++now_.rows;
    if (!is_shown(ctx_, options_, row_key, value, key_)) return;
    writer_.bulk(key_);
    ++now_.shown;
  }
  void mark() {
    marked_ = now_;
    marked_bytes_ = keys_.size();
  }
  void cut() {
    now_ = marked_;
    keys_.resize(marked_bytes_);
  }
  uint64_t rows() const { return now_.rows; }
  void write(RespWriter& reply) const {
    reply.array(now_.shown);
    reply.raw(keys_);
  }

 private:
  struct Count {
    uint64_t rows = 0;
    uint64_t shown = 0;
  };
  EvalContext& ctx_;
  const ScanOptions& options_;
  std::string keys_, key_;
  RespWriter writer_;
  Count now_, marked_;
  size_t marked_bytes_ = 0;
};

// One page, from `cursor` on, which goes to the next one; at the end of all slots it is 0.
RowState walk_keys(EvalContext& ctx, const ScanOptions& options, uint64_t& cursor, KeysFound& found) {
  Walk walk;
  sharding::append_keyspace_prefix(walk.prefix, ctx.keyspace);
  walk.width = 6;
  walk.position = cursor;
  walk.end = uint64_t{std::max(ctx.rows.slots_end(), ctx.slot + 1u)} << 32;
  walk.rows = rows_to_look_at(options);
  walk.value_bytes_max = kMetaBytesRead;
  walk.skip = &sharding::meta_row_behind;
  const RowState state = walk_rows(ctx.rows, walk, found);
  cursor = walk.position >= kScanCursorEnd ? 0 : walk.position;
  return state;
}

EvalStatus scan_range(EvalContext& ctx, Argv argv) {
  ScanOptions options;
  uint64_t cursor = 0;
  int64_t count = 0;
  if (argv.size() != 5 || !parse_scan_cursor(argv[1], cursor).empty() || !parse_integer(argv[2], count)) {
    return fail(ctx, kSyntaxError);
  }
  options.count = static_cast<uint64_t>(std::max<int64_t>(count, 1));
  options.pattern = argv[3];
  if (!argv[4].empty()) options.type = argv[4];
  KeysFound found(ctx, options);
  if (walk_keys(ctx, options, cursor, found) != RowState::kFound) return EvalStatus::kNeedsRows;
  ctx.reply.array(3);
  ctx.reply.integer(static_cast<int64_t>(found.rows()));
  ctx.reply.bulk(std::to_string(cursor));
  found.write(ctx.reply);
  return EvalStatus::kDone;
}

EvalStatus scan_at_once(EvalContext& ctx, Argv argv) {
  ScanOptions options;
  uint64_t cursor = 0;
  (void)parse_scan_cursor(argv[1], cursor);
  (void)parse_scan_options(argv.subspan(2), true, options);
  if (options.count > kCountAtOnceMax || (options.pattern && options.pattern->size() > kPatternAtOnceMax)) {
    return EvalStatus::kNeedsRows;
  }
  cursor = std::min(cursor, kScanCursorEnd - 1);
  KeysFound found(ctx, options);
  if (walk_keys(ctx, options, cursor, found) != RowState::kFound) return EvalStatus::kNeedsRows;
  if (cursor != 0 && found.rows() < options.count) return EvalStatus::kNeedsRows;  // it goes on in the next range
  ctx.reply.array(2);
  ctx.reply.bulk(std::to_string(cursor));
  found.write(ctx.reply);
  return EvalStatus::kDone;
}

// ---- fields ----

EvalStatus answer_fields(EvalContext& ctx, uint64_t cursor, const std::vector<HashField>& fields) {
  ctx.reply.array(2);
  ctx.reply.bulk(std::to_string(cursor));
  ctx.reply.array(2 * fields.size());
  for (const HashField& field : fields) {
    ctx.reply.bulk(field.name);
    ctx.reply.bulk(field.value);
  }
  return EvalStatus::kDone;
}

struct RowsFound {
  std::vector<std::pair<std::string, std::string>> rows;
  size_t marked = 0;
  void add(std::string_view key, std::string_view value) { rows.emplace_back(key, value); }
  void mark() { marked = rows.size(); }
  void cut() { rows.resize(marked); }
};

// Long values make a page too large that its rows do not: it ends before the number that goes beyond.
void shorten(Walk& walk, RowsFound& found, RowType type) {
  uint64_t bytes = 0, last = ~0ull;
  for (size_t i = 0; i < found.rows.size(); ++i) {
    const auto& [key, row] = found.rows[i];
    const uint64_t number = number_of(walk, key);
    if (bytes > kPageBytesMax && number != last) {
      walk.position = number;
      return found.rows.resize(i);
    }
    last = number;
    ElementValue value;
    if (decode_element(type, row, value)) bytes += key.size() + value.size();
  }
}

EvalStatus scan_elements(EvalContext& ctx, const KeyAccess& key, uint64_t cursor, const ScanOptions& options) {
  Walk walk;
  sharding::append_element_prefix(walk.prefix, ctx.keyspace, key.slot(), key.user_key(), key.meta().version);
  walk.position = cursor;
  walk.end = uint64_t{1} << 32;
  walk.rows = rows_to_look_at(options);
  RowsFound found;
  found.rows.reserve(std::min(walk.rows + 1, kRowsExpected));
  if (walk_rows(ctx.rows, walk, found) != RowState::kFound) return EvalStatus::kNeedsRows;
  shorten(walk, found, key.meta().type);
  std::vector<HashField> fields;
  bool needs_rows = false;
  for (const auto& [row_key, row] : found.rows) {
    const size_t name_at = walk.prefix.size() + walk.width;
    ElementValue value;
    if (row_key.size() < name_at || !decode_element(key.meta().type, row, value)) return fail(ctx, kCorruptRow);
    const std::string_view name = std::string_view(row_key).substr(name_at);
    if (!matches(options.pattern, name)) continue;
    std::string_view text;
    const Answered answered = element_text(ctx, key.key_prefix(), key.meta().version, value, text);
    if (answered == EvalStatus::kDone) return *answered;
    needs_rows = needs_rows || answered.has_value();
    fields.push_back({name, text, 0});
  }
  if (needs_rows) return EvalStatus::kNeedsRows;
  return answer_fields(ctx, walk.position >= walk.end ? 0 : walk.position, fields);
}

}  // namespace

std::string_view parse_scan_cursor(std::string_view text, uint64_t& cursor) {
  // What our own cursors are; the rest is as strtoull() has it.
  const char* behind = text.data() + text.size();
  if (const auto [at, error] = std::from_chars(text.data(), behind, cursor); at == behind && error == std::errc())
    return "";
  const std::string terminated(text);
  char* end = nullptr;
  errno = 0;
  cursor = std::strtoull(terminated.c_str(), &end, 10);
  const bool blank = !terminated.empty() && std::isspace(static_cast<unsigned char>(terminated[0]));
  return blank || *end != '\0' || errno == ERANGE ? "ERR invalid cursor" : "";
}

std::string_view parse_scan_options(Argv options, bool with_type, ScanOptions& parsed) {
  for (size_t i = 0; i < options.size(); i += 2) {
    if (i + 1 == options.size()) return kSyntaxError;
    const std::string_view value = options[i + 1];
    if (equals_ignoring_case(options[i], "COUNT")) {
      int64_t count = 0;
      if (!parse_integer(value, count)) return kNotAnInteger;
      if (count < 1) return kSyntaxError;
      parsed.count = static_cast<uint64_t>(count);
    } else if (equals_ignoring_case(options[i], "MATCH")) {
      parsed.pattern = value;
    } else if (with_type && equals_ignoring_case(options[i], "TYPE")) {
      parsed.type = value;
    } else {
      return kSyntaxError;
    }
  }
  return {};
}

std::string_view scan_error(const CommandSpec& spec, Argv argv) {
  if (spec.name != "SCAN") return {};
  uint64_t cursor = 0;
  ScanOptions options;
  const std::string_view error = parse_scan_cursor(argv[1], cursor);
  return error.empty() ? parse_scan_options(argv.subspan(2), true, options) : error;
}

EvalStatus evaluate_hscan(EvalContext& ctx, Argv argv) {
  uint64_t cursor = 0;
  if (const std::string_view error = parse_scan_cursor(argv[2], cursor); !error.empty()) return fail(ctx, error);
  KeyAccess key(ctx, argv[1], ctx.slot);
  if (const Answered answered = load_hash(ctx, key)) return *answered;
  if (!key.found()) return answer_fields(ctx, 0, {});
  ScanOptions options;
  if (const std::string_view error = parse_scan_options(argv.subspan(3), false, options); !error.empty()) {
    return fail(ctx, error);
  }
  if (key.exploded()) return scan_elements(ctx, key, cursor, options);
  // A small hash comes whole, whatever the cursor and the count, as Redis has it.
  std::vector<HashField> fields;
  if (!decode_fields(key.meta().payload, fields)) return fail(ctx, kCorruptRow);
  std::erase_if(fields, [&](const HashField& field) { return !matches(options.pattern, field.name); });
  return answer_fields(ctx, 0, fields);
}

const CommandSpec kScanRangeCommand = internal_command("\x01SCAN", 5, kReadOnly, &scan_range);
const CommandSpec kScanAtOnceCommand = internal_command("\x01SCANNOW", -2, kReadOnly, &scan_at_once);

}  // namespace cairn::server
