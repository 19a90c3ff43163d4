// The newest commands that took long, as SLOWLOG shows them.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "server/commands/command.h"

namespace cairn::server {

// The arguments of one command, shortened as Redis shortens them for its log: at most 32, each at most 128 bytes and
// then "... (N more bytes)". One string, so that a slot of the reply queue can keep it without allocating.
inline constexpr size_t kLoggedArgumentsMax = 32;
void pack_arguments(Argv argv, std::string& out, size_t arguments_max = kLoggedArgumentsMax);
std::vector<std::string_view> unpack_arguments(std::string_view packed);

// Bounded by its length; one entry takes at most some 5 KiB. Thread safety: none.
class SlowLog {
 public:
  struct Entry {
    uint64_t id = 0;
    uint64_t second = 0;    // since 1970, when it was answered
    uint64_t us = 0;        // from its evaluation's start to its reply, waiting for other nodes and disks included
    std::string arguments;  // packed
    std::string client;     // address
    std::string name;       // of the connection
  };
  void add(Entry entry, uint64_t length_max);  // the id is given here
  void shorten(uint64_t length_max);
  void clear() { entries_.clear(); }
  const std::deque<Entry>& entries() const { return entries_; }  // newest first

 private:
  std::deque<Entry> entries_;
  uint64_t next_id_ = 0;
};

}  // namespace cairn::server
