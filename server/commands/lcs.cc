// LCS: the longest common subsequence of two strings, by the table of dynamic programming.
#include <algorithm>
#include <vector>

#include "server/commands/arguments.h"
#include "server/commands/evaluators.h"

namespace cairn::server {
namespace {

struct Options {
  bool length = false, positions = false, with_lengths = false;
  int64_t length_min = 0;
};

// False: an error was written.
bool parse_options(EvalContext& ctx, Argv argv, Options& options) {
  for (size_t i = 3; i < argv.size(); ++i) {
    if (equals_ignoring_case(argv[i], "IDX")) {
      options.positions = true;
    } else if (equals_ignoring_case(argv[i], "LEN")) {
      options.length = true;
    } else if (equals_ignoring_case(argv[i], "WITHMATCHLEN")) {
      options.with_lengths = true;
    } else if (equals_ignoring_case(argv[i], "MINMATCHLEN") && i + 1 < argv.size()) {
      if (!read_integer(ctx, argv[++i], options.length_min)) return false;
    } else {
      ctx.reply.error(kSyntaxError);
      return false;
    }
  }
  if (!options.positions || !options.length) return true;
  ctx.reply.error("ERR If you want both the length and indexes, please just use IDX.");
  return false;
}

// at(i, j): length of the longest common subsequence of the first i bytes of a and the first j bytes of b.
class Table {
 public:
  static bool fits(std::string_view a, std::string_view b) {
    return (a.size() + 1) * (b.size() + 1) * sizeof(uint32_t) <= kStringBytesMax;  // strings have at most 2^25 bytes
  }
  Table(std::string_view a, std::string_view b) : width_(b.size() + 1), cells_((a.size() + 1) * width_) {
    for (size_t i = 1; i <= a.size(); ++i) {
      for (size_t j = 1; j < width_; ++j) {
        cells_[i * width_ + j] = a[i - 1] == b[j - 1] ? at(i - 1, j - 1) + 1 : std::max(at(i - 1, j), at(i, j - 1));
      }
    }
  }
  uint32_t at(size_t i, size_t j) const { return cells_[i * width_ + j]; }
  uint32_t longest() const { return cells_.back(); }

 private:
  size_t width_;
  std::vector<uint32_t> cells_;
};

struct Match {
  size_t a = 0, b = 0, length = 0;
};

// Walks back through the table as Redis does, so that of several longest ones the same is found. Matches are
// stretches without a gap in either string, last one first.
std::vector<Match> matches_of(const Table& table, std::string_view a, std::string_view b) {
  std::vector<Match> matches;
  size_t i = a.size(), j = b.size();
  bool open = false;
  while (i > 0 && j > 0) {
    if (a[i - 1] != b[j - 1]) {
      open = false;
      (table.at(i - 1, j) > table.at(i, j - 1) ? i : j) -= 1;
      continue;
    }
    --i, --j;
    if (!open) matches.push_back({});
    matches.back() = {i, j, matches.back().length + 1};
    open = true;
  }
  return matches;
}

void write_positions(RespWriter& reply, size_t start, size_t length) {
  reply.array(2);
  reply.integer(static_cast<int64_t>(start));
  reply.integer(static_cast<int64_t>(start + length - 1));
}

void write_matches(RespWriter& reply, std::vector<Match> matches, const Options& options, uint32_t longest) {
  std::erase_if(matches, [&](const Match& match) { return static_cast<int64_t>(match.length) < options.length_min; });
  reply.map(2);
  reply.bulk("matches");
  reply.array(matches.size());
  for (const Match& match : matches) {
    reply.array(options.with_lengths ? 3 : 2);
    write_positions(reply, match.a, match.length);
    write_positions(reply, match.b, match.length);
    if (options.with_lengths) reply.integer(static_cast<int64_t>(match.length));
  }
  reply.bulk("len");
  reply.integer(longest);
}

}  // namespace

EvalStatus evaluate_lcs(EvalContext& ctx, Argv argv) {
  std::vector<std::string_view> texts;
  if (const Answered answered =
          load_strings(ctx, argv.subspan(1, 2), texts, "ERR The specified keys must contain string values")) {
    return *answered;
  }
  Options options;
  if (!parse_options(ctx, argv, options)) return EvalStatus::kDone;
  const std::string_view a = texts[0], b = texts[1];
  if (!Table::fits(a, b)) {
    return fail(ctx, "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
  }
  const Table table(a, b);
  if (options.length) return answer(ctx, table.longest());
  const std::vector<Match> matches = matches_of(table, a, b);
  if (options.positions) {
    write_matches(ctx.reply, matches, options, table.longest());
    return EvalStatus::kDone;
  }
  std::string common;
  for (auto match = matches.rbegin(); match != matches.rend(); ++match) common += a.substr(match->a, match->length);
  return answer(ctx, std::string_view(common));
}

}  // namespace cairn::server
