// Bytes received on one connection and not parsed yet.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

namespace cairn::server {

// Grows to what one command needs and shrinks again once it is empty. Not initialised, so reading into it
// costs no writes. Thread safety: none. A view or span is valid until the next call that is not const.
class InputBuffer {
 public:
  std::string_view view() const { return {bytes_.get() + begin_, end_ - begin_}; }
  bool empty() const { return begin_ == end_; }
  size_t size() const { return end_ - begin_; }
  size_t capacity() const { return capacity_; }

  // At least `bytes` of room behind the content. Say with filled() how much of it was used.
  std::span<char> space(size_t bytes) {
    if (begin_ == end_) begin_ = end_ = 0;
    if (capacity_ - end_ < bytes) make_room(bytes);
    return {bytes_.get() + end_, capacity_ - end_};
  }
  void filled(size_t bytes) { end_ += bytes; }
  void append(std::string_view bytes) {
    if (bytes.empty()) return;
    std::memcpy(space(bytes.size()).data(), bytes.data(), bytes.size());
    end_ += bytes.size();
  }
  void consume(size_t bytes) {
    begin_ += bytes;
    if (begin_ != end_) return;
    begin_ = end_ = 0;
    if (capacity_ > kKept) release();
  }
  void clear() {
    begin_ = end_ = 0;
    release();
  }

 private:
  static constexpr size_t kKept = 64 * 1024;

  void release() {
    bytes_.reset();
    capacity_ = 0;
  }
  void make_room(size_t bytes) {
    const size_t size = end_ - begin_;
    if (size + bytes <= capacity_ && begin_ >= capacity_ / 2) {
      std::memmove(bytes_.get(), bytes_.get() + begin_, size);
    } else {
      const size_t capacity = std::max({size + bytes, 2 * size, size_t{4096}});
      auto grown = std::make_unique_for_overwrite<char[]>(capacity);
      if (size > 0) std::memcpy(grown.get(), bytes_.get() + begin_, size);
      bytes_ = std::move(grown);
      capacity_ = capacity;
    }
    begin_ = 0;
    end_ = size;
  }

  std::unique_ptr<char[]> bytes_;
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace cairn::server
