// The one way to fail: Result<T>. Absence of a value is not a failure; it is part of T.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace cairn {

enum class ErrorCode : uint8_t {
  kCorruption = 1,   // stored or received bytes fail their checks
  kIoError,          // the device or kernel said no; never retried for syncs
  kNoSpace,          // ENOSPC: writes are refused until space is back
  kInvalidArgument,  // what the caller asked for makes no sense
  kNotFound,         // a named thing (file, range) does not exist
  kAlreadyExists,    // a named thing exists and must not
  kInUse,            // address or directory held by another process
  kUnavailable,      // not now: no leader, not connected, shutting down; certainly not applied
  kOutcomeUnknown,   // may or may not have been applied
  kUnsupported,      // a version or feature this binary does not know
};

// "corruption", "io error", ...
std::string_view to_string(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::kIoError;
  std::string message;  // for people: what was attempted, on which file or peer, which value was seen

  friend bool operator==(const Error&, const Error&) = default;
};

// "io error: write of log/0/000001: Input/output error"
std::string to_string(const Error& error);

template <class T>
class [[nodiscard]] Result : public std::expected<T, Error> {
 public:
  using Base = std::expected<T, Error>;
  using Base::Base;
  Result(Base base) : Base(std::move(base)) {}                      // a function may hand on what a callee returned
  Result(Error error) : Base(std::unexpected(std::move(error))) {}  // `return Error{...};`
};

template <class T>
bool operator==(const Result<T>& a, const Result<T>& b) {
  return static_cast<const std::expected<T, Error>&>(a) == static_cast<const std::expected<T, Error>&>(b);
}

// Adds what was being done to an error on its way up.
inline Error with_context(Error error, std::string_view context) {
  error.message = std::string(context) + ": " + error.message;
  return error;
}

}  // namespace cairn

#define CAIRN_CONCAT_INNER(a, b) a##b
#define CAIRN_CONCAT(a, b) CAIRN_CONCAT_INNER(a, b)
// CAIRN_TRY(auto x, expression): x becomes the value, or the function returns the error. Not for coroutines.
#define CAIRN_TRY_INNER(tmp, declaration, expression)      \
  auto tmp = (expression);                                 \
  if (!tmp) return ::cairn::Error(std::move(tmp).error()); \
  declaration = std::move(*tmp)
#define CAIRN_TRY(declaration, expression) CAIRN_TRY_INNER(CAIRN_CONCAT(cairn_try_, __LINE__), declaration, expression)
#define CAIRN_TRY_VOID(expression)                                                                                  \
  do {                                                                                                              \
    if (auto cairn_try_tmp = (expression); !cairn_try_tmp) return ::cairn::Error(std::move(cairn_try_tmp).error()); \
  } while (0)
