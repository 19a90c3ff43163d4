// Files of the memory file system: pages with their unsynced versions. Internal to memory_file_system.cc.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "storage/io/memory_file_system.h"

namespace cairn::storage::memory {

inline constexpr size_t kPage = 4096;
inline constexpr size_t kSector = 512;
using PageBytes = std::array<char, kPage>;

// What may be on the device after a crash: `durable` or any of `unsynced`, the last of which is the current
// content.
struct Page {
  std::unique_ptr<PageBytes> durable;  // null = zeroes
  std::vector<std::unique_ptr<PageBytes>> unsynced;
};

// The content of one file. Not thread safe.
class Content {
 public:
  uint64_t size() const { return size_; }
  bool dirty() const { return dirty_; }

  size_t read(uint64_t offset, std::span<char> out) const {
    if (offset >= size_) return 0;
    const size_t n = static_cast<size_t>(std::min<uint64_t>(out.size(), size_ - offset));
    for_pages(offset, n, [&](uint64_t page, size_t at, size_t from, size_t length) {
      const PageBytes* bytes = current(page);
      if (bytes == nullptr) {
        std::memset(out.data() + from, 0, length);
      } else {
        std::memcpy(out.data() + from, bytes->data() + at, length);
      }
    });
    return n;
  }

  void write(uint64_t offset, std::string_view data) {
    for_pages(offset, data.size(), [&](uint64_t page, size_t at, size_t from, size_t length) {
      std::memcpy(writable(page).data() + at, data.data() + from, length);
    });
    size_ = std::max(size_, offset + data.size());
    dirty_ = true;
  }

  // Only these bytes become durable, and the size that is needed to read them.
  void write_durable(uint64_t offset, std::string_view data) {
    for_pages(offset, data.size(), [&](uint64_t number, size_t at, size_t from, size_t length) {
      Page& page = pages_[number];
      if (!page.durable) page.durable = std::make_unique<PageBytes>();
      std::memcpy(page.durable->data() + at, data.data() + from, length);
      for (auto& version : page.unsynced) std::memcpy(version->data() + at, data.data() + from, length);
      // Versions that differ from the device nowhere any more say nothing.
      if (!page.unsynced.empty() && *page.unsynced.back() == *page.durable) page.unsynced.clear();
    });
    size_ = std::max(size_, offset + data.size());
    durable_size_ = std::max(durable_size_, offset + data.size());
  }

  void truncate(uint64_t size) {
    if (size < size_) {
      const uint64_t first = size / kPage;
      for (auto it = pages_.lower_bound(first); it != pages_.end(); ++it) {
        const size_t keep = it->first == first ? size % kPage : 0;
        PageBytes& bytes = writable(it->first);
        std::memset(bytes.data() + keep, 0, kPage - keep);
      }
    }
    size_ = size;
    dirty_ = true;
  }

  void sync() {
    for (auto& [number, page] : pages_) {
      if (page.unsynced.empty()) continue;
      page.durable = std::move(page.unsynced.back());
      page.unsynced.clear();
    }
    durable_size_ = size_;
    dirty_ = false;
  }

  void crash(Random& random, const CrashOptions& options) {
    for (auto& [number, page] : pages_) {
      if (page.unsynced.empty()) continue;
      if (!page.durable) page.durable = std::make_unique<PageBytes>();
      const size_t unit = options.tear ? kSector : kPage;
      for (size_t at = 0; at < kPage; at += unit) {
        if (!random.chance(options.keep_data)) continue;
        const PageBytes& from = *page.unsynced[random.below(page.unsynced.size())];
        std::memcpy(page.durable->data() + at, from.data() + at, unit);
      }
      page.unsynced.clear();
    }
    if (size_ != durable_size_) {
      const uint64_t low = std::min(size_, durable_size_);
      const uint64_t high = std::max(size_, durable_size_);
      switch (random.below(3)) {
        case 0: size_ = durable_size_; break;
        case 1: break;
        default: size_ = random.between(low, high);
      }
      durable_size_ = size_;
    }
    dirty_ = false;
  }

  void flip_bit(uint64_t bit) {
    const auto mask = static_cast<char>(1u << (bit % 8));
    Page& page = pages_[bit / 8 / kPage];
    if (!page.durable) page.durable = std::make_unique<PageBytes>();
    (*page.durable)[bit / 8 % kPage] ^= mask;
    for (auto& version : page.unsynced) (*version)[bit / 8 % kPage] ^= mask;
  }

  void copy_from(const Content& other) {
    const auto same = [](const std::unique_ptr<PageBytes>& bytes) {
      return bytes ? std::make_unique<PageBytes>(*bytes) : nullptr;
    };
    pages_.clear();
    for (const auto& [number, page] : other.pages_) {
      Page& copy = pages_[number];
      copy.durable = same(page.durable);
      for (const auto& version : page.unsynced) copy.unsynced.push_back(same(version));
    }
    size_ = other.size_;
    durable_size_ = other.durable_size_;
    dirty_ = other.dirty_;
  }

 private:
  static constexpr size_t kVersionsMax = 4;

  template <class Visit>
  static void for_pages(uint64_t offset, size_t length, Visit visit) {
    size_t from = 0;
    while (from < length) {
      const size_t at = static_cast<size_t>((offset + from) % kPage);
      const size_t part = std::min(kPage - at, length - from);
      visit((offset + from) / kPage, at, from, part);
      from += part;
    }
  }
  const PageBytes* current(uint64_t number) const {
    const auto it = pages_.find(number);
    if (it == pages_.end()) return nullptr;
    return it->second.unsynced.empty() ? it->second.durable.get() : it->second.unsynced.back().get();
  }
  // A fresh unsynced version; the earlier ones stay, since the kernel may have written any of them.
  PageBytes& writable(uint64_t number) {
    Page& page = pages_[number];
    const PageBytes* old = page.unsynced.empty() ? page.durable.get() : page.unsynced.back().get();
    auto copy = std::make_unique<PageBytes>();
    if (old != nullptr) {
      *copy = *old;
    } else {
      copy->fill(0);
    }
    if (page.unsynced.size() == kVersionsMax) page.unsynced.erase(page.unsynced.begin());
    page.unsynced.push_back(std::move(copy));
    return *page.unsynced.back();
  }

  std::map<uint64_t, Page> pages_;
  uint64_t size_ = 0;
  uint64_t durable_size_ = 0;
  bool dirty_ = false;
};

}  // namespace cairn::storage::memory
