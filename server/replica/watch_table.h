// Which watched keys of a range were written, and when: what EXEC compares with the moment of its WATCH.
#pragma once

#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>

namespace cairn::server {

// Nothing is ever unwatched: a connection may end without a word, on another node. Instead the table is bounded and
// forgets the keys that were watched longest ago; of those it says that they were changed. Moments are numbers that
// grow with every evaluation of one leadership; clear() at its end. Not thread safe: on the range's loop.
class WatchTable {
 public:
  static constexpr size_t kKeysMax = 100'000;
  static constexpr size_t kBytesMax = 16u << 20;  // of keys

  bool empty() const { return keys_.empty(); }
  size_t size() const { return keys_.size(); }
  void watch(std::string_view key, uint64_t moment);
  void changed(std::string_view key, uint64_t moment);
  void all_changed(uint64_t moment) { all_changed_ = moment; }
  // True: the key was written after that moment, or that is not known. Requires: somebody watched it by then.
  bool changed_since(std::string_view key, uint64_t moment) const;
  void clear();

 private:
  struct Entry {
    std::string key;
    uint64_t since = 0;    // watched without a gap
    uint64_t changed = 0;  // 0: not since then
  };
  using Order = std::list<Entry>;  // the one watched last is at the back

  Order order_;
  std::unordered_map<std::string_view, Order::iterator> keys_;  // views of Entry::key
  size_t bytes_ = 0;
  uint64_t all_changed_ = 0;
};

}  // namespace cairn::server
