#include "storage/sstable/ingest_file.h"

#include "base/checksum.h"

namespace cairn::storage {
namespace {
constexpr uint64_t kUnstamped = 1;  // sequence of the rows in the file: they get another one when it is taken in
}

Result<std::unique_ptr<IngestFile>> IngestFile::create(FileSystem& fs, std::string path,
                                                       const SstableWriterOptions& options) {
  const uint64_t seed = hash64(path);  // of the checksums: blocks of another file would be noticed
  CAIRN_TRY(auto writer, SstableWriter::create(fs, path, seed, options));
  return std::unique_ptr<IngestFile>(new IngestFile(std::move(writer)));
}

Result<void> IngestFile::add(std::string_view key, std::string_view value, OpKind kind) {
  if (writer_->rows() > 0 && key <= last_key_) return Error{ErrorCode::kInvalidArgument, "keys of a file ascend"};
  last_key_ = key;
  return writer_->add({.key = key, .value = value, .kind = kind, .sequence = kUnstamped, .time_ms = 0});
}

Result<void> IngestFile::finish() {
  if (writer_->empty()) return Error{ErrorCode::kInvalidArgument, "a file without rows cannot be taken in"};
  CAIRN_TRY_VOID(writer_->finish(0, 0));
  return {};
}

}  // namespace cairn::storage
