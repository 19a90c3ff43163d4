// Memory of large memtables. The first touch of a huge page takes 0.1 to 5 ms on a virtual machine, too long for a
// loop: slabs are used again when their memtable is gone, and while one fills, the next ones are touched in the
// background.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

namespace cairn::storage {

// Thread safety: any thread.
class SlabPool {
 public:
  static constexpr size_t kSlabBytes = 2u << 20;  // a huge page
  struct Free {
    void operator()(char* slab) const { std::free(slab); }
  };
  using Slab = std::unique_ptr<char, Free>;  // kSlabBytes, aligned to them

  // Slabs that nobody uses are kept up to this many bytes.
  explicit SlabPool(uint64_t kept_bytes_max) : kept_max_(kept_bytes_max / kSlabBytes + kAhead) {}

  // One that was used before or touched ahead, if there is one.
  Slab take() {
    in_use_.fetch_add(1, std::memory_order_relaxed);
    {
      const std::lock_guard lock(mutex_);
      if (!kept_.empty()) {
        Slab slab = std::move(kept_.back());
        kept_.pop_back();
        count_.store(kept_.size(), std::memory_order_relaxed);
        return slab;
      }
    }
    return make();
  }
  void give(Slab slab) {
    in_use_.fetch_sub(1, std::memory_order_relaxed);
    keep(std::move(slab));
  }
  // Somebody takes slabs, and few are left. Cheap.
  bool lacks() const {
    return in_use_.load(std::memory_order_relaxed) > 0 && count_.load(std::memory_order_relaxed) < kAhead;
  }
  // Makes one more, for the next who takes one. In the background.
  void touch_one() {
    constexpr size_t kPage = 4096;  // where there are no huge pages
    Slab slab = make();
    for (size_t at = 0; at < kSlabBytes; at += kPage) slab.get()[at] = 0;
    keep(std::move(slab));
  }

 private:
  static constexpr size_t kAhead = 4;  // slabs: as long as a background job may keep others waiting

  static Slab make() {
    auto* bytes = static_cast<char*>(std::aligned_alloc(kSlabBytes, kSlabBytes));
    if (bytes == nullptr) throw std::bad_alloc();
    return Slab(bytes);
  }
  void keep(Slab slab) {
    const std::lock_guard lock(mutex_);
    if (kept_.size() >= kept_max_) return;
    kept_.push_back(std::move(slab));
    count_.store(kept_.size(), std::memory_order_relaxed);
  }

  const size_t kept_max_;
  std::mutex mutex_;
  std::vector<Slab> kept_;         // guarded by mutex_
  std::atomic<size_t> count_ = 0;  // of kept_
  std::atomic<int64_t> in_use_ = 0;
};

}  // namespace cairn::storage
