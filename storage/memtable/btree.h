// An ordered set of keys for one writer: a B+tree whose nodes skip their common prefix and compare eight
// bytes at once.
//
// Keys live in the arena as MemEntry and never move; nodes live there too. No deletion: the table goes as a
// whole.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "storage/memtable/arena.h"

namespace cairn::storage {

struct MemEntry {
  uint64_t sequence;
  uint64_t time_ms;
  char* value;
  uint32_t value_size;
  uint32_t value_capacity;
  uint32_t key_size;
  uint8_t kind;  // OpKind
  std::string_view key() const { return {reinterpret_cast<const char*>(this + 1), key_size}; }
};

class BTree {
 public:
  static constexpr uint32_t kSlots = 64;
  struct Node {
    uint32_t count;
    uint32_t prefix;  // all keys share this many bytes (of an inner node: all separators but the first are
                      // compared)
    bool leaf;
    Node* next;  // leaves only
    uint64_t heads[kSlots];
    MemEntry* keys[kSlots];
    Node* children[];  // inner nodes only: children[i] holds keys >= keys[i]; keys[0] counts as lowest of all
  };
  // A place in a sequence of entries: the tree's, or a sorted array's.
  struct Position {
    MemEntry* const* at = nullptr;  // null: the end
    MemEntry* const* begin = nullptr;
    MemEntry* const* end = nullptr;
    const Node* next = nullptr;  // the leaf that follows
    const MemEntry* entry() const { return *at; }
    void advance() {
      if (++at == end) *this = start_of(next);
    }
    static Position start_of(const Node* leaf) {
      return leaf == nullptr ? Position{} : Position{leaf->keys, leaf->keys, leaf->keys + leaf->count, leaf->next};
    }
  };

  // Eight bytes of the key behind `prefix` as a number that sorts like them; short keys are padded with zeroes.
  static uint64_t head_of(std::string_view key, size_t prefix);

  explicit BTree(Arena& arena) : arena_(arena) {}
  // Requires: the key is not in the tree.
  void insert(MemEntry* entry);
  Position lower_bound(std::string_view key) const;
  Position last_below(std::string_view key) const;  // empty: the last of all
  bool empty() const { return root_ == nullptr; }

 private:
  static constexpr size_t kDepthMax = 16;
  Node* new_node(bool leaf);
  Node* split(Node* node, uint32_t from);

  Arena& arena_;
  Node* root_ = nullptr;
};

}  // namespace cairn::storage
