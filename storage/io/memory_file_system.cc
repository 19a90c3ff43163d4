#include "storage/io/memory_file_system.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <set>

#include "storage/io/memory_node.h"

namespace cairn::storage {

struct MemoryFileSystem::Node {
  uint64_t id = 0;  // order of creation: crashes walk dirty files in this order
  bool directory = false;
  uint32_t links = 0;  // current names of a file
  memory::Content content;
  std::map<std::string, std::shared_ptr<Node>> entries;
  std::map<std::string, std::shared_ptr<Node>> durable;
};

namespace {
using Node = MemoryFileSystem::Node;
using NodePtr = std::shared_ptr<Node>;

// One unsynced change of names. A rename has both sides and is atomic.
struct DirectoryOp {
  NodePtr dir;  // where `name` appears (node set) or vanishes (node null)
  std::string name;
  NodePtr node;
  NodePtr from_dir;  // renames only
  std::string from_name;
};

void apply_durably(const DirectoryOp& op) {
  if (op.from_dir) op.from_dir->durable.erase(op.from_name);
  if (op.node) {
    op.dir->durable[op.name] = op.node;
  } else {
    op.dir->durable.erase(op.name);
  }
}

std::vector<std::string> split(const std::string& path) {
  std::vector<std::string> parts;
  size_t at = 0;
  while (at < path.size()) {
    const size_t slash = std::min(path.find('/', at), path.size());
    if (slash > at && path.substr(at, slash - at) != ".") parts.push_back(path.substr(at, slash - at));
    at = slash + 1;
  }
  return parts;
}

Error error(ErrorCode code, const char* what, const std::string& path) {
  return Error{code, std::string(what) + ": " + path};
}

}  // namespace

struct MemoryFileSystem::State {
  mutable std::mutex mutex;
  NodePtr root = std::make_shared<Node>();
  uint64_t next_id = 1;
  uint64_t generation = 0;  // raised by every crash: older handles are dead
  uint64_t capacity = ~0ull;
  uint64_t used = 0;
  std::atomic<bool> cold{false};
  std::vector<DirectoryOp> ops;
  std::map<uint64_t, NodePtr> dirty;
  std::map<std::string, uint64_t> locks;  // path -> generation of the holder

  NodePtr find(const std::string& path) const {
    NodePtr node = root;
    for (const auto& part : split(path)) {
      if (!node->directory) return nullptr;
      const auto it = node->entries.find(part);
      if (it == node->entries.end()) return nullptr;
      node = it->second;
    }
    return node;
  }
  // The directory that holds the last part of `path`, and that part.
  Result<std::pair<NodePtr, std::string>> parent(const std::string& path) const {
    NodePtr dir = find(parent_dir(path));
    if (!dir || !dir->directory) return error(ErrorCode::kNotFound, "no such directory", path);
    return std::pair(dir, path.substr(path.rfind('/') == std::string::npos ? 0 : path.rfind('/') + 1));
  }
  void unlink(const NodePtr& node) {
    if (node->directory || --node->links > 0) return;
    used -= node->content.size();
  }
  Result<void> grow(Node& node, uint64_t end, const std::string& path) {
    if (end <= node.content.size()) return {};
    const uint64_t more = end - node.content.size();
    if (used + more > capacity || used + more < used) return error(ErrorCode::kNoSpace, "no space left", path);
    used += more;
    return {};
  }
};

namespace {

class MemoryFile final : public File {
 public:
  MemoryFile(std::shared_ptr<MemoryFileSystem::State> state, NodePtr node, std::string path, bool writable)
      : state_(std::move(state)), node_(std::move(node)), path_(std::move(path)), writable_(writable) {
    generation_ = state_->generation;
  }
  Result<size_t> read_at(uint64_t offset, std::span<char> out) const override {
    const std::lock_guard lock(state_->mutex);
    if (stale()) return error(ErrorCode::kIoError, "read through a handle from before a crash", path_);
    return node_->content.read(offset, out);
  }
  Result<std::optional<size_t>> read_cached(uint64_t offset, std::span<char> out) const override {
    if (state_->cold.load(std::memory_order_relaxed)) return std::optional<size_t>();
    CAIRN_TRY(const size_t got, read_at(offset, out));
    return std::optional<size_t>(got);
  }
  Result<void> write_at(uint64_t offset, std::string_view data) override {
    const std::lock_guard lock(state_->mutex);
    CAIRN_TRY_VOID(prepare(offset + data.size()));
    node_->content.write(offset, data);
    state_->dirty[node_->id] = node_;
    return {};
  }
  Result<void> write_durable(uint64_t offset, std::string_view data) override {
    const std::lock_guard lock(state_->mutex);
    CAIRN_TRY_VOID(prepare(offset + data.size()));
    node_->content.write_durable(offset, data);
    return {};
  }
  Result<void> sync() override {
    const std::lock_guard lock(state_->mutex);
    if (stale()) return error(ErrorCode::kIoError, "sync through a handle from before a crash", path_);
    node_->content.sync();
    state_->dirty.erase(node_->id);
    return {};
  }
  Result<uint64_t> size() const override {
    const std::lock_guard lock(state_->mutex);
    return node_->content.size();
  }
  Result<void> truncate(uint64_t size) override {
    const std::lock_guard lock(state_->mutex);
    CAIRN_TRY_VOID(prepare(size));
    if (size < node_->content.size() && node_->links > 0) state_->used -= node_->content.size() - size;
    node_->content.truncate(size);
    state_->dirty[node_->id] = node_;
    return {};
  }
  Result<void> allocate(uint64_t size) override {
    const std::lock_guard lock(state_->mutex);
    CAIRN_TRY_VOID(prepare(size));
    if (size <= node_->content.size()) return {};
    node_->content.truncate(size);
    state_->dirty[node_->id] = node_;
    return {};
  }

