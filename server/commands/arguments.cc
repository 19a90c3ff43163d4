#include "server/commands/arguments.h"

#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace cairn::server {
namespace {
constexpr size_t kFloatBytesMax = 5 * 1024;  // Redis' buffer; every long double fits
}

bool parse_float(std::string_view text, long double& value) {
  if (text.empty() || text.size() >= kFloatBytesMax || std::isspace(static_cast<unsigned char>(text[0]))) return false;
  const std::string terminated(text);
  char* end = nullptr;
  errno = 0;
  const long double parsed = std::strtold(terminated.c_str(), &end);
  const bool beyond = errno == ERANGE && (std::isinf(parsed) || parsed == 0);
  if (end != terminated.c_str() + terminated.size() || beyond || std::isnan(parsed)) return false;
  value = parsed;
  return true;
}

std::string format_float(long double value) {
  char buffer[kFloatBytesMax];
  std::string text(buffer, static_cast<size_t>(std::snprintf(buffer, sizeof buffer, "%.17Lf", value)));
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

}  // namespace cairn::server
