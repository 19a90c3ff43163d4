#include "storage/write_pacer.h"

namespace cairn::storage {

double write_delay_ns_per_byte(const WritePressure& pressure) {
  if (pressure.sealed_bytes == 0) return 0;
  if (pressure.used_bytes >= pressure.limit_bytes) return kSlowestNsPerByte;
  const auto room = static_cast<double>(pressure.limit_bytes - pressure.used_bytes);
  const double expected = static_cast<double>(pressure.sealed_bytes) / std::max(pressure.flush_rate, 1.0) * 1e9;
  const double remaining = std::max(expected - static_cast<double>(pressure.flushing), expected / 4);
  return std::min(remaining / room, kSlowestNsPerByte);
}

}  // namespace cairn::storage
