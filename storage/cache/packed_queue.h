// Blocks as they are stored, in the order of their arrival.
#pragma once

#include <cstddef>
#include <cstdint>

#include "storage/sstable/block_memory.h"
#include "storage/sstable/format.h"

namespace cairn::storage {

class TableBlocks;

// A block's payload, which follows it in memory; its checksum was right when it came.
struct alignas(kBlockAlignment) PackedBlock {
  TableBlocks* table = nullptr;  // null: it has left
  uint32_t ordinal = 0;
  uint32_t order = 0;  // see BlockCache
  uint32_t payload_bytes = 0;
  uint32_t raw_bytes = 0;
  Compression compression = Compression::kNone;
  bool in_main = false;
  uint32_t place = 0;  // in its chunk

  const char* payload() const { return reinterpret_cast<const char*>(this + 1); }
  StoredBlock stored() const { return {compression, raw_bytes, {payload(), payload_bytes}}; }
};

// They lie one behind the other in chunks, which come and go as a whole: beside its bytes a block takes its head of 32
// bytes and half of an alignment, not what an allocator rounds up to and a list's node. What was removed out of turn
// leaves a gap until all of its chunk has gone. Owns the bytes. Not thread safe.
class PackedQueue {
 public:
  // A block that is larger gets a chunk of its own.
  explicit PackedQueue(uint64_t chunk_bytes) : chunk_bytes_(chunk_bytes) {}
  PackedQueue(const PackedQueue&) = delete;
  PackedQueue& operator=(const PackedQueue&) = delete;
  ~PackedQueue();

  // Copies the payload and goes to the end. `like`: all but the sizes, as it shall be. Valid until it is removed.
  PackedBlock* push(const PackedBlock& like, const StoredBlock& block);
  PackedBlock* front();  // the oldest; null: none
  void remove(PackedBlock* block);
  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  uint64_t bytes() const { return bytes_; }  // of all chunks, gaps included
  // With the head, and as it is aligned.
  static uint64_t bytes_of(uint64_t payload) {
    return (sizeof(PackedBlock) + payload + alignof(PackedBlock) - 1) & ~(alignof(PackedBlock) - 1);
  }

 private:
  struct Chunk;
  static Chunk* chunk_of(PackedBlock* block);
  Chunk* add_chunk(uint64_t bytes);
  void drop_chunk(Chunk* chunk);

  uint64_t chunk_bytes_;
  Chunk *first_ = nullptr, *last_ = nullptr;
  size_t size_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace cairn::storage
