// When a block of the cache is worth more memory than it takes as it is stored.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

namespace cairn::storage {

// An unpacked block saves D for every use of it: what unpacking takes until a row is found. The bytes that it takes
// beside its stored ones would hold the part (U-S)/S of another block, each of whose uses saves M: a read. So the
// unpacked form is worth it for a block that is used more than M/D * (U-S)/S times as often as the one that would have
// to go for it. The cache counts uses from one look at a block to the next, in which everything in it has its turn;
// what may go is used at most once meanwhile. M is 2 us where the kernel has the block and 80 where the device is
// waited for, by the share that the last reads had of either; D is 0.3 us, and U is 1.6 S (measured with rows of 116
// bytes in blocks of 2 KiB, docs/decisions/cold-reads.md).
//
// Pure. Not thread safe.
class UseWorth {
 public:
  static constexpr uint32_t kCountMax = 7;

  // Counts by powers of two, so that three bits do: from n on one use in 2^n counts, so n stands for 2^n - 1 of them.
  // Which one it is must not follow a pattern of the reader's; a generator of numbers spreads it (Knuth's MMIX).
  uint32_t counted(uint32_t count) {
    spread_ = spread_ * 6364136223846793005ull + 1442695040888963407ull;
    const bool counts = count < kCountMax && (spread_ >> 40 & ((1u << count) - 1)) == 0;
    return count + (counts ? 1 : 0);
  }

  // A block that the cache did not hold was read.
  void was_read(bool from_device) {
    device_reads_ += from_device ? 1 : 0;
    if (++reads_ < kReadsTogether) return;
    const double read_us = kPageReadUs + (kDeviceReadUs - kPageReadUs) * device_reads_ / reads_;
    reads_ = device_reads_ = 0;
    unpacked_from_ =
        std::min<uint32_t>(kCountMax, std::bit_width(static_cast<uint32_t>(read_us / kUnpackUs * kMoreBytes)));
  }
  // A block with this count is worth its unpacked form.
  bool is_hot(uint32_t count) const { return count >= unpacked_from_; }

 private:
  static constexpr double kPageReadUs = 2, kDeviceReadUs = 80, kUnpackUs = 0.3, kMoreBytes = 0.6;
  static constexpr uint32_t kReadsTogether = 256;
  uint32_t reads_ = 0, device_reads_ = 0;
  uint32_t unpacked_from_ = 3;  // 4 uses: all is in the page cache
  uint64_t spread_ = 1;
};

}  // namespace cairn::storage
