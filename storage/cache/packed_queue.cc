#include "storage/cache/packed_queue.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace cairn::storage {

constexpr auto kAligned = std::align_val_t(kBlockAlignment);

// Begins where its memory does.
struct alignas(PackedBlock) PackedQueue::Chunk {
  Chunk *before = nullptr, *behind = nullptr;
  uint64_t bytes = 0;                                   // of its memory
  uint64_t begin = sizeof(Chunk), end = sizeof(Chunk);  // of the blocks that are, or were, in it
  uint64_t blocks = 0;                                  // that are there

  PackedBlock* at(uint64_t offset) { return reinterpret_cast<PackedBlock*>(reinterpret_cast<char*>(this) + offset); }
};

PackedQueue::~PackedQueue() {
  while (first_ != nullptr) drop_chunk(first_);
}

PackedQueue::Chunk* PackedQueue::chunk_of(PackedBlock* block) {
  return reinterpret_cast<Chunk*>(reinterpret_cast<char*>(block) - block->place);
}

PackedQueue::Chunk* PackedQueue::add_chunk(uint64_t bytes) {
  auto* const chunk = new (::operator new(bytes, kAligned)) Chunk;
  chunk->bytes = bytes;
  chunk->before = last_;
  (last_ != nullptr ? last_->behind : first_) = chunk;
  last_ = chunk;
  bytes_ += bytes;
  return chunk;
}

void PackedQueue::drop_chunk(Chunk* chunk) {
  (chunk->before != nullptr ? chunk->before->behind : first_) = chunk->behind;
  (chunk->behind != nullptr ? chunk->behind->before : last_) = chunk->before;
  bytes_ -= chunk->bytes;
  ::operator delete(chunk, kAligned);
}

PackedBlock* PackedQueue::push(const PackedBlock& like, const StoredBlock& block) {
  const uint64_t bytes = bytes_of(block.payload.size());
  Chunk* chunk = last_;
  if (chunk == nullptr || chunk->bytes - chunk->end < bytes) {
    chunk = add_chunk(std::max(chunk_bytes_, sizeof(Chunk) + bytes));
  }
  auto* const packed = new (chunk->at(chunk->end)) PackedBlock(like);
  packed->place = static_cast<uint32_t>(chunk->end);
  packed->payload_bytes = static_cast<uint32_t>(block.payload.size());
  packed->raw_bytes = block.raw_bytes;
  packed->compression = block.compression;
  std::memcpy(reinterpret_cast<char*>(packed + 1), block.payload.data(), block.payload.size());
  chunk->end += bytes;
  ++chunk->blocks;
  ++size_;
  return packed;
}

PackedBlock* PackedQueue::front() {
  if (first_ == nullptr) return nullptr;
  for (;;) {  // a chunk without a block would be gone
    PackedBlock* const block = first_->at(first_->begin);
    if (block->table != nullptr) return block;
    first_->begin += bytes_of(block->payload_bytes);
  }
}

void PackedQueue::remove(PackedBlock* block) {
  Chunk* const chunk = chunk_of(block);
  block->table = nullptr;
  --size_;
  if (--chunk->blocks == 0) drop_chunk(chunk);
}

}  // namespace cairn::storage
