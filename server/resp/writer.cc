#include "server/resp/writer.h"

#include <charconv>

namespace cairn::server {

void RespWriter::error(std::string_view text) {
  out_->push_back('-');
  for (char c : text) out_->push_back(c == '\r' || c == '\n' ? ' ' : c);
  out_->append("\r\n", 2);
}

void RespWriter::number(char type, int64_t value) {
  char raw[24];
  raw[0] = type;
  char* end = std::to_chars(raw + 1, raw + sizeof raw, value).ptr;
  *end++ = '\r';
  *end++ = '\n';
  out_->append(raw, static_cast<size_t>(end - raw));
}

void RespWriter::verbatim(std::string_view text) {
  if (proto_ != 3) return bulk(text);
  number('=', static_cast<int64_t>(text.size() + 4));
  out_->append("txt:", 4);
  out_->append(text);
  out_->append("\r\n", 2);
}

}  // namespace cairn::server
