// Decimal integers as Redis reads them from clients and from stored values.
#pragma once

#include <charconv>
#include <cstdint>
#include <string_view>

namespace cairn::server {

// Strict: an optional minus, no plus, no blanks, no leading zeros, within int64. False: `value` is unchanged.
inline bool parse_integer(std::string_view text, int64_t& value) {
  if (text.empty() || text.size() > 20) return false;
  const bool negative = text[0] == '-';
  const char first = text.size() > (negative ? 1u : 0u) ? text[negative ? 1 : 0] : '\0';
  if (first == '0' && text.size() > 1) return false;
  if (first < '0' || first > '9') return false;
  int64_t parsed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
  if (error != std::errc() || end != text.data() + text.size()) return false;
  value = parsed;
  return true;
}

}  // namespace cairn::server
