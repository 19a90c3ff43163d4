#include "server/commands/glob.h"

#include <cstddef>
#include <utility>

namespace cairn::server {
namespace {

char fold(char c, bool ignore_case) { return ignore_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

// Matches one character against the pattern's element at `p`; moves `p` behind it.
bool element_matches(std::string_view pattern, size_t& p, char c, bool ignore_case) {
  c = fold(c, ignore_case);
  if (pattern[p] == '?') {
    ++p;
    return true;
  }
  if (pattern[p] == '\\' && p + 1 < pattern.size()) {
    p += 2;
    return fold(pattern[p - 1], ignore_case) == c;
  }
  if (pattern[p] != '[') return fold(pattern[p++], ignore_case) == c;
  ++p;
  const bool negated = p < pattern.size() && pattern[p] == '^';
  if (negated) ++p;
  bool matched = false;
  while (p < pattern.size() && pattern[p] != ']') {
    if (pattern[p] == '\\' && p + 1 < pattern.size()) {
      ++p;
      if (fold(pattern[p], ignore_case) == c) matched = true;
      ++p;
    } else if (p + 2 < pattern.size() && pattern[p + 1] == '-') {
      char low = fold(pattern[p], ignore_case);
      char high = fold(pattern[p + 2], ignore_case);
      if (low > high) std::swap(low, high);
      if (c >= low && c <= high) matched = true;
      p += 3;
    } else {
      if (fold(pattern[p], ignore_case) == c) matched = true;
      ++p;
    }
  }
  if (p < pattern.size()) ++p;  // the ]
  return matched != negated;
}

}  // namespace

bool glob_matches(std::string_view pattern, std::string_view text, bool ignore_case) {
  size_t p = 0, t = 0;
  size_t star = std::string_view::npos, star_text = 0;  // behind the last *, and what it has swallowed so far
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = ++p;
      star_text = t;
      continue;
    }
    if (p < pattern.size()) {
      size_t next = p;
      if (element_matches(pattern, next, text[t], ignore_case)) {
        p = next;
        ++t;
        continue;
      }
    }
    if (star == std::string_view::npos) return false;
    p = star;
    t = ++star_text;
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace cairn::server
