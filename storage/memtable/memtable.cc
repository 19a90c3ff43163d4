#include "storage/memtable/memtable.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace cairn::storage {
namespace {
constexpr size_t kSlotsMin = 16;
constexpr size_t kSlotsOfMany = 16384;  // from here on a table may grow to what is expected of it

// The position follows from the 32 stored bits, so that growing touches no entry.
size_t home(uint32_t hash) { return hash; }
}  // namespace

const MemEntry* Memtable::find(std::string_view key, uint64_t hash) const {
  if (slots_.empty()) return nullptr;
  const size_t mask = slots_.size() - 1;
  const auto tag = static_cast<uint32_t>(hash);
  for (size_t i = home(tag) & mask; slots_[i].ref != 0; i = (i + 1) & mask) {
    if (slots_[i].hash != tag) continue;
    const MemEntry* entry = entry_at(slots_[i].ref);
    if (entry->key() == key) return entry;
  }
  return nullptr;
}

void Memtable::write(std::string_view key, uint64_t hash, OpKind kind, std::string_view value, uint64_t sequence,
                     uint64_t time_ms) {
  if (slots_.empty() || (rows_ + 1) * 4 > slots_.size() * 3) grow_slots();
  const size_t mask = slots_.size() - 1;
  const auto tag = static_cast<uint32_t>(hash);
  size_t i = home(tag) & mask;
  for (; slots_[i].ref != 0; i = (i + 1) & mask) {
    if (slots_[i].hash != tag) continue;
    MemEntry* entry = entry_at(slots_[i].ref);
    if (entry->key() != key) continue;
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
  slots_[i] = {tag, ref + 1};
  ++rows_;
  if (keeps_order_) {
    tree_.insert(entry);
  } else {
    unordered_.push_back(entry);
    ordered_.store(false, std::memory_order_relaxed);
  }
}

void Memtable::make_order() const {
  const std::lock_guard lock(order_mutex_);
  if (ordered_.load(std::memory_order_relaxed)) return;
  std::string_view shared = unordered_.front()->key();
  for (const MemEntry* entry : unordered_) {
    if (!entry->key().starts_with(shared)) shared = shared.substr(0, common_prefix(shared, entry->key()));
  }
  std::vector<std::pair<uint64_t, MemEntry*>> sorted;
  sorted.reserve(unordered_.size());
  for (MemEntry* entry : unordered_) sorted.emplace_back(BTree::head_of(entry->key(), shared.size()), entry);
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : a.second->key() < b.second->key();
  });
  if (sealed_ && tree_.empty()) {
    for (size_t i = 0; i < sorted.size(); ++i) unordered_[i] = sorted[i].second;
    sorted_ = std::move(unordered_);
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

void Memtable::grow_slots() {
  std::vector<Slot> old = std::move(slots_);
  size_t size = old.empty() ? kSlotsMin : old.size() * 2;
  if (size >= kSlotsOfMany && rows_expected_ > rows_) {
    while (rows_expected_ * 4 > size * 3) size *= 2;
    if (!keeps_order_) unordered_.reserve(rows_expected_);
  }
  slots_.assign(size, Slot{});
  const size_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.ref == 0) continue;
    size_t i = home(slot.hash) & mask;
    while (slots_[i].ref != 0) i = (i + 1) & mask;
    slots_[i] = slot;
  }
}

}  // namespace cairn::storage
