// Reads a whole SSTable from the device and checks it, in slices.
#pragma once

#include <cstdint>
#include <memory>

#include "storage/sstable/sstable.h"

namespace cairn::storage {

// Thread safety: one thread at a time. The file stays as long as this lives.
class TableScrub {
 public:
  TableScrub(FileSystem& fs, std::shared_ptr<const Sstable> table) : fs_(fs), table_(std::move(table)) {}

  // The first slice reads everything but the rows, the others about 256 KiB of these. True while more remains.
  // kCorruption: a checksum is wrong, or rows are missing. After any other error the same slice may be tried again.
  Result<bool> step();
  bool opened() const { return copy_ != nullptr; }
  uint64_t bytes_read() const { return bytes_read_; }  // of the file, whatever had to be read twice counts once
  const std::shared_ptr<const Sstable>& table() const { return table_; }

 private:
  Result<void> open();
  Result<void> read_blocks();

  FileSystem& fs_;
  std::shared_ptr<const Sstable> table_;
  std::shared_ptr<Sstable> copy_;  // the same file, through no cache
  ReadAhead ahead_;
  uint32_t next_block_ = 0;
  uint64_t rows_ = 0;
  uint64_t bytes_read_ = 0;
};

}  // namespace cairn::storage
