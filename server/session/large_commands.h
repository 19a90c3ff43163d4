// Memory for large commands of a node's connections, from the announcement of their size to their reply.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>

#include "base/types.h"

namespace cairn::server {

// A command counts as large above this many bytes.
inline constexpr size_t kLargeCommandBytes = size_t{1} << 20;

// Who finds no room waits, in order of arrival, and nothing more is read from it; small commands pass by. A client that
// announces much and sends it slowly delays the others, but not for longer than kWaitMax each: then the next one is let
// in beyond the bound. Not thread safe: on the range loop.
class LargeCommands {
 public:
  static constexpr Duration kWaitMax = 5 * kSecond;

  // `granted` tells a session that waited; it may ask again before it returns.
  LargeCommands(size_t bytes_max, std::function<void(uint64_t session, size_t bytes)> granted)
      : bytes_max_(bytes_max), granted_(std::move(granted)) {}

  // False: it comes later, by `granted`. Requires: the session has no room and does not wait.
  bool reserve(uint64_t session, size_t bytes, Instant now);
  void release(uint64_t session);  // room or place in the queue, if any
  void tick(Instant now);
  size_t bytes() const { return bytes_; }
  size_t waiting() const { return waiting_.size(); }

 private:
  struct Waiting {
    uint64_t session;
    size_t bytes;
    Instant since;
  };
  bool fits(size_t bytes) const { return bytes_ == 0 || bytes_ + bytes <= bytes_max_; }
  void take(uint64_t session, size_t bytes) {
    bytes_ += bytes;
    held_[session] = bytes;
  }
  void grant_front();

  const size_t bytes_max_;
  const std::function<void(uint64_t, size_t)> granted_;
  size_t bytes_ = 0;
  std::map<uint64_t, size_t> held_;
  std::deque<Waiting> waiting_;
};

}  // namespace cairn::server
