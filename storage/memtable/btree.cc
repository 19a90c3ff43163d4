#include "storage/memtable/btree.h"

#include <algorithm>
#include <new>

#include "base/assert.h"
#include "storage/key_head.h"
#include "storage/memtable/prefix_tombstones.h"

namespace cairn::storage {
namespace {

using Node = BTree::Node;

void set_prefix(Node* node, uint32_t prefix) {
  node->prefix = prefix;
  for (uint32_t i = 0; i < node->count; ++i) node->heads[i] = BTree::head_of(node->keys[i]->key(), prefix);
}

// Number of keys below `key` (kBelow) or not above it. Of an inner node the first is not looked at, but counted.
template <bool kBelow>
uint32_t rank(const Node* node, std::string_view key) {
  const uint32_t prefix = node->prefix;
  if (prefix > 0) {
    const std::string_view shared = node->keys[0]->key().substr(0, prefix);
    const int order = key.substr(0, prefix).compare(shared);
    if (order != 0) return order < 0 ? 0 : node->count;
  }
  const uint64_t head = BTree::head_of(key, prefix);
  uint32_t low = node->leaf ? 0 : 1;  // the first separator says nothing: see split()
  for (uint32_t n = node->count - low; n > 0;) {
    const uint32_t half = n / 2;
    const bool right = node->heads[low + half] < head;
    low = right ? low + half + 1 : low;
    n = right ? n - half - 1 : half;
  }
  while (low < node->count && node->heads[low] == head) {
    const int order = node->keys[low]->key().compare(key);
    if (kBelow ? order >= 0 : order > 0) break;
    ++low;
  }
  return low;
}

uint32_t child_slot(const Node* node, std::string_view key) {
  const uint32_t n = rank<false>(node, key);
  return n == 0 ? 0 : n - 1;
}

void insert_at(Node* node, uint32_t slot, MemEntry* entry, Node* child) {
  const std::string_view key = entry->key();
  const uint32_t moved = node->count - slot;
  std::memmove(node->heads + slot + 1, node->heads + slot, moved * sizeof(node->heads[0]));
  std::memmove(node->keys + slot + 1, node->keys + slot, moved * sizeof(node->keys[0]));
  if (child != nullptr) {
    std::memmove(node->children + slot + 1, node->children + slot, moved * sizeof(node->children[0]));
    node->children[slot] = child;
  }
  node->keys[slot] = entry;
  ++node->count;
  if (node->count == 1) {
    set_prefix(node, static_cast<uint32_t>(key.size()));
    return;
  }
  const std::string_view other = node->keys[slot == 0 ? 1 : 0]->key();
  const auto shared = static_cast<uint32_t>(common_prefix(key, other.substr(0, node->prefix)));
  if (shared < node->prefix) {
    set_prefix(node, shared);
  } else {
    node->heads[slot] = BTree::head_of(key, node->prefix);
  }
}

}  // namespace

uint64_t BTree::head_of(std::string_view key, size_t prefix) {
  return key_head(key.substr(std::min(prefix, key.size())));
}

BTree::Node* BTree::new_node(bool leaf) {
  const size_t bytes = sizeof(Node) + (leaf ? 0 : kSlots * sizeof(Node*));
  Node* node = reinterpret_cast<Node*>(arena_.allocate(bytes));
  node->count = 0;
  node->prefix = 0;
  node->leaf = leaf;
  node->next = nullptr;
  return node;
}

// Moves the slots behind `from` into a new right neighbour.
BTree::Node* BTree::split(Node* node, uint32_t from) {
  Node* right = new_node(node->leaf);
  right->count = node->count - from;
  std::memcpy(right->keys, node->keys + from, right->count * sizeof(node->keys[0]));
  if (!node->leaf) std::memcpy(right->children, node->children + from, right->count * sizeof(node->children[0]));
  node->count = from;
  if (node->leaf) {
    right->next = node->next;
    node->next = right;
  }
  for (Node* half : {node, right}) {
    if (half->count == 0) continue;
    // keys[0] of an inner node may be above those that follow: lower keys have come into its child since.
    const std::string_view last = half->keys[half->count - 1]->key();
    size_t shared = common_prefix(half->keys[0]->key(), last);
    if (half->count > 1) shared = common_prefix(half->keys[1]->key(), last.substr(0, shared));
    set_prefix(half, static_cast<uint32_t>(shared));
  }
  return right;
}

void BTree::insert(MemEntry* entry) {
  if (root_ == nullptr) root_ = new_node(true);
  const std::string_view key = entry->key();
  Node* path[kDepthMax];
  uint32_t slots[kDepthMax];
  size_t depth = 0;
  Node* node = root_;
  while (!node->leaf) {
    CAIRN_ASSERT(depth < kDepthMax - 1);
    path[depth] = node;
    slots[depth] = child_slot(node, key);
    node = node->children[slots[depth++]];
  }
  MemEntry* up = entry;   // what goes into `node`
  Node* child = nullptr;  // with this right child, in inner nodes
  uint32_t slot = rank<true>(node, key);
  while (node->count == kSlots) {
    // Ascending keys fill nodes completely.
    const bool edge = slot == kSlots && (node->leaf ? node->next == nullptr : true);
    Node* right = split(node, edge ? kSlots - 1 : kSlots / 2);
    if (slot > node->count || (slot == node->count && edge)) {
      insert_at(right, slot - node->count, up, child);
    } else {
      insert_at(node, slot, up, child);
    }
    up = right->keys[0];
    child = right;
    if (depth == 0) {
      Node* root = new_node(false);
      insert_at(root, 0, node->keys[0], node);
      insert_at(root, 1, up, child);
      root_ = root;
      return;
    }
    node = path[--depth];
    slot = slots[depth] + 1;
  }
  insert_at(node, slot, up, child);
}

BTree::Position BTree::lower_bound(std::string_view key) const {
  if (root_ == nullptr) return {};
  const Node* node = root_;
  while (!node->leaf) node = node->children[child_slot(node, key)];
  const uint32_t slot = rank<true>(node, key);
  if (slot == node->count) return Position::start_of(node->next);
  return {node->keys + slot, node->keys, node->keys + node->count, node->next};
}

BTree::Position BTree::last_below(std::string_view key) const {
  if (root_ == nullptr) return {};
  // Of an inner node: everything below `left` is below the key.
  const Node* node = root_;
  const Node* left = nullptr;
  while (!node->leaf) {
    const uint32_t slot = key.empty() ? node->count - 1 : child_slot(node, key);
    if (slot > 0) left = node->children[slot - 1];
    node = node->children[slot];
  }
  uint32_t slot = key.empty() ? node->count : rank<true>(node, key);
  if (slot == 0) {
    if (left == nullptr) return {};
    for (node = left; !node->leaf;) node = node->children[node->count - 1];
    slot = node->count;
  }
  return {node->keys + slot - 1, node->keys, node->keys + node->count, node->next};
}

}  // namespace cairn::storage
