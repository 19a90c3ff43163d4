#include "base/result.h"

namespace cairn {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::kCorruption: return "corruption";
    case ErrorCode::kIoError: return "io error";
    case ErrorCode::kNoSpace: return "no space";
    case ErrorCode::kInvalidArgument: return "invalid argument";
    case ErrorCode::kNotFound: return "not found";
    case ErrorCode::kAlreadyExists: return "already exists";
    case ErrorCode::kInUse: return "in use";
    case ErrorCode::kUnavailable: return "unavailable";
    case ErrorCode::kOutcomeUnknown: return "outcome unknown";
    case ErrorCode::kUnsupported: return "unsupported";
  }
  return "unknown";
}

std::string to_string(const Error& error) { return std::string(to_string(error.code)) + ": " + error.message; }

}  // namespace cairn
