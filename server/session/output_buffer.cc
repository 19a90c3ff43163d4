#include "server/session/output_buffer.h"

#include <algorithm>
#include <utility>

namespace cairn::server {

void OutputBuffer::cut() {
  // What grew byte by byte may have twice the room that it needs.
  if (tail_.capacity() > tail_.size() + tail_.size() / 4) tail_.shrink_to_fit();
  segment_bytes_ += tail_.size();
  segment_capacity_ += tail_.capacity();
  segments_.push_back(std::exchange(tail_, {}));
}

void OutputBuffer::append(std::string segment) {
  if (!tail_.empty()) cut();
  tail_ = std::move(segment);
  cut();
}

size_t OutputBuffer::pieces(std::span<iovec> out) const {
  size_t count = 0;
  size_t skip = sent_;
  const auto add = [&](const std::string& piece) {
    if (count == out.size() || piece.size() == skip) return;
    out[count++] = {const_cast<char*>(piece.data()) + skip, piece.size() - skip};  // sendmsg() does not write there
    skip = 0;
  };
  for (size_t i = first_; i < segments_.size() && count < out.size(); ++i) add(segments_[i]);
  add(tail_);
  return count;
}

std::string_view OutputBuffer::front() const {
  iovec first{};
  if (pieces({&first, 1}) == 0) return {};
  return {static_cast<const char*>(first.iov_base), first.iov_len};
}

void OutputBuffer::consume(size_t bytes) {
  sent_ += bytes;
  while (first_ < segments_.size() && sent_ >= segments_[first_].size()) {
    const std::string left = std::exchange(segments_[first_++], {});
    sent_ -= left.size();
    segment_bytes_ -= left.size();
    segment_capacity_ -= left.capacity();
  }
  if (first_ == segments_.size()) {
    segments_.clear();
    first_ = 0;
  } else if (first_ >= kSegmentsGone && 2 * first_ >= segments_.size()) {
    segments_.erase(segments_.begin(), segments_.begin() + static_cast<std::ptrdiff_t>(std::exchange(first_, 0)));
  }
  if (!segments_.empty() || sent_ < tail_.size()) return;
  sent_ = 0;
  tail_.clear();
  if (tail_.capacity() > kKept) tail_.shrink_to_fit();
}

std::string OutputBuffer::take() {
  std::string all;
  if (segments_.empty() && sent_ == 0) {
    all.swap(tail_);
    return all;
  }
  all.reserve(size());
  for (; !empty(); consume(front().size())) all += front();
  return all;
}

void OutputBuffer::clear() {
  std::vector<std::string>().swap(segments_);
  std::string().swap(tail_);
  first_ = segment_bytes_ = segment_capacity_ = sent_ = 0;
}

}  // namespace cairn::server
