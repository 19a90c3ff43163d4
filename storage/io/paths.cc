#include "storage/io/file_system.h"

namespace cairn::storage {

std::string join_path(std::string_view dir, std::string_view name) {
  std::string path(dir);
  if (!path.empty() && path.back() != '/') path.push_back('/');
  path.append(name);
  return path;
}

std::string parent_dir(std::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return slash == 0 ? "/" : std::string(path.substr(0, slash));
}

Result<std::string> read_file(FileSystem& fs, const std::string& path) {
  CAIRN_TRY(auto file, fs.open(path, OpenMode::kRead));
  CAIRN_TRY(const uint64_t size, file->size());
  std::string content(size, '\0');
  CAIRN_TRY(const size_t got, file->read_at(0, content));
  // Taken for the whole file, the part would be a log that ends early: what was synced would be overwritten.
  if (got != size) {
    return Error{ErrorCode::kIoError,
                 path + ": " + std::to_string(got) + " of " + std::to_string(size) + " bytes could be read"};
  }
  return content;
}

Result<void> write_file_atomic(FileSystem& fs, const std::string& path, std::string_view content) {
  const std::string temporary = path + ".tmp";
  CAIRN_TRY(const bool stale, fs.exists(temporary));
  if (stale) CAIRN_TRY_VOID(fs.remove(temporary));
  CAIRN_TRY(auto file, fs.open(temporary, OpenMode::kCreateNew));
  CAIRN_TRY_VOID(file->write_at(0, content));
  CAIRN_TRY_VOID(file->sync());
  CAIRN_TRY_VOID(fs.rename(temporary, path));
  return fs.sync_dir(parent_dir(path));
}

Result<void> remove_tree(FileSystem& fs, const std::string& dir) {
  CAIRN_TRY(const bool there, fs.exists(dir));
  if (!there) return {};
  CAIRN_TRY(const auto names, fs.list(dir));
  for (const auto& name : names) {
    const std::string path = join_path(dir, name);
    if (fs.remove(path)) continue;  // a file or an empty directory
    CAIRN_TRY_VOID(remove_tree(fs, path));
  }
  return fs.remove(dir);
}

}  // namespace cairn::storage
