#include "storage/version/manifest.h"

#include <algorithm>
#include <cstdio>
#include <functional>

#include "base/checksum.h"
#include "storage/sstable/format.h"

namespace cairn::storage {
namespace {

constexpr uint64_t kMagic = 0x4E414D4E52494143ull;  // "CAIRNMAN"
constexpr uint32_t kVersion = 1;
constexpr uint32_t kIncompatibleKnown = kManifestFeaturesKnown;
constexpr size_t kRecordHeader = 16;
constexpr uint64_t kRollBytes = 4u << 20;  // and ten times the last snapshot

// Record: length u32 | crc32c u32 of the rest | number u64 | payload. Numbers are dense from 0 in each file.
std::string encode_record(uint64_t number, std::string_view payload) {
  std::string body;
  put_u64(body, number);
  body.append(payload);
  std::string out;
  put_u32(out, static_cast<uint32_t>(payload.size()));
  put_u32(out, crc32c(body));
  return out + body;
}

std::optional<std::string_view> record_at(std::string_view bytes, size_t at, uint64_t number) {
  if (at + kRecordHeader > bytes.size()) return std::nullopt;
  const auto length = get_fixed<uint32_t>(bytes.data() + at);
  if (length > bytes.size() - at - kRecordHeader || get_fixed<uint64_t>(bytes.data() + at + 8) != number)
    return std::nullopt;
  if (get_fixed<uint32_t>(bytes.data() + at + 4) != crc32c(bytes.substr(at + 8, 8 + length))) return std::nullopt;
  return bytes.substr(at + kRecordHeader, length);
}

std::string header_payload(uint32_t features) {
  std::string out;
  put_u64(out, kMagic);
  put_u32(out, kVersion);
  put_u32(out, features);
  put_u32(out, 0);  // compatible features
  return out;
}

// Calls `visit` for every edit. A bad record with a good later one behind it is corruption; a bad tail is
// none: the edit was not acknowledged. Returns the number of bytes of that tail.
Result<size_t> read_records(std::string_view bytes, const std::string& path,
                            const std::function<Result<void>(const std::vector<TabletEdit>&)>& visit) {
  size_t at = 0;
  uint64_t number = 0;
  for (; at < bytes.size(); ++number) {
    const auto payload = record_at(bytes, at, number);
    if (!payload) break;
    at += kRecordHeader + payload->size();
    if (number == 0) {
      Decoder in(*payload);
      if (in.u64() != kMagic) return corrupt(path, "not a manifest: bad magic number");
      const uint32_t version = in.u32();
      const uint32_t incompatible = in.u32();
      if (version != kVersion || (incompatible & ~kIncompatibleKnown) != 0) {
        return Error{ErrorCode::kUnsupported, path + ": version " + std::to_string(version)};
      }
      continue;
    }
    const auto edits = decode_edits(*payload);
    if (!edits) return corrupt(path, "malformed edit " + std::to_string(number));
    CAIRN_TRY_VOID(visit(*edits));
  }
  for (size_t later = at + 1; later + kRecordHeader <= bytes.size(); ++later) {
    const auto found = get_fixed<uint64_t>(bytes.data() + later + 8);
    if (found < number || found > number + bytes.size() / kRecordHeader) continue;
    if (record_at(bytes, later, found)) {
      return corrupt(path, "record " + std::to_string(number) + " at offset " + std::to_string(at) + " is damaged");
    }
  }
  return bytes.size() - at;
}

}  // namespace

Result<std::unique_ptr<Manifest>> Manifest::open(FileSystem& fs, const std::string& dir) {
  auto manifest = std::unique_ptr<Manifest>(new Manifest(fs, dir));
  CAIRN_TRY_VOID(fs.create_dirs(dir));
  CAIRN_TRY_VOID(manifest->load());
  CAIRN_TRY_VOID(manifest->roll());
  return manifest;
}

Result<void> Manifest::load() {
  CAIRN_TRY(const auto names, fs_.list(dir_));
  for (const auto& name : names) {
    unsigned long long number = 0;
    if (std::sscanf(name.c_str(), "MANIFEST-%llu", &number) == 1)
      file_number_ = std::max<uint64_t>(file_number_, number);
  }
  const std::string current_path = join_path(dir_, "CURRENT");
  CAIRN_TRY(const bool there, fs_.exists(current_path));
  if (!there) return {};
  CAIRN_TRY(std::string name, read_file(fs_, current_path));
  while (!name.empty() && name.back() == '\n') name.pop_back();
  if (!name.starts_with("MANIFEST-") || name.find('/') != std::string::npos)
    return corrupt(current_path, "names no manifest");
  file_name_ = name;
  const std::string path = join_path(dir_, name);
  auto bytes = read_file(fs_, path);
  if (!bytes && bytes.error().code == ErrorCode::kNotFound) return corrupt(path, "is missing though CURRENT names it");
  if (!bytes) return std::move(bytes).error();
  auto tail = read_records(*bytes, path, [&](const std::vector<TabletEdit>& edits) -> Result<void> {
    if (!state_.apply(edits)) return corrupt(path, "an edit does not fit the ones before it");
    return {};
  });
  if (!tail) return std::move(tail).error();
  if (*tail == bytes->size()) return corrupt(path, "has no header");
  last_life_ = state_.last_life;
  return {};
}

// A fresh file with the whole state in it; then CURRENT; then the old file goes. Features are declared only where they
// are used, so that earlier binaries open what they can.
Result<void> Manifest::roll(uint32_t features) {
  for (const auto& [life, tablet] : state_.tablets) {
    for (const auto& [id, info] : tablet.tables) features |= features_of(info);
  }
  const uint64_t number = ++file_number_;
  char name[40];
  std::snprintf(name, sizeof name, "MANIFEST-%010llu", static_cast<unsigned long long>(number));
  const std::string path = join_path(dir_, name);
  std::string bytes = encode_record(0, header_payload(features));
  next_record_ = 1;
  for (const auto& [life, tablet] : state_.tablets) {
    bytes += encode_record(next_record_++, encode_edits({state_.snapshot(life)}));
  }
  CAIRN_TRY(auto file, fs_.open(path, OpenMode::kCreateNew));
  CAIRN_TRY_VOID(file->write_at(0, bytes));
  CAIRN_TRY_VOID(file->sync());
  CAIRN_TRY_VOID(fs_.sync_dir(dir_));
  CAIRN_TRY_VOID(write_file_atomic(fs_, join_path(dir_, "CURRENT"), std::string(name) + "\n"));
  if (!file_name_.empty()) (void)fs_.remove(join_path(dir_, file_name_));  // of no use any more, harmless if it stays
  file_ = std::move(file);
  file_name_ = name;
  file_bytes_ = snapshot_bytes_ = bytes.size();
  features_ = features;
  return {};
}

Result<bool> Manifest::commit(const std::vector<TabletEdit>& edits) {
  const std::lock_guard lock(mutex_);
  if (broken_) return *broken_;
  if (!state_.fits(edits) || taken(edits)) return false;
  uint32_t features = 0;  // that the file must declare before it may have the edits
  for (const TabletEdit& edit : edits) {
    if (!edit.trimmed.empty()) features |= kFeatureTrimmed;
    if (!edit.bounded.empty()) features |= kFeatureBounded;
    if (!edit.ingested.empty()) features |= kFeatureIngested;
  }
  if ((features & ~features_) != 0) {
    if (auto rolled = roll(features); !rolled) {
      if (rolled.error().code != ErrorCode::kNoSpace) broken_ = rolled.error();
      return with_context(std::move(rolled).error(), "rolling the manifest");
    }
  }
  const std::string record = encode_record(next_record_, encode_edits(edits));
  auto written = file_->write_at(file_bytes_, record);
  if (!written && written.error().code == ErrorCode::kNoSpace && file_->truncate(file_bytes_)) {
    return with_context(std::move(written).error(), "manifest");
  }
  if (written) written = file_->sync();
  if (!written) {
    broken_ = with_context(std::move(written).error(), "manifest");
    return *broken_;
  }
  (void)state_.apply(edits);  // it fits
  file_bytes_ += record.size();
  ++next_record_;
  if (file_bytes_ > std::max(kRollBytes, 10 * snapshot_bytes_)) {
    auto rolled = roll();
    // Without space the old file simply goes on. CURRENT may or may not have switched after any other
    // failure.
    if (!rolled && rolled.error().code != ErrorCode::kNoSpace) {
      broken_ = with_context(std::move(rolled).error(), "rolling the manifest");
      return *broken_;
    }
  }
  return true;
}

// Is there a range that would have two tablets?
bool Manifest::taken(const std::vector<TabletEdit>& edits) const {
  const auto dropped = [&](uint64_t life) {
    return std::ranges::any_of(edits, [&](const TabletEdit& edit) { return edit.dropped && edit.life == life; });
  };
  return std::ranges::any_of(edits, [&](const TabletEdit& edit) {
    return edit.created && std::ranges::any_of(state_.tablets, [&](const auto& tablet) {
             return tablet.second.range == *edit.created && !dropped(tablet.first);
           });
  });
}

bool Manifest::has(uint64_t life) const {
  const std::lock_guard lock(mutex_);
  return state_.tablets.contains(life);
}

std::vector<TabletEdit> Manifest::drops_of(RangeId range) const {
  const std::lock_guard lock(mutex_);
  std::vector<TabletEdit> edits;
  for (const auto& [life, tablet] : state_.tablets) {
    if (tablet.range != range) continue;
    TabletEdit& drop = edits.emplace_back();
    drop.life = life;
    drop.dropped = true;
  }
  return edits;
}

ManifestState Manifest::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

uint64_t Manifest::new_life() {
  const std::lock_guard lock(mutex_);
  return ++last_life_;
}

Result<std::string> dump_manifest(FileSystem& fs, const std::string& path) {
  CAIRN_TRY(const std::string bytes, read_file(fs, path));
  std::string out;
  uint64_t number = 0;
  auto tail = read_records(bytes, path, [&](const std::vector<TabletEdit>& edits) -> Result<void> {
    out += "edit " + std::to_string(++number) + "\n";
    for (const auto& edit : edits) out += "  " + describe(edit) + "\n";
    return {};
  });
  if (!tail) {
    out += "damage: " + tail.error().message + "\n";
  } else if (*tail > 0) {
    out += "torn tail of " + std::to_string(*tail) + " bytes\n";
  }
  return out;
}

}  // namespace cairn::storage
