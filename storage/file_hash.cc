#include "storage/file_hash.h"

#include <xxhash.h>

#include <string>

namespace cairn::storage {
namespace {
constexpr size_t kReadBytes = 256u << 10;  // at once
}  // namespace

struct FileHash::State {
  XXH3_state_t* xxh = XXH3_createState();
  State() { XXH3_64bits_reset(xxh); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { XXH3_freeState(xxh); }
};

FileHash::FileHash() : state_(std::make_unique<State>()) {}

FileHash::~FileHash() = default;

void FileHash::update(std::string_view bytes) { XXH3_64bits_update(state_->xxh, bytes.data(), bytes.size()); }

uint64_t FileHash::digest() const { return XXH3_64bits_digest(state_->xxh); }

Result<uint64_t> hash_file(const File& file) {
  FileHash hash;
  std::string part(kReadBytes, '\0');
  for (uint64_t at = 0;;) {
    CAIRN_TRY(const size_t got, file.read_at(at, part));
    if (got == 0) break;
    hash.update(std::string_view(part).substr(0, got));
    at += got;
  }
  return hash.digest();
}

}  // namespace cairn::storage
