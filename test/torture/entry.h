// What a history's log holds: operations, or files that are taken in as one entry.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "storage/sstable/ingest_file.h"
#include "test/torture/crash_points.h"
#include "test/torture/model.h"

namespace cairn::storage::test {

inline constexpr const char* kOutsideDir = "/outside";  // of files that were built outside of any tablet

struct Entry {
  std::string operations;
  std::vector<std::string> files;  // paths; none: the operations count
};

// What both histories of tablets draw first; `log_lags`: sometimes flushes wait for the log. In this order: seeds that
// once found something draw the same for ever.
inline void draw_options(TabletFixture& f, bool log_lags, uint64_t memtable_bytes_max) {
  Random& random = f.machine.random;
  f.options.compaction = some_compactions(random);
  f.fs.set_cold(random.chance(0.5));  // half of the time the kernel holds nothing
  if (log_lags) f.log_always_durable = random.chance(0.3);
  f.options.compression = kCompressions[random.below(std::size(kCompressions))];
  f.options.io.rate_min = f.options.io.rate_max = 1ull << 40;  // time stands still here: nothing would be earned
  f.options.block_bytes = static_cast<uint32_t>(random.between(64, 2000));
  f.options.memtable_bytes = random.between(2'000, memtable_bytes_max);
}

using Changes = std::map<std::string, std::optional<std::string>>;  // nullopt: a deletion

// `holds`: is the key one of the tablet's? May be empty.
template <class Holds>
Changes random_changes(Random& random, Holds holds) {
  Changes changes;
  for (uint64_t n = random.between(1, random.chance(0.3) ? 60 : 6); n > 0; --n) {
    const std::string key = some_key(random);
    const bool put = random.chance(0.75);
    std::string value(random.below(200), static_cast<char>('A' + random.below(26)));
    if (holds(key)) changes[key] = put ? std::optional(std::move(value)) : std::nullopt;
  }
  return changes;
}

inline void change_model(Model& model, const Changes& changes) {
  for (const auto& [key, value] : changes) {
    if (value) {
      model[key] = *value;
    } else {
      model.erase(key);
    }
  }
}

// Up to three files that do not overlap, durable with their names, as whoever writes the entry must have them.
// `number` counts files.
inline std::vector<std::string> build_files(FileSystem& fs, Random& random, const Changes& changes, uint64_t& number) {
  SstableWriterOptions options;
  options.block_bytes = static_cast<uint32_t>(random.between(64, 2000));
  options.compression = kCompressions[random.below(std::size(kCompressions))];
  std::vector<std::string> paths;
  std::unique_ptr<IngestFile> file;
  const auto finish = [&] { require(bool(file->finish()), "a file cannot be finished"); };
  require(bool(fs.create_dirs(kOutsideDir)), "no directory for files");
  for (const auto& [key, value] : changes) {
    if (!file || (paths.size() < 3 && random.chance(0.1))) {
      if (file) finish();
      paths.push_back(std::string(kOutsideDir) + "/" + std::to_string(++number));
      auto made = IngestFile::create(fs, paths.back(), options);
      require(bool(made), "a file cannot be made");
      file = std::move(*made);
    }
    require(bool(value ? file->put(key, *value) : file->remove(key)), "a row is refused");
  }
  finish();
  require(bool(fs.sync_dir(kOutsideDir)), "a directory cannot be synced");
  return paths;
}

// The entry at `index`, once more or for the first time, as a node replays its log.
inline void replay_entry(TabletFixture& f, Tablet* tablet, uint64_t index, const Entry& entry) {
  if (entry.files.empty()) return require(bool(tablet->apply(at(index), entry.operations)), "replay is refused");
  std::optional<Result<void>> done;
  tablet->ingest(at(index), entry.files, [&](Result<void> result) { done = std::move(result); });
  while (!done) require(f.machine.step(), "files that are taken in again never come");
  require(bool(*done), "files are not taken in again: " + (*done ? "" : to_string(done->error())));
  require(tablet->applied().index.value >= index, "files were taken in, and the position stays");
}

}  // namespace cairn::storage::test
