// The version of this tree, said in one place: INFO, /v1/version, the command line, metrics.
#pragma once

namespace cairn {

inline constexpr const char* kVersion = "0.1.0";
inline constexpr const char* kRedisVersion = "7.0.15";  // whose commands and replies clients may expect

}  // namespace cairn