 private:
  bool stale() const { return generation_ != state_->generation; }
  Result<void> prepare(uint64_t end) {
    if (stale()) return error(ErrorCode::kIoError, "write through a handle from before a crash", path_);
    if (!writable_) return error(ErrorCode::kInvalidArgument, "file is open for reading only", path_);
    return node_->links > 0 ? state_->grow(*node_, end, path_) : Result<void>{};
  }
  std::shared_ptr<MemoryFileSystem::State> state_;
  NodePtr node_;
  std::string path_;
  bool writable_;
  uint64_t generation_;
};

class MemoryLock final : public FileLock {
 public:
  MemoryLock(std::shared_ptr<MemoryFileSystem::State> state, std::string path)
      : state_(std::move(state)), path_(std::move(path)), generation_(state_->generation) {}
  ~MemoryLock() override {
    const std::lock_guard lock(state_->mutex);
    const auto it = state_->locks.find(path_);
    if (it != state_->locks.end() && it->second == generation_) state_->locks.erase(it);
  }

 private:
  std::shared_ptr<MemoryFileSystem::State> state_;
  std::string path_;
  uint64_t generation_;
};

}  // namespace

MemoryFileSystem::MemoryFileSystem() : state_(std::make_shared<State>()) { state_->root->directory = true; }
MemoryFileSystem::~MemoryFileSystem() {
  state_->root->entries.clear();
  state_->root->durable.clear();
}

void MemoryFileSystem::set_capacity(uint64_t bytes) {
  const std::lock_guard lock(state_->mutex);
  state_->capacity = bytes;
}

void MemoryFileSystem::set_cold(bool cold) { state_->cold = cold; }

uint64_t MemoryFileSystem::used_bytes() const {
  const std::lock_guard lock(state_->mutex);
  return state_->used;
}

Result<void> MemoryFileSystem::flip_bit(const std::string& path, uint64_t bit) {
  const std::lock_guard lock(state_->mutex);
  const NodePtr node = state_->find(path);
  if (!node || node->directory) return error(ErrorCode::kNotFound, "no such file", path);
  node->content.flip_bit(bit);
  return {};
}

void MemoryFileSystem::crash(Random& random, const CrashOptions& options) {
  const std::lock_guard lock(state_->mutex);
  ++state_->generation;
  // Later operations on a name depend on earlier ones: once one is lost, so are they.
  std::set<std::pair<uint64_t, std::string>> lost;
  bool prefix_over = false;
  for (const auto& op : state_->ops) {
    const std::pair to(op.dir->id, op.name);
    const std::pair from(op.from_dir ? op.from_dir->id : 0, op.from_name);
    bool keep = random.chance(options.keep_directory) && !lost.contains(to);
    if (op.from_dir && lost.contains(from)) keep = false;
    if (!options.reorder && prefix_over) keep = false;
    if (keep) {
      apply_durably(op);
      continue;
    }
    prefix_over = true;
    lost.insert(to);
    if (op.from_dir) lost.insert(from);
  }
  state_->ops.clear();
  for (auto& [id, node] : state_->dirty) node->content.crash(random, options);
  state_->dirty.clear();
  state_->locks.clear();
  // What is durable is all there is.
  std::set<uint64_t> counted;
  state_->used = 0;
  std::vector<NodePtr> open{state_->root};
  while (!open.empty()) {
    const NodePtr dir = open.back();
    open.pop_back();
    dir->entries = dir->durable;
    for (auto& [name, node] : dir->entries) {
      if (node->directory) {
        open.push_back(node);
        continue;
      }
      if (counted.insert(node->id).second) {
        node->links = 0;
        state_->used += node->content.size();
      }
      ++node->links;
    }
  }
}

void MemoryFileSystem::copy_from(const MemoryFileSystem& other) {
  const std::scoped_lock lock(state_->mutex, other.state_->mutex);
  const State& from = *other.state_;
  std::map<const Node*, NodePtr> copies;
  const std::function<NodePtr(const NodePtr&)> copy = [&](const NodePtr& node) -> NodePtr {
    if (!node) return nullptr;
    NodePtr& made = copies[node.get()];
    if (made) return made;
    const NodePtr result = made = std::make_shared<Node>();
    result->id = node->id;
    result->directory = node->directory;
    result->links = node->links;
    result->content.copy_from(node->content);
    for (const auto& [name, child] : node->entries) result->entries[name] = copy(child);
    for (const auto& [name, child] : node->durable) result->durable[name] = copy(child);
    return result;
  };
  state_->root = copy(from.root);
  state_->next_id = from.next_id;
  ++state_->generation;
  state_->capacity = from.capacity;
  state_->used = from.used;
  state_->cold = from.cold.load(std::memory_order_relaxed);
  state_->ops.clear();
  for (const auto& op : from.ops) {
    state_->ops.push_back({copy(op.dir), op.name, copy(op.node), copy(op.from_dir), op.from_name});
  }
  state_->dirty.clear();
  for (const auto& [id, node] : from.dirty) state_->dirty[id] = copy(node);
  state_->locks.clear();
}

Result<std::unique_ptr<File>> MemoryFileSystem::open(const std::string& path, OpenMode mode) {
  const std::lock_guard lock(state_->mutex);
  NodePtr node = state_->find(path);
  if (mode == OpenMode::kCreateNew) {
    if (node) return error(ErrorCode::kAlreadyExists, "file exists", path);
    CAIRN_TRY(auto place, state_->parent(path));
    node = std::make_shared<Node>();
    node->id = state_->next_id++;
    node->links = 1;
    place.first->entries[place.second] = node;
    state_->ops.push_back({place.first, place.second, node, nullptr, {}});
  }
  if (!node || node->directory) return error(ErrorCode::kNotFound, "no such file", path);
  return std::unique_ptr<File>(
      std::make_unique<MemoryFile>(state_, node, path, mode != OpenMode::kRead && mode != OpenMode::kReadDirect));
}

Result<bool> MemoryFileSystem::exists(const std::string& path) {
  const std::lock_guard lock(state_->mutex);
  return state_->find(path) != nullptr;
}

Result<FileStatus> MemoryFileSystem::status(const std::string& path) {
  const std::lock_guard lock(state_->mutex);
  const NodePtr node = state_->find(path);
  if (!node) return error(ErrorCode::kNotFound, "no such file", path);
  return FileStatus{node->content.size(), node->links};
}

Result<std::vector<std::string>> MemoryFileSystem::list(const std::string& dir) {
  const std::lock_guard lock(state_->mutex);
  const NodePtr node = state_->find(dir);
  if (!node || !node->directory) return error(ErrorCode::kNotFound, "no such directory", dir);
  std::vector<std::string> names;
  for (const auto& [name, child] : node->entries) names.push_back(name);
  return names;
}

Result<void> MemoryFileSystem::create_dirs(const std::string& dir) {
  const std::lock_guard lock(state_->mutex);
  NodePtr node = state_->root;
  for (const auto& part : split(dir)) {
    NodePtr& child = node->entries[part];
    if (!child) {
      child = std::make_shared<Node>();
      child->id = state_->next_id++;
      child->directory = true;
      node->durable[part] = child;
    }
    if (!child->directory) return error(ErrorCode::kAlreadyExists, "is a file", dir);
    node = child;
  }
  return {};
}

Result<void> MemoryFileSystem::rename(const std::string& from, const std::string& to) {
  const std::lock_guard lock(state_->mutex);
  const NodePtr node = state_->find(from);
  if (!node) return error(ErrorCode::kNotFound, "no such file", from);
  CAIRN_TRY(auto source, state_->parent(from));
  CAIRN_TRY(auto target, state_->parent(to));
  if (const NodePtr old = state_->find(to)) {
    if (old == node) return {};
    if (old->directory) return error(ErrorCode::kAlreadyExists, "is a directory", to);
    state_->unlink(old);
  }
  source.first->entries.erase(source.second);
  target.first->entries[target.second] = node;
  state_->ops.push_back({target.first, target.second, node, source.first, source.second});
  return {};
}

Result<void> MemoryFileSystem::link(const std::string& from, const std::string& to) {
  const std::lock_guard lock(state_->mutex);
  const NodePtr node = state_->find(from);
  if (!node || node->directory) return error(ErrorCode::kNotFound, "no such file", from);
  if (state_->find(to)) return error(ErrorCode::kAlreadyExists, "file exists", to);
  CAIRN_TRY(auto target, state_->parent(to));
  target.first->entries[target.second] = node;
  ++node->links;
  state_->ops.push_back({target.first, target.second, node, nullptr, {}});
  return {};
}

Result<void> MemoryFileSystem::remove(const std::string& path) {
  const std::lock_guard lock(state_->mutex);
  const NodePtr node = state_->find(path);
  if (!node || node == state_->root) return error(ErrorCode::kNotFound, "no such file", path);
  if (node->directory && !node->entries.empty()) return error(ErrorCode::kIoError, "directory not empty", path);
  CAIRN_TRY(auto place, state_->parent(path));
  place.first->entries.erase(place.second);
  state_->unlink(node);
  state_->ops.push_back({place.first, place.second, nullptr, nullptr, {}});
  return {};
}

Result<void> MemoryFileSystem::sync_dir(const std::string& dir) {
  const std::lock_guard lock(state_->mutex);
  const NodePtr node = state_->find(dir);
  if (!node || !node->directory) return error(ErrorCode::kNotFound, "no such directory", dir);
  std::vector<DirectoryOp> rest;
  for (auto& op : state_->ops) {
    if (op.dir == node || op.from_dir == node) {
      apply_durably(op);
    } else {
      rest.push_back(std::move(op));
    }
  }
  state_->ops = std::move(rest);
  return {};
}

Result<std::unique_ptr<FileLock>> MemoryFileSystem::lock(const std::string& path) {
  const std::lock_guard lock(state_->mutex);
  if (!state_->locks.emplace(path, state_->generation).second) return error(ErrorCode::kInUse, "locked", path);
  return std::unique_ptr<FileLock>(std::make_unique<MemoryLock>(state_, path));
}

Result<uint64_t> MemoryFileSystem::free_bytes(const std::string&) {
  const std::lock_guard lock(state_->mutex);
  return state_->capacity > state_->used ? state_->capacity - state_->used : 0;
}

}  // namespace cairn::storage
