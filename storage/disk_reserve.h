// Space that is kept back on the disk, so that a full one can be left again: flushes and compactions need some before
// they give any back.
#pragma once

#include <cstdint>
#include <string>

#include "storage/io/file_system.h"

namespace cairn::storage {

// A file of zeros nobody reads. Thread safety: none; the loop. Each call takes a system call or two. `fs` outlives
// this.
class DiskReserve {
 public:
  // `path`: of the file. `bytes`: to keep back, but at most a hundredth of what is free when the file is made; 0: none.
  DiskReserve(FileSystem& fs, std::string path, uint64_t bytes);

  // Makes the file or takes over the one that is there. On a disk that is full already that one is given up at once,
  // since starting needs space too. Before anything else writes.
  Result<void> start();
  // Something has found no space. True: there is some now, for those who finish what is in memory.
  bool release();
  // Takes back what was given up once there is room for it twice. Call now and then while it is not held.
  void check();

  // False: the disk is full; no new writes.
  bool held() const { return held_; }
  uint64_t bytes() const { return held_ ? bytes_ : 0; }  // kept back now

 private:
  bool take(uint64_t bytes);

  FileSystem& fs_;
  std::string path_;
  uint64_t wanted_;
  uint64_t bytes_ = 0;
  bool held_ = true;
};

}  // namespace cairn::storage
