// The memory of one batch: aligned for direct I/O, grown by doubling, reused.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "base/types.h"
#include "storage/log/log_format.h"

namespace cairn::storage {

class BatchBuffer {
 public:
  BatchBuffer() { reset(); }
  // Takes the memory over, not the content.
  BatchBuffer(BatchBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), capacity_(std::exchange(other.capacity_, 0)) {
    reset();
  }
  BatchBuffer& operator=(BatchBuffer&&) = delete;
  ~BatchBuffer() { std::free(data_); }

  void reset() {
    size_ = kBatchHeaderBytes;
    records = 0;
    end = {};
  }
  char* data() { return data_; }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  bool empty() const { return records == 0; }

  // Room for `bytes` more behind the present end.
  char* reserve(size_t bytes) {
    if (align_up(size_ + bytes) > capacity_) grow(size_ + bytes);
    return data_ + size_;
  }
  void commit(const char* end_of_record) { size_ = static_cast<size_t>(end_of_record - data_); }
  // Zeroes up to the next device block. Returns the padded size.
  size_t pad() {
    reserve(0);
    const size_t padded = align_up(size_);
    std::memset(data_ + size_, 0, padded - size_);
    return padded;
  }

  uint32_t records = 0;
  LogPosition end;  // position after the last record

 private:
  void grow(size_t needed) {
    const size_t capacity = align_up(std::max({needed, capacity_ * 2, size_t{64} << 10}));
    auto* larger = static_cast<char*>(std::aligned_alloc(kLogAlign, capacity));
    if (larger == nullptr) throw std::bad_alloc();
    if (data_ != nullptr) std::memcpy(larger, data_, size_);
    std::free(data_);
    data_ = larger;
    capacity_ = capacity;
  }
  char* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace cairn::storage
