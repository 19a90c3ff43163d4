// Immutable bytes shared by reference: the same payload goes to the log, to the peers and into the memtable.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace cairn {

// A string of so many bytes, which nothing was written to yet. Hands its own count back: GCC 12 tells the operation of
// resize_and_overwrite() the capacity instead, so that a string of 16 bytes would have 30.
inline std::string unfilled_string(size_t bytes) {
  std::string out;
  out.resize_and_overwrite(bytes, [bytes](char*, size_t) { return bytes; });
  return out;
}

// Thread safety: copies may be used on any thread; the bytes never change.
class SharedBytes {
 public:
  SharedBytes() = default;
  explicit SharedBytes(std::string bytes)
      : owner_(std::make_shared<const std::string>(std::move(bytes))), view_(*owner_) {}

  // A part of this, sharing ownership. Requires: offset + length <= size().
  SharedBytes slice(size_t offset, size_t length) const {
    SharedBytes part;
    part.owner_ = owner_;
    part.view_ = view_.substr(offset, length);
    return part;
  }
  std::string_view view() const { return view_; }
  size_t size() const { return view_.size(); }
  bool empty() const { return view_.empty(); }
  friend bool operator==(const SharedBytes& a, const SharedBytes& b) { return a.view_ == b.view_; }

 private:
  std::shared_ptr<const std::string> owner_;
  std::string_view view_;
};

}  // namespace cairn
