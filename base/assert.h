// Assertions that stay on in release builds. For broken invariants of our own code only: bytes from disk, network and
// users are checked and answered with an Error instead.
#pragma once

namespace cairn {
// Prints the condition and the place on standard error, then aborts.
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line, const char* message);
}  // namespace cairn

#define CAIRN_ASSERT(condition) \
  (static_cast<bool>(condition) ? void(0) : ::cairn::assertion_failed(#condition, __FILE__, __LINE__, ""))
#define CAIRN_ASSERT_MSG(condition, message) \
  (static_cast<bool>(condition) ? void(0) : ::cairn::assertion_failed(#condition, __FILE__, __LINE__, message))
