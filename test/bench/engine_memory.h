// A bound on what one process may use of memory, the page cache of its files included.
#pragma once

#include <cstdint>
#include <string>

namespace cairn::bench {

// Through the memory controller of control groups, version 1 or 2. Needs root and a mounted controller.
class MemoryBound {
 public:
  explicit MemoryBound(uint64_t bytes);
  ~MemoryBound();
  MemoryBound(const MemoryBound&) = delete;
  MemoryBound& operator=(const MemoryBound&) = delete;
  bool works() const { return !group_.empty(); }
  void join() const;  // the calling process, with what it uses from now on. Throws std::runtime_error

 private:
  std::string group_;
};

// Takes the files below `dir` out of the page cache: who reads them next is charged for it.
void drop_from_page_cache(const std::string& dir);

}  // namespace cairn::bench
