#include "test/sim/world.h"

namespace cairn::sim {

// Integer arithmetic only: the same seed gives the same run with every compiler. -ln(u) by the binary logarithm of a
// random number: geometric over halvings, linear inside one.
Duration World::exponential(Duration mean) {
  const uint64_t u = random.next() | 1;
  const auto halvings = static_cast<uint64_t>(__builtin_clzll(u));
  const uint64_t fraction = (u << halvings) >> 44;  // 20 bits, top one set
  // -log2(u) = halvings + (1 - fraction part), roughly; times ln 2 = 0.693
  const uint64_t log2_scaled = halvings * 1024 + (1024 - ((fraction >> 9) & 1023));
  return mean * log2_scaled / 1024 * 693 / 1000;
}

}  // namespace cairn::sim
