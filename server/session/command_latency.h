// How long commands take, by family: from the arrival of a command's last bytes to its reply being with the kernel.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/metrics.h"
#include "server/commands/command.h"

namespace cairn::server {

// A family: the group of the command in the table, and whether it writes.
struct CommandFamilies {
  static constexpr size_t kMax = 32;
  static size_t of(const CommandSpec& spec);  // `spec` of command_table()
  static size_t count();
  static std::string_view group(size_t family);
  static bool writes(size_t family);
};

// Single writer: the range loop.
using CommandTimes = std::array<DurationHistogram, CommandFamilies::kMax>;

// The commands of one connection whose replies have not left. Commands of one kind that came together share an entry,
// and the clock is read once for all that leave together. Thread safety: none.
class LatencyTracker {
 public:
  // In the order of `sequence`.
  void opened(uint64_t sequence, size_t family, Instant arrived) {
    if (first_ < entries_.size()) {
      Entry& last = entries_.back();
      if (last.family == family && last.arrived == arrived) {
        last.sequence = sequence;
        ++last.commands;
        return;
      }
    }
    entries_.push_back({sequence, arrived, 1, static_cast<uint32_t>(family)});
  }
  // The replies of all sequences below `next` have left. True: call sent() with the time.
  bool any_below(uint64_t next) const { return first_ < entries_.size() && entries_[first_].sequence < next; }
  void sent(uint64_t next, Instant now, CommandTimes& times);

 private:
  struct Entry {
    uint64_t sequence = 0;  // the last one
    Instant arrived = 0;
    uint32_t commands = 0;
    uint32_t family = 0;
  };
  std::vector<Entry> entries_;
  size_t first_ = 0;  // those before have been counted
};

}  // namespace cairn::server
