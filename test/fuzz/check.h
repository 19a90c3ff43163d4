// What fuzz targets assert.
#pragma once

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace cairn::fuzz {

// Ends the process, which saves the input, with a line that begins with the target's name.
inline void check(bool good, std::string_view what) {
  if (good) return;
  std::fprintf(stderr, "%s: %.*s\n", program_invocation_short_name, static_cast<int>(what.size()), what.data());
  std::abort();
}

}  // namespace cairn::fuzz
