// Little-endian and big-endian fixed integers, LEB128 varints, length-prefixed bytes.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/types.h"

namespace cairn {

static_assert(std::endian::native == std::endian::little, "Cairn is built for little-endian machines");

template <class T>
inline void put_fixed(std::string& out, T value) {  // little endian
  char raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof(T));
  out.append(raw, sizeof(T));
}
inline void put_u8(std::string& out, uint8_t value) { out.push_back(static_cast<char>(value)); }
inline void put_u16(std::string& out, uint16_t value) { put_fixed(out, value); }
inline void put_u32(std::string& out, uint32_t value) { put_fixed(out, value); }
inline void put_u64(std::string& out, uint64_t value) { put_fixed(out, value); }

template <class T>
inline T get_fixed(const char* in) {
  T value;
  std::memcpy(&value, in, sizeof(T));
  return value;
}

inline void put_big_u16(std::string& out, uint16_t value) { put_fixed(out, __builtin_bswap16(value)); }
inline void put_big_u32(std::string& out, uint32_t value) { put_fixed(out, __builtin_bswap32(value)); }
inline void put_big_u64(std::string& out, uint64_t value) { put_fixed(out, __builtin_bswap64(value)); }
inline uint16_t get_big_u16(const char* in) { return __builtin_bswap16(get_fixed<uint16_t>(in)); }
inline uint32_t get_big_u32(const char* in) { return __builtin_bswap32(get_fixed<uint32_t>(in)); }
inline uint64_t get_big_u64(const char* in) { return __builtin_bswap64(get_fixed<uint64_t>(in)); }

inline void put_varint(std::string& out, uint64_t value) {
  char raw[10];
  size_t n = 0;
  while (value >= 0x80) {
    raw[n++] = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  raw[n++] = static_cast<char>(value);
  out.append(raw, n);
}
inline void put_bytes(std::string& out, std::string_view bytes) {
  put_varint(out, bytes.size());
  out.append(bytes);
}

// Reads foreign bytes. After the first short or malformed read every later one fails too and returns zeroes or empty
// views; check ok() once at the end. Views point into the input.
class Decoder {
 public:
  explicit Decoder(std::string_view in) : in_(in) {}

  bool ok() const { return ok_; }
  bool at_end() const { return in_.empty(); }
  size_t remaining() const { return in_.size(); }
  std::string_view rest() const { return in_; }
  void fail() {
    ok_ = false;
    in_ = {};
  }

  template <class T>
  T fixed() {
    if (in_.size() < sizeof(T)) {
      fail();
      return T{};
    }
    T value = get_fixed<T>(in_.data());
    in_.remove_prefix(sizeof(T));
    return value;
  }
  uint8_t u8() { return fixed<uint8_t>(); }
  uint16_t u16() { return fixed<uint16_t>(); }
  uint32_t u32() { return fixed<uint32_t>(); }
  uint64_t u64() { return fixed<uint64_t>(); }
  uint64_t varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (in_.empty()) break;
      const auto byte = static_cast<uint8_t>(in_.front());
      in_.remove_prefix(1);
      if (shift == 63 && byte > 1) break;
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail();
    return 0;
  }
  template <class Tag>
  Number<Tag> number() {  // a strong id as varint
    return {varint()};
  }
  std::string_view raw(size_t length) {
    if (length > in_.size()) {
      fail();
      return {};
    }
    std::string_view bytes = in_.substr(0, length);
    in_.remove_prefix(length);
    return bytes;
  }
  std::string_view bytes() {
    const uint64_t length = varint();
    return raw(length > in_.size() ? in_.size() + 1 : static_cast<size_t>(length));
  }

 private:
  std::string_view in_;
  bool ok_ = true;
};

// The value of a hexadecimal digit; -1: it is none.
inline int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace cairn
