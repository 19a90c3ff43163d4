// Bytes received on one connection and not parsed yet, and the memory for them that the connections of a loop share.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn::server {

// Memory that no connection reads into just now. Most reads bring whole commands, so one buffer serves all connections
// of a loop, one after the other. Thread safety: none.
class InputMemory {
 public:
  struct Buffer {
    std::unique_ptr<char[]> bytes;  // not initialised, so reading into it costs no writes
    size_t capacity = 0;
  };
  Buffer take(size_t bytes) {
    if (!spare_.empty() && spare_.back().capacity >= bytes) {
      Buffer buffer = std::move(spare_.back());
      spare_.pop_back();
      return buffer;
    }
    const size_t capacity = std::max(bytes, size_t{4096});
    return {std::make_unique_for_overwrite<char[]>(capacity), capacity};
  }
  void give(Buffer buffer) {
    if (buffer.capacity >= kSmallest && buffer.capacity <= kLargest && spare_.size() < kSpare) {
      spare_.push_back(std::move(buffer));
    }
  }

 private:
  static constexpr size_t kSmallest = 16 * 1024, kLargest = 64 * 1024, kSpare = 16;
  std::vector<Buffer> spare_;
};

// Grows to what one command needs and holds no memory while it is empty. Thread safety: none. A view or span is valid
// until the next call that is not const.
class InputBuffer {
 public:
  explicit InputBuffer(InputMemory& memory) : memory_(memory) {}  // outlives it

  std::string_view view() const { return {buffer_.bytes.get() + begin_, end_ - begin_}; }
  bool empty() const { return begin_ == end_; }
  size_t size() const { return end_ - begin_; }
  size_t capacity() const { return buffer_.capacity; }

  // At least `bytes` of room behind the content. Say with filled() how much of it was used.
  std::span<char> space(size_t bytes) {
    if (begin_ == end_) begin_ = end_ = 0;
    if (buffer_.capacity - end_ < bytes) make_room(bytes);
    return {buffer_.bytes.get() + end_, buffer_.capacity - end_};
  }
  void filled(size_t bytes) {
    end_ += bytes;
    if (empty()) clear();
  }
  void append(std::string_view bytes) {
    if (bytes.empty()) return;
    std::memcpy(space(bytes.size()).data(), bytes.data(), bytes.size());
    end_ += bytes.size();
  }
  void consume(size_t bytes) {
    begin_ += bytes;
    if (begin_ == end_) clear();
  }
  void clear() {
    begin_ = end_ = 0;
    if (buffer_.capacity > 0) memory_.give(std::exchange(buffer_, {}));
  }

 private:
  void make_room(size_t bytes) {
    const size_t size = end_ - begin_;
    if (size + bytes <= buffer_.capacity && begin_ >= buffer_.capacity / 2) {
      std::memmove(buffer_.bytes.get(), buffer_.bytes.get() + begin_, size);
    } else {
      InputMemory::Buffer grown = memory_.take(std::max(size + bytes, 2 * size));
      if (size > 0) std::memcpy(grown.bytes.get(), buffer_.bytes.get() + begin_, size);
      memory_.give(std::exchange(buffer_, std::move(grown)));
    }
    begin_ = 0;
    end_ = size;
  }

  InputMemory& memory_;
  InputMemory::Buffer buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace cairn::server
