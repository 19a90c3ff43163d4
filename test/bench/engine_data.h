// Keys, values and the order in which the measurements use them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "base/codec.h"
#include "base/random.h"

namespace cairn::bench {

enum class KeyStyle : uint8_t {
  kDecimal,  // 16 digits
  kBinary,   // 8 bytes big-endian, then none to 8 zero bytes
};

// Keys sort like their numbers. Not thread safe: a key is valid until the next one is made.
class KeyMaker {
 public:
  explicit KeyMaker(KeyStyle style) : style_(style) {}
  std::string_view key(uint64_t number) {
    if (style_ == KeyStyle::kDecimal) {
      for (size_t i = kBytesMax; i-- > 0; number /= 10) bytes_[i] = static_cast<char>('0' + number % 10);
      return {bytes_, kBytesMax};
    }
    const size_t length = kNumberBytes + number * 5 % (kBytesMax - kNumberBytes + 1);  // neighbours differ
    for (size_t i = kNumberBytes; i-- > 0; number >>= 8) bytes_[i] = static_cast<char>(number & 0xFF);
    std::memset(bytes_ + kNumberBytes, 0, kBytesMax - kNumberBytes);
    return {bytes_, length};
  }
  // Beside the key of `number`, and never written.
  std::string_view missing(uint64_t number) {
    const size_t length = key(number).size();
    if (style_ == KeyStyle::kDecimal) {
      bytes_[kBytesMax - 1] = '.';
      return {bytes_, length};
    }
    bytes_[length] = '\1';
    return {bytes_, length + 1};
  }
  static uint64_t average_bytes(KeyStyle style) {
    return style == KeyStyle::kDecimal ? kBytesMax : (kNumberBytes + kBytesMax) / 2;
  }

 private:
  static constexpr size_t kNumberBytes = 8, kBytesMax = 16;
  KeyStyle style_;
  char bytes_[kBytesMax + 1] = {};
};

// Values whose second half repeats the first one, so about half of their bytes compress away. A value starts with the
// number of its key. Not thread safe: a value is valid until the next one is made.
class ValueMaker {
 public:
  explicit ValueMaker(size_t bytes) : bytes_(bytes), value_(bytes, '\0'), pool_(kPool + bytes, '\0') {
    SeededRandom random(301);
    for (char& c : pool_) c = static_cast<char>(' ' + random.below(95));
  }
  // `version` tells apart what is written to the same key.
  std::string_view value(uint64_t number, uint64_t version = 0) {
    const size_t half = bytes_ / 2;
    const size_t at = (number * 0x9E3779B97F4A7C15ull + version * 0xD1342543DE82EF95ull) >> 44 & (kPool - 1);
    std::memcpy(value_.data(), pool_.data() + at, bytes_ - half);
    std::memcpy(value_.data() + bytes_ - half, pool_.data() + at, half);
    std::memcpy(value_.data(), &number, std::min(bytes_, sizeof number));
    return value_;
  }
  bool belongs(uint64_t number, std::string_view value) const {
    return value.size() == bytes_ && std::memcmp(value.data(), &number, std::min(bytes_, sizeof number)) == 0;
  }

 private:
  static constexpr size_t kPool = 1u << 20;
  size_t bytes_;
  std::string value_, pool_;
};

// Every number below n once, at random.
inline std::vector<uint32_t> shuffled(uint64_t n, uint64_t seed) {
  std::vector<uint32_t> numbers(n);
  std::iota(numbers.begin(), numbers.end(), 0u);
  SeededRandom random(seed);
  for (uint64_t i = n; i > 1; --i) std::swap(numbers[i - 1], numbers[random.below(i)]);
  return numbers;
}

// Numbers below n by Zipf's law with exponent `skew` in (0, 1): the method of Gray et al., "Quickly generating
// billion-record synthetic databases" (SIGMOD 1994). The popular ones are scattered over the keys.
class ZipfNumbers {
 public:
  ZipfNumbers(uint64_t n, double skew) : order_(shuffled(n, 77)), n_(static_cast<double>(n)), skew_(skew) {
    for (uint64_t i = 1; i <= n; ++i) zeta_ += 1 / std::pow(static_cast<double>(i), skew);
    const double first_two = 1 + std::pow(0.5, skew);
    eta_ = (1 - std::pow(2 / n_, 1 - skew)) / (1 - first_two / zeta_);
  }
  uint64_t next(Random& random) const {
    const double u = static_cast<double>(random.next() >> 11) * 0x1.0p-53;
    double rank = n_ * std::pow(eta_ * u - eta_ + 1, 1 / (1 - skew_));
    if (u * zeta_ < 1 + std::pow(0.5, skew_)) rank = 1;
    if (u * zeta_ < 1) rank = 0;
    return order_[std::min(static_cast<size_t>(rank), order_.size() - 1)];
  }

 private:
  std::vector<uint32_t> order_;
  double n_, skew_, zeta_ = 0, eta_ = 0;
};

}  // namespace cairn::bench
