// How many distinct keys several tables hold together, without reading them: HyperLogLog (Flajolet et al. 2007) with
// 2048 registers, about 2.3 % off. Sketches of tables are joined by taking the larger of each register.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::storage {

class KeySketch {
 public:
  static constexpr size_t kRegisters = 2048;
  static constexpr int kIndexBits = 11;
  // Tables with fewer rows carry no sketch: their keys are counted as they are.
  static constexpr uint64_t kRowsMin = 1024;

  void add(uint64_t hash) {
    const size_t index = hash >> (64 - kIndexBits);
    const int rank = std::countl_zero((hash << kIndexBits) | (uint64_t{1} << (kIndexBits - 1))) + 1;
    char& at = registers_[index];
    if (rank > at) at = static_cast<char>(rank);
  }
  // False: not a sketch.
  bool join(std::string_view bytes) {
    if (bytes.size() != kRegisters) return false;
    for (size_t i = 0; i < kRegisters; ++i) {
      if (bytes[i] > registers_[i]) registers_[i] = bytes[i];
    }
    return true;
  }
  double estimate() const {
    double sum = 0;
    size_t zeros = 0;
    for (const char rank : registers_) {
      sum += std::ldexp(1.0, -rank);
      zeros += rank == 0 ? 1 : 0;
    }
    constexpr auto m = static_cast<double>(kRegisters);
    const double raw = 0.7213 / (1 + 1.079 / m) * m * m / sum;
    if (raw <= 2.5 * m && zeros > 0) return m * std::log(m / static_cast<double>(zeros));
    return raw;
  }
  const std::string& bytes() const { return registers_; }

 private:
  std::string registers_ = std::string(kRegisters, '\0');
};

}  // namespace cairn::storage
