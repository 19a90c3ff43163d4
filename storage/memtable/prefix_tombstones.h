// Deleted prefixes with the sequence of their deletion.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::storage {

struct PrefixTombstone {
  std::string prefix;
  uint64_t sequence = 0;
  uint64_t time_ms = 0;
  friend bool operator==(const PrefixTombstone&, const PrefixTombstone&) = default;
};

inline size_t common_prefix(std::string_view a, std::string_view b) {
  const size_t n = std::min(a.size(), b.size());
  return static_cast<size_t>(std::mismatch(a.begin(), a.begin() + static_cast<ptrdiff_t>(n), b.begin()).first -
                             a.begin());
}

// Sorted. Adding a prefix swallows the older ones below it, so the longest match of a key is also the newest.
class PrefixTombstones {
 public:
  void add(std::string_view prefix, uint64_t sequence, uint64_t time_ms) {
    auto it = map_.lower_bound(prefix);
    while (it != map_.end() && it->first.starts_with(prefix) && it->second.first <= sequence) it = map_.erase(it);
    auto& entry = map_[std::string(prefix)];
    if (sequence >= entry.first) entry = {sequence, time_ms};
  }
  bool empty() const { return map_.empty(); }
  size_t size() const { return map_.size(); }

  // Highest sequence at which a prefix of `key` was deleted; 0 = none.
  uint64_t covering(std::string_view key) const {
    uint64_t found = 0;
    std::string_view rest = key;
    while (!map_.empty()) {
      auto it = map_.upper_bound(rest);
      if (it == map_.begin()) break;
      --it;
      if (rest.starts_with(it->first)) {
        found = std::max(found, it->second.first);
        if (it->first.empty()) break;
        rest = key.substr(0, it->first.size() - 1);
      } else {
        rest = rest.substr(0, common_prefix(rest, it->first));
      }
    }
    return found;
  }
  std::vector<PrefixTombstone> list() const {
    std::vector<PrefixTombstone> all;
    for (const auto& [prefix, at] : map_) all.push_back({prefix, at.first, at.second});
    return all;
  }
  // Is there a deleted prefix that may cover keys starting with `prefix`?
  bool touches(std::string_view prefix) const {
    if (covering(prefix) != 0) return true;
    const auto it = map_.lower_bound(prefix);
    return it != map_.end() && it->first.starts_with(prefix);
  }

 private:
  std::map<std::string, std::pair<uint64_t, uint64_t>, std::less<>> map_;
};

}  // namespace cairn::storage
