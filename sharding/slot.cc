#include "sharding/slot.h"

#include <array>

namespace cairn::sharding {
namespace {
// Eight tables: slicing-by-8 over the CRC-16/XMODEM polynomial 0x1021.
constexpr auto kTables = [] {
  std::array<std::array<uint16_t, 256>, 8> t{};
  for (uint32_t i = 0; i < 256; ++i) {
    auto crc = static_cast<uint16_t>(i << 8);
    for (int k = 0; k < 8; ++k) crc = static_cast<uint16_t>((crc & 0x8000) ? (crc << 1) ^ 0x1021 : crc << 1);
    t[0][i] = crc;
  }
  for (uint32_t i = 0; i < 256; ++i) {
    for (size_t k = 1; k < 8; ++k) {
      const uint16_t prev = t[k - 1][i];
      t[k][i] = static_cast<uint16_t>((prev << 8) ^ t[0][prev >> 8]);
    }
  }
  return t;
}();

uint16_t crc16(std::string_view s) {
  uint16_t crc = 0;
  const auto* p = reinterpret_cast<const uint8_t*>(s.data());
  size_t n = s.size();
  for (; n >= 8; n -= 8, p += 8) {
    crc = static_cast<uint16_t>(kTables[7][p[0] ^ (crc >> 8)] ^ kTables[6][p[1] ^ (crc & 0xFF)] ^ kTables[5][p[2]] ^
                                kTables[4][p[3]] ^ kTables[3][p[4]] ^ kTables[2][p[5]] ^ kTables[1][p[6]] ^
                                kTables[0][p[7]]);
  }
  for (; n > 0; --n, ++p) crc = static_cast<uint16_t>((crc << 8) ^ kTables[0][(crc >> 8) ^ *p]);
  return crc;
}
}  // namespace

uint16_t key_slot(std::string_view user_key) {
  const size_t open = user_key.find('{');
  if (open != std::string_view::npos) {
    const size_t close = user_key.find('}', open + 1);
    if (close != std::string_view::npos && close > open + 1) user_key = user_key.substr(open + 1, close - open - 1);
  }
  return static_cast<uint16_t>(crc16(user_key) & (kSlots - 1));
}

}  // namespace cairn::sharding
