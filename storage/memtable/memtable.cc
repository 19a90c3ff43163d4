#include "storage/memtable/memtable.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace cairn::storage {
const MemEntry* Memtable::find(std::string_view key, uint64_t hash) const {
  if (!slots_.reserved()) return nullptr;
  const auto same = [&](uint32_t ref) { return entry_at(ref)->key() == key; };
  const SlotTable::Slot& slot = slots_.find(static_cast<uint32_t>(hash), same);
  return slot.ref == 0 ? nullptr : entry_at(slot.ref);
}

void Memtable::write(std::string_view key, uint64_t hash, OpKind kind, std::string_view value, uint64_t sequence,
                     uint64_t time_ms) {
  if (!slots_.reserved()) slots_.reserve();
  const auto tag = static_cast<uint32_t>(hash);
  SlotTable::Slot& slot = slots_.place(tag, [&](uint32_t ref) { return entry_at(ref)->key() == key; });
  if (slot.ref != 0) {
    MemEntry* entry = entry_at(slot.ref);
    if (value.size() > entry->value_capacity) {
      // Growing values (appends, counters) get a little slack.
      entry->value_capacity = static_cast<uint32_t>(value.size() + value.size() / 4);
      entry->value = arena_.allocate(entry->value_capacity);
    }
    if (!value.empty()) std::memcpy(entry->value, value.data(), value.size());
    entry->value_size = static_cast<uint32_t>(value.size());
    entry->kind = static_cast<uint8_t>(kind);
    entry->sequence = sequence;
    entry->time_ms = time_ms;
    return;
  }
  uint32_t ref = 0;
  char* raw = arena_.allocate(sizeof(MemEntry) + key.size() + value.size(), &ref);
  auto* entry = reinterpret_cast<MemEntry*>(raw);
  char* bytes = raw + sizeof(MemEntry);
  *entry = {sequence,
            time_ms,
            bytes + key.size(),
            static_cast<uint32_t>(value.size()),
            static_cast<uint32_t>(value.size()),
            static_cast<uint32_t>(key.size()),
            static_cast<uint8_t>(kind)};
  if (!key.empty()) std::memcpy(bytes, key.data(), key.size());
  if (!value.empty()) std::memcpy(entry->value, value.data(), value.size());
  slot = {tag, ref + 1};
  slots_.added(tag);
  ++rows_;
  if (keeps_order_) {
    tree_.insert(entry);
  } else {
    if (unordered_.empty() || unordered_.back().size() == kUnorderedAtOnce) unordered_.emplace_back();
    unordered_.back().push_back(entry);
    ordered_.store(false, std::memory_order_relaxed);
  }
}

void Memtable::make_order() const {
  const std::lock_guard lock(order_mutex_);
  if (ordered_.load(std::memory_order_relaxed)) return;
  std::string_view shared = unordered_.front().front()->key();
  for (const auto& piece : unordered_) {
    for (const MemEntry* entry : piece) {
      if (!entry->key().starts_with(shared)) shared = shared.substr(0, common_prefix(shared, entry->key()));
    }
  }
  std::vector<std::pair<uint64_t, MemEntry*>> sorted;
  sorted.reserve(rows_);
  for (const auto& piece : unordered_) {
    for (MemEntry* entry : piece) sorted.emplace_back(BTree::head_of(entry->key(), shared.size()), entry);
  }
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : a.second->key() < b.second->key();
  });
  if (sealed_ && tree_.empty()) {
    sorted_.reserve(sorted.size());
    for (const auto& [head, entry] : sorted) sorted_.push_back(entry);
  } else {
    // In order: a tree that grows at its end is several times cheaper than one that grows everywhere.
    for (const auto& [head, entry] : sorted) tree_.insert(entry);
  }
  unordered_ = {};
  keeps_order_ = true;
  ordered_.store(true, std::memory_order_release);
}

BTree::Position Memtable::lower_bound_in_array(std::string_view key) const {
  const auto found = std::lower_bound(sorted_.begin(), sorted_.end(), key,
                                      [](const MemEntry* entry, std::string_view k) { return entry->key() < k; });
  if (found == sorted_.end()) return {};
  return {&*found, sorted_.data(), sorted_.data() + sorted_.size(), nullptr};
}

BTree::Position Memtable::last_below(std::string_view key) const {
  if (!ordered_.load(std::memory_order_acquire)) make_order();
  if (sorted_.empty()) return tree_.last_below(key);
  MemEntry* const* end = sorted_.data() + sorted_.size();
  MemEntry* const* at = key.empty() ? end : lower_bound_in_array(key).at;
  if (at == nullptr) at = end;
  if (at == sorted_.data()) return {};
  return {at - 1, sorted_.data(), end, nullptr};
}

}  // namespace cairn::storage
