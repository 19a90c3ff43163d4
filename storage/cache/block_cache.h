// Recently used data blocks of a shard.
#pragma once

#include <list>
#include <memory>
#include <unordered_map>

#include "storage/sstable/block.h"

namespace cairn::storage {

// Least recently used goes first; bounded by bytes. Thread safety: the owner's loop. A handed-out block stays
// alive as long as its holder wants, in the cache or not.
class BlockCache {
 public:
  explicit BlockCache(uint64_t bytes_max) : bytes_max_(bytes_max) {}

  std::shared_ptr<const Block> find(uint64_t table, uint32_t ordinal) {
    const auto it = map_.find(Key{table, ordinal});
    if (it == map_.end()) return nullptr;
    order_.splice(order_.begin(), order_, it->second);
    return it->second->block;
  }
  void insert(uint64_t table, uint32_t ordinal, std::shared_ptr<const Block> block) {
    const Key key{table, ordinal};
    if (map_.contains(key) || block->bytes() > bytes_max_) return;
    bytes_ += block->bytes();
    order_.push_front({key, std::move(block)});
    map_.emplace(key, order_.begin());
    while (bytes_ > bytes_max_) {
      bytes_ -= order_.back().block->bytes();
      map_.erase(order_.back().key);
      order_.pop_back();
    }
  }
  uint64_t bytes() const { return bytes_; }

 private:
  struct Key {
    uint64_t table;
    uint32_t ordinal;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct Hash {
    size_t operator()(const Key& key) const {
      return (key.table * 0x9E3779B97F4A7C15ull) ^ (key.ordinal * 0xC2B2AE3Dull);
    }
  };
  struct Entry {
    Key key;
    std::shared_ptr<const Block> block;
  };
  uint64_t bytes_max_;
  uint64_t bytes_ = 0;
  std::list<Entry> order_;  // most recent first
  std::unordered_map<Key, std::list<Entry>::iterator, Hash> map_;
};

}  // namespace cairn::storage
