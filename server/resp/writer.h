// Writes RESP2 or RESP3 replies into a buffer (Redis serialization protocol specification).
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace cairn::server {

// Does not own the buffer. The same calls give the right form for the connection's protocol version.
class RespWriter {
 public:
  RespWriter(std::string& out, int proto) : out_(&out), proto_(proto) {}

  int proto() const { return proto_; }
  std::string& buffer() { return *out_; }
  size_t size() const { return out_->size(); }
  void rollback(size_t size) { out_->resize(size); }
  void raw(std::string_view bytes) { out_->append(bytes); }

  void ok() { out_->append("+OK\r\n", 5); }
  void status(std::string_view text) { line('+', text); }
  // `text` starts with the error's prefix: "ERR ...". Line breaks in it become spaces.
  void error(std::string_view text);
  void integer(int64_t value) { number(':', value); }
  void bulk(std::string_view bytes) {
    number('$', static_cast<int64_t>(bytes.size()));
    out_->append(bytes);
    out_->append("\r\n", 2);
  }
  void null() { out_->append(proto_ == 3 ? "_\r\n" : "$-1\r\n"); }
  void null_array() { out_->append(proto_ == 3 ? "_\r\n" : "*-1\r\n"); }
  void array(size_t count) { number('*', static_cast<int64_t>(count)); }
  void map(size_t pairs) { number(proto_ == 3 ? '%' : '*', static_cast<int64_t>(proto_ == 3 ? pairs : 2 * pairs)); }
  void set(size_t count) { number(proto_ == 3 ? '~' : '*', static_cast<int64_t>(count)); }
  // RESP3 verbatim text ("txt"), a bulk string in RESP2: INFO, CLIENT LIST, CLUSTER NODES.
  void verbatim(std::string_view text);

 private:
  void number(char type, int64_t value);
  void line(char type, std::string_view text) {
    out_->push_back(type);
    out_->append(text);
    out_->append("\r\n", 2);
  }
  std::string* out_;
  int proto_;
};

}  // namespace cairn::server
