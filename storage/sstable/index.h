// Which data block of a table may hold a key.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "storage/sstable/format.h"

namespace cairn::storage {

// In memory while the table is open: per block its place and a separator, a key that is not below the block's last
// and below the next one's first. Immutable once parsed; thread safe.
class TableIndex {
 public:
  // `last_keys`: as version 1 has it, with whole keys. `data_bytes`: what the blocks must lie within.
  static Result<TableIndex> parse(std::string_view bytes, bool last_keys, uint32_t blocks, uint64_t data_bytes,
                                  const std::string& path);
  uint32_t size() const { return static_cast<uint32_t>(ends_.size()); }
  BlockHandle handle(uint32_t block) const {
    return {offsets_[block], static_cast<uint32_t>(offsets_[block + 1] - offsets_[block])};
  }
  uint32_t find(std::string_view key) const;  // the only block that may hold it; size() = none

 private:
  struct Separators;  // while they are parsed
  void keep(const Separators& separators);
  std::string_view rest(uint32_t block) const {  // of the separator, behind what all share
    const size_t start = block == 0 ? 0 : ends_[block - 1];
    return {rests_.data() + start, ends_[block] - start};
  }

  uint32_t heads_below(uint64_t head) const;

  // A lookup that misses the caches of the processor does so in here: few bytes a block.
  static constexpr uint32_t kHeadsPerTop = 32;
  std::vector<uint64_t> tops_;        // every 32nd head: so few that they stay in those caches
  std::vector<uint64_t> heads_;       // of the rests
  std::vector<uint32_t> ends_;        // of the rests
  std::string shared_, rests_;        // shared_: what all separators begin with
  std::vector<uint64_t> offsets_{0};  // of the blocks, and where the last one ends
};

// Version 2: per block the bytes that its separator shares with the one before, the others, and the stored size.
// The blocks lie one behind the other from offset 0 on.
class IndexBuilder {
 public:
  // `next_key`: first of the block that follows; empty: none does.
  void add(std::string_view last_key, std::string_view next_key, uint32_t stored_size);
  std::string finish(uint32_t blocks) const;

 private:
  std::string entries_, previous_;
};

// A short key that is not below `last` and below `next`. Requires: last < next.
std::string separator_between(std::string_view last, std::string_view next);

}  // namespace cairn::storage
