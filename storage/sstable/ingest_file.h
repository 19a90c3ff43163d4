// Building a file for Tablet::ingest().
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "storage/sstable/sstable.h"

namespace cairn::storage {

// Builds one file for Tablet::ingest(). Thread safety: one thread at a time. Without finish(), and after an error, the
// file is worthless; it is the caller's to remove.
class IngestFile {
 public:
  // `path` does not exist yet. For linking it has to be on the file system of the tablet's files.
  static Result<std::unique_ptr<IngestFile>> create(FileSystem& fs, std::string path,
                                                    const SstableWriterOptions& options);
  // Keys ascend; kInvalidArgument otherwise.
  Result<void> put(std::string_view key, std::string_view value) { return add(key, value, OpKind::kPut); }
  Result<void> remove(std::string_view key) { return add(key, {}, OpKind::kDelete); }
  // Writes the rest and syncs it; its name in the directory is the caller's to sync. kInvalidArgument: there are no
  // rows.
  Result<void> finish();

 private:
  explicit IngestFile(std::unique_ptr<SstableWriter> writer) : writer_(std::move(writer)) {}
  Result<void> add(std::string_view key, std::string_view value, OpKind kind);

  std::unique_ptr<SstableWriter> writer_;
  std::string last_key_;
};

}  // namespace cairn::storage
