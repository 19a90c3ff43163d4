// Arguments and values as Redis reads them: integers, positions in a string, floating point numbers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "server/commands/key_access.h"
#include "server/resp/number.h"

namespace cairn::server {

inline constexpr std::string_view kNotAFloat = "ERR value is not a valid float";
inline constexpr std::string_view kWouldBeInfinite = "ERR increment would produce NaN or Infinity";

// False: `error` was answered.
inline bool read_integer(EvalContext& ctx, std::string_view text, int64_t& value,
                         std::string_view error = kNotAnInteger) {
  if (parse_integer(text, value)) return true;
  ctx.reply.error(error);
  return false;
}

// First and last position of something with `total` elements; negative ones count from the end. Empty: start > end.
struct Positions {
  int64_t start = 0;
  int64_t end = 0;

  bool empty() const { return start > end; }
  // Redis looks at this before it counts from the end, and before it reads later arguments.
  bool reversed_from_end() const { return start < 0 && end < 0 && start > end; }
  Positions within(int64_t total) const {
    const auto from_end = [total](int64_t at) { return std::max<int64_t>(at < 0 ? at + total : at, 0); };
    return {from_end(start), std::min(from_end(end), total - 1)};
  }
};

// strtold() of the whole text. False: not a number, NaN, or beyond what a long double holds; infinity is a number.
bool parse_float(std::string_view text, long double& value);
// Up to 17 digits behind the point, none of them a trailing zero.
std::string format_float(long double value);

}  // namespace cairn::server
