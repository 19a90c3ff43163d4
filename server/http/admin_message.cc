#include "server/http/admin_message.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "base/codec.h"

namespace cairn::server {
namespace {

constexpr std::pair<unsigned, std::string_view> kTitles[] = {
    {400, "Bad request"},         {401, "Unauthorized"},      {403, "Forbidden"},       {404, "Not found"},
    {405, "Method not allowed"},  {406, "Not acceptable"},    {408, "Request timeout"}, {409, "Conflict"},
    {412, "Precondition failed"}, {413, "Content too large"}, {414, "URI too long"},    {415, "Unsupported media type"},
    {421, "Misdirected request"}, {431, "Header too large"},  {500, "Internal error"},  {503, "Service unavailable"},
};

}  // namespace

std::string_view status_title(unsigned status) {
  for (const auto& [code, title] : kTitles) {
    if (code == status) return title;
  }
  return "Error";
}

AdminReply Problem::reply() const {
  const std::string_view title = status_title(status);
  std::string slug(title);
  std::transform(slug.begin(), slug.end(), slug.begin(),
                 [](unsigned char c) { return c == ' ' ? '-' : static_cast<char>(std::tolower(c)); });
  nlohmann::json out = {
      {"type", "urn:cairn:problem:" + slug}, {"title", title}, {"status", status}, {"detail", detail}};
  if (!hint.empty()) out["hint"] = hint;
  if (!field.empty()) out["field"] = field;
  // What a client sent may be quoted in `detail`, and need not be UTF-8.
  return {status, "application/problem+json",
          out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"};
}

bool percent_decode(std::string_view text, bool plus_is_blank, std::string& out) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (i + 2 >= text.size()) return false;
      const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return false;
      out.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    } else {
      out.push_back(text[i] == '+' && plus_is_blank ? ' ' : text[i]);
    }
  }
  return true;
}

std::string percent_encode(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '.' || c == '_' || c == '~') {
      out.push_back(c);
    } else {
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return out;
}

}  // namespace cairn::server
