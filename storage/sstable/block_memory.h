// Memory for blocks that come and go in about the same order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

namespace cairn::storage {

inline constexpr size_t kBlockAlignment = 32;

// Blocks lie side by side in chunks; a chunk goes when all of its blocks have, on whatever thread. An allocator's own
// small pieces would do, if what they leave could be used for anything else: the memory that unpacked blocks have taken
// has to become that of packed ones. Not thread safe but for that.
class BlockMemory {
 public:
  explicit BlockMemory(uint64_t chunk_bytes) : chunk_bytes_(chunk_bytes) {}
  BlockMemory(const BlockMemory&) = delete;
  BlockMemory& operator=(const BlockMemory&) = delete;

  // Aligned for a block; `keep` owns it. Large pieces get memory of their own.
  char* take(size_t bytes, std::shared_ptr<char>& keep) {
    bytes = (bytes + kBlockAlignment - 1) & ~(kBlockAlignment - 1);
    if (bytes > chunk_bytes_ / 4) {
      keep = allocate(bytes);
      return keep.get();
    }
    if (!chunk_ || chunk_bytes_ - used_ < bytes) {
      chunk_ = allocate(chunk_bytes_);
      used_ = 0;
    }
    keep = chunk_;
    char* const piece = chunk_.get() + used_;
    used_ += bytes;
    return piece;
  }

 private:
  static std::shared_ptr<char> allocate(size_t bytes) {
    constexpr auto kAligned = std::align_val_t(kBlockAlignment);
    return {static_cast<char*>(::operator new(bytes, kAligned)),
            [](char* memory) { ::operator delete(memory, kAligned); }};
  }

  uint64_t chunk_bytes_;
  std::shared_ptr<char> chunk_;  // the one that is filled
  uint64_t used_ = 0;            // bytes of it
};

// One object, with what shares it, in the first kHeadBytes of a piece of BlockMemory, which it keeps. For
// std::allocate_shared.
template <class T>
class InPiece {
 public:
  using value_type = T;
  InPiece(char* piece, std::shared_ptr<char> keep, size_t head_bytes)
      : piece_(piece), keep_(std::move(keep)), head_bytes_(head_bytes) {}
  template <class U>
  InPiece(const InPiece<U>& other)  // NOLINT(google-explicit-constructor): what allocators are asked for
      : piece_(other.piece_), keep_(other.keep_), head_bytes_(other.head_bytes_) {}
  T* allocate(size_t n) {
    if (n != 1 || sizeof(T) > head_bytes_ || alignof(T) > kBlockAlignment) throw std::bad_alloc();
    return reinterpret_cast<T*>(piece_);
  }
  void deallocate(T*, size_t) {}
  template <class U>
  bool operator==(const InPiece<U>& other) const {
    return piece_ == other.piece_;
  }

 private:
  template <class U>
  friend class InPiece;
  char* piece_;
  std::shared_ptr<char> keep_;
  size_t head_bytes_;
};

}  // namespace cairn::storage
