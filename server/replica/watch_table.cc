#include "server/replica/watch_table.h"

namespace cairn::server {

void WatchTable::watch(std::string_view key, uint64_t moment) {
  if (const auto known = keys_.find(key); known != keys_.end()) {
    order_.splice(order_.end(), order_, known->second);
    return;
  }
  order_.push_back({std::string(key), moment, 0});
  keys_.emplace(order_.back().key, std::prev(order_.end()));
  bytes_ += key.size();
  while (keys_.size() > kKeysMax || (bytes_ > kBytesMax && keys_.size() > 1)) {
    bytes_ -= order_.front().key.size();
    keys_.erase(order_.front().key);
    order_.pop_front();
  }
}

void WatchTable::changed(std::string_view key, uint64_t moment) {
  if (const auto known = keys_.find(key); known != keys_.end()) known->second->changed = moment;
}

bool WatchTable::changed_since(std::string_view key, uint64_t moment) const {
  if (all_changed_ > moment) return true;
  const auto known = keys_.find(key);
  return known == keys_.end() || known->second->since > moment || known->second->changed > moment;
}

void WatchTable::clear() {
  keys_.clear();
  order_.clear();
  bytes_ = 0;
  all_changed_ = 0;
}

}  // namespace cairn::server
