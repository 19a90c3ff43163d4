// Bytes for one client that have not left.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::server {

// Replies are written at the end of tail(). A tail that has become large is set aside as a segment, so what waits for a
// slow client is neither copied when more comes nor moved when some of it leaves. Thread safety: none.
class OutputBuffer {
 public:
  std::string& tail() { return tail_; }  // its end may be taken back while a command writes; the rest only by consume()
  size_t size() const { return segment_bytes_ + tail_.size() - sent_; }
  bool empty() const { return size() == 0; }
  size_t capacity() const { return segment_capacity_ + tail_.capacity(); }

  // Between two commands: a large tail becomes a segment.
  void set_aside() {
    if (tail_.size() >= kSegmentBytes) cut();
  }
  // Behind everything that is there, without copying it.
  void append(std::string segment);
  // The pieces from the front, as many as there is room for; how many. Valid until the next call that is not const.
  size_t pieces(std::span<iovec> out) const;
  std::string_view front() const;  // the first of them
  void consume(size_t bytes);      // at most size()
  std::string take();              // everything
  void clear();
  // Gives back memory that an empty buffer keeps.
  void trim() {
    if (empty()) clear();
  }

 private:
  static constexpr size_t kSegmentBytes = 64 * 1024;
  static constexpr size_t kSegmentsGone = 64;  // above, if it is half of them, the places of gone ones are given up
  static constexpr size_t kKept = 32 * 1024;   // of an empty tail

  void cut();

  std::vector<std::string> segments_;  // from first_ on
  size_t first_ = 0;
  size_t segment_bytes_ = 0;
  size_t segment_capacity_ = 0;
  std::string tail_;
  size_t sent_ = 0;  // of the first piece
};

}  // namespace cairn::server
