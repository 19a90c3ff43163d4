#include "storage/snapshot_check.h"

#include <utility>
#include <vector>

#include "storage/file_hash.h"
#include "storage/store_impl.h"

namespace cairn::storage {

struct SnapshotCheck::State {
  std::vector<SnapshotTable> tables;
  size_t next = 0;
};

Result<void> check_snapshot_file(FileSystem& fs, const std::string& dir, const SnapshotFile& file) {
  const std::string path = join_path(dir, file.name);
  CAIRN_TRY(const auto opened, fs.open(path, OpenMode::kRead));
  CAIRN_TRY(const uint64_t bytes, opened->size());
  if (bytes != file.bytes) return corrupt(path, "has the wrong size");
  CAIRN_TRY(const uint64_t hash, hash_file(*opened));
  if (hash != file.hash) return corrupt(path, "differs from what was sent");
  return {};
}

SnapshotCheck::SnapshotCheck(FileSystem& fs, std::string dir, std::string manifest)
    : fs_(fs), dir_(std::move(dir)), manifest_(std::move(manifest)) {}

SnapshotCheck::~SnapshotCheck() = default;

Result<bool> SnapshotCheck::step() {
  if (!state_) {
    CAIRN_TRY(auto tables, decode_snapshot_manifest(manifest_));
    state_ = std::make_unique<State>(State{std::move(tables)});
    return true;
  }
  if (state_->next == state_->tables.size()) return false;
  const SnapshotTable& table = state_->tables[state_->next++];
  CAIRN_TRY_VOID(check_snapshot_file(fs_, dir_, table.file));
  CAIRN_TRY_VOID(open_table(fs_, join_path(dir_, table.file.name), table.info));
  return true;
}

}  // namespace cairn::storage
