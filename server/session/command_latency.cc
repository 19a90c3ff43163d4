#include "server/session/command_latency.h"

#include <algorithm>

#include "base/assert.h"

namespace cairn::server {
namespace {

constexpr size_t kEntriesKept = 1024;

struct Table {
  std::vector<std::pair<std::string_view, bool>> families;  // group, writes
  std::vector<uint8_t> by_command;
};

const Table& table() {
  static const Table made = [] {
    Table t;
    for (const CommandSpec& spec : command_table()) {
      const bool writes = (spec.flags & kWrite) != 0 || spec.session == SessionCommand::kExec;
      const std::pair family(spec.group, writes);
      auto found = std::find(t.families.begin(), t.families.end(), family);
      if (found == t.families.end()) found = t.families.insert(found, family);
      t.by_command.push_back(static_cast<uint8_t>(found - t.families.begin()));
    }
    CAIRN_ASSERT(t.families.size() <= CommandFamilies::kMax);
    return t;
  }();
  return made;
}

}  // namespace

size_t CommandFamilies::of(const CommandSpec& spec) {
  return table().by_command[static_cast<size_t>(&spec - command_table().data())];
}
size_t CommandFamilies::count() { return table().families.size(); }
std::string_view CommandFamilies::group(size_t family) { return table().families[family].first; }
bool CommandFamilies::writes(size_t family) { return table().families[family].second; }

void LatencyTracker::sent(uint64_t next, Instant now, CommandTimes& times) {
  while (any_below(next)) {
    const Entry& entry = entries_[first_++];
    times[entry.family].record_owned(now > entry.arrived ? now - entry.arrived : 0, entry.commands);
  }
  if (first_ == entries_.size()) {
    entries_.clear();
    if (entries_.capacity() > kEntriesKept) entries_.shrink_to_fit();
    first_ = 0;
  } else if (first_ > kEntriesKept) {
    entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
}

}  // namespace cairn::server
