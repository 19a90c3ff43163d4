// The buffer of the newest writes of one tablet: one version of each row, found by hash; put in order only when
// somebody asks for order (a scan, the flush), for most rows are overwritten or read by key before that.
//
// Thread safety: one writer and reader (the loop) until sealed by its owner; then any reader.
// Ownership:     owns all bytes. A view is valid until the row is written again, or, once sealed, as long as
// the table.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/memtable/arena.h"
#include "storage/memtable/btree.h"
#include "storage/memtable/prefix_tombstones.h"
#include "storage/memtable/slot_table.h"
#include "storage/row.h"

namespace cairn::storage {

class Memtable {
 public:
  // keep_order: rows are put in order as they come. For a table that is going to be scanned again and again.
  // slabs: memory for the rows of a large table; null: the heap's.
  explicit Memtable(uint64_t id, bool keep_order = false, std::shared_ptr<SlabPool> slabs = nullptr)
      : id_(id), arena_(std::move(slabs)), keeps_order_(keep_order), tree_(tree_arena_) {}
  Memtable(const Memtable&) = delete;
  Memtable& operator=(const Memtable&) = delete;

  // Requires: `sequence` above that of every earlier write. `hash` = hash64(key).
  void put(std::string_view key, uint64_t hash, std::string_view value, uint64_t sequence, uint64_t time_ms) {
    write(key, hash, OpKind::kPut, value, sequence, time_ms);
  }
  void remove(std::string_view key, uint64_t hash, uint64_t sequence, uint64_t time_ms) {
    write(key, hash, OpKind::kDelete, {}, sequence, time_ms);
  }
  void remove_prefix(std::string_view prefix, uint64_t sequence, uint64_t time_ms) {
    prefixes_.add(prefix, sequence, time_ms);
    prefix_bytes_ += prefix.size() + 96;
  }

  // The row's entry, a tombstone included, whether or not a deleted prefix covers it; null = no entry.
  const MemEntry* find(std::string_view key, uint64_t hash) const;
  const PrefixTombstones& prefixes() const { return prefixes_; }

  uint64_t id() const { return id_; }
  uint64_t rows() const { return rows_; }
  // Has been scanned, and keeps its rows in order since. Before it is sealed only.
  bool keeps_order() const { return keeps_order_; }
  bool empty() const { return rows_ == 0 && prefixes_.empty(); }
  // What the rows take; their order is counted whether or not it was made yet.
  uint64_t bytes() const { return arena_.used() + slots_.bytes() + rows_ * kOrderBytesPerRow + prefix_bytes_; }
  BTree::Position lower_bound(std::string_view key) const {
    if (!ordered_.load(std::memory_order_acquire)) make_order();
    return sorted_.empty() ? tree_.lower_bound(key) : lower_bound_in_array(key);
  }
  BTree::Position last_below(std::string_view key) const;  // empty: the last of all
  // No more writes. From now on anyone may read.
  void seal() { sealed_ = true; }

  // Hints for find() and write(): first the one, some rows later the other.
  void prefetch_slot(uint64_t hash) const { slots_.prefetch(static_cast<uint32_t>(hash)); }
  void prefetch_entry(uint64_t hash) const {
    if (!slots_.reserved()) return;
    const SlotTable::Slot& slot = slots_.usual_slot(static_cast<uint32_t>(hash));
    if (slot.ref == 0) return;
    const char* entry = arena_.at(slot.ref - 1);
    __builtin_prefetch(entry);
    __builtin_prefetch(entry + 64);  // the end of the key, and a small value
  }

 private:
  void write(std::string_view key, uint64_t hash, OpKind kind, std::string_view value, uint64_t sequence,
             uint64_t time_ms);
  void make_order() const;
  BTree::Position lower_bound_in_array(std::string_view key) const;
  MemEntry* entry_at(uint32_t ref) const { return reinterpret_cast<MemEntry*>(arena_.at(ref - 1)); }

  static constexpr size_t kUnorderedAtOnce = 8192;   // rows of a piece: so much is moved at once when it grows
  static constexpr uint64_t kOrderBytesPerRow = 20;  // of the tree and of the list below

  uint64_t id_;
  Arena arena_;
  // Made on demand, by any reader once the table is sealed: hence apart from the rows' arena, and behind a mutex.
  mutable std::mutex order_mutex_;
  mutable std::atomic<bool> ordered_ = true;
  mutable bool keeps_order_;
  mutable std::vector<std::vector<MemEntry*>> unordered_;  // rows that are not in the tree yet, in pieces
  mutable std::vector<MemEntry*> sorted_;  // all rows, if they were put in order after the table was sealed
  bool sealed_ = false;
  mutable Arena tree_arena_;
  mutable BTree tree_;
  SlotTable slots_;  // refs are the arena's plus one
  uint64_t rows_ = 0;
  PrefixTombstones prefixes_;
  uint64_t prefix_bytes_ = 0;
};

// Rows in key order, tombstones included. Writing to the table in between invalidates it.
class MemtableCursor final : public TwoWayCursor {
 public:
  explicit MemtableCursor(const Memtable& table) : table_(table) {}
  CursorState seek(std::string_view lower) override {
    back_ = false;
    at_ = table_.lower_bound(lower);
    for (ptrdiff_t i = 1; i < std::min(kPrefetchAhead, at_.end - at_.at); ++i) prefetch(at_.at[i]);
    return load();
  }
  CursorState seek_back(std::string_view upper) override {
    back_ = true;
    at_ = table_.last_below(upper);
    return load();
  }
  CursorState next() override {
    if (!back_) {
      at_.advance();
    } else if (at_.at != at_.begin) {
      --at_.at;
    } else {
      at_ = row_.key.empty() ? BTree::Position{} : table_.last_below(row_.key);
    }
    return load();
  }
  const Row& row() const override { return row_; }

 private:
  static constexpr ptrdiff_t kPrefetchAhead = 4;
  static void prefetch(const MemEntry* entry) {
    __builtin_prefetch(entry);
    __builtin_prefetch(reinterpret_cast<const char*>(entry) + 64);  // the end of the key, and a small value
  }
  CursorState load() {
    if (at_.at == nullptr) return CursorState::kEnd;
    if (!back_ && at_.end - at_.at > kPrefetchAhead) prefetch(at_.at[kPrefetchAhead]);
    if (back_ && at_.at - at_.begin >= kPrefetchAhead) prefetch(at_.at[-kPrefetchAhead]);
    const MemEntry* entry = at_.entry();
    row_ = {entry->key(),
            {entry->value, entry->value_size},
            static_cast<OpKind>(entry->kind),
            entry->sequence,
            entry->time_ms};
    return CursorState::kRow;
  }
  const Memtable& table_;
  BTree::Position at_;
  bool back_ = false;
  Row row_;
};

}  // namespace cairn::storage
