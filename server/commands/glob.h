// Glob patterns as Redis knows them: * ? [abc] [^a] [a-z] and \ before a character that stands for itself.
#pragma once

#include <string_view>

namespace cairn::server {

// Takes time proportional to pattern times text at most. `ignore_case` is about ASCII letters.
bool glob_matches(std::string_view pattern, std::string_view text, bool ignore_case = false);

}  // namespace cairn::server
