// Calls something before every call that changes files.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>

#include "storage/io/faulty_file_system.h"
#include "storage/io/memory_file_system.h"
#include "test/torture/history.h"

namespace cairn::storage::test {

inline void require(bool holds, const std::string& what) {
  if (!holds) throw HistoryFailed(what);
}

// A failure says of which history it is, and under which seed it happens again.
template <class Run>
void run_named(const std::string& history, uint64_t seed, Run run) {
  try {
    run();
  } catch (const HistoryFailed& failed) {
    throw HistoryFailed(history + " history, seed " + std::to_string(seed) + ": " + failed.what());
  }
}

inline bool changes_files(FileOp op) {
  switch (op) {
    case FileOp::kOpen:
    case FileOp::kWrite:
    case FileOp::kWriteDurable:
    case FileOp::kSync:
    case FileOp::kTruncate:
    case FileOp::kRename:
    case FileOp::kLink:
    case FileOp::kRemove:
    case FileOp::kSyncDir: return true;
    default: return false;
  }
}

// Cuts the power at each such call: `open_copy` gets the disk as one outcome left it and throws if the engine shows
// there what it must not. What survives is drawn from randomness of its own, so that the history stays the same with
// and without crash points.
class CrashPoints {
 public:
  CrashPoints(uint64_t seed, const HistoryOptions& options, HistoryCounts& counts)
      : random_(seed * 0x9e3779b97f4a7c15ull + 1), options_(options), counts_(counts) {}

  CrashPoints(const CrashPoints&) = delete;
  CrashPoints& operator=(const CrashPoints&) = delete;
  ~CrashPoints() {
    if (faulty_ != nullptr) faulty_->set_policy({});  // files may be changed after this
  }

  // `faulty` wraps `fs`; both outlive this.
  void watch(MemoryFileSystem& fs, FaultyFileSystem& faulty, std::function<void(const MemoryFileSystem&)> open_copy) {
    open_copy_ = std::move(open_copy);
    FaultPolicy policy;
    policy.fail = [this, &fs](FileOp op, const std::string& path) -> std::optional<Error> {
      if (!changes_files(op)) return std::nullopt;
      if (!power_) return Error{ErrorCode::kIoError, "the power is off"};
      if (armed_ && options_.outcomes != 0) cut(fs, path);
      return std::nullopt;
    };
    faulty_ = &faulty;
    faulty.set_policy(std::move(policy));
  }
  void arm(bool on) { armed_ = on; }
  // Off: what jobs of a process that has died would still do to files fails.
  void power(bool on) { power_ = on; }

 private:
  void cut(const MemoryFileSystem& fs, const std::string& path) {
    if (points_ == options_.crash_points_max) return;
    if (options_.crash_share < 1 && !random_.chance(options_.crash_share)) return;
    ++points_;
    ++counts_.crash_points;
    for (uint32_t n = 0; n < options_.outcomes; ++n) {
      ++counts_.outcomes;
      MemoryFileSystem copy;
      copy.copy_from(fs);
      // All or nothing at the ends, any mixture in between.
      const double keep[] = {0.0, 0.5, 1.0, 0.9};
      copy.crash(random_, {.keep_data = keep[random_.below(4)],
                           .keep_directory = keep[random_.below(4)],
                           .tear = random_.chance(0.7),
                           .reorder = random_.chance(0.7)});
      try {
        open_copy_(copy);
      } catch (const HistoryFailed& failed) {
        throw HistoryFailed("crash point " + std::to_string(points_) + " (" + path + "), outcome " + std::to_string(n) +
                            ": " + failed.what());
      }
    }
  }

  FaultyFileSystem* faulty_ = nullptr;  // watched
  SeededRandom random_;
  const HistoryOptions& options_;
  HistoryCounts& counts_;
  std::function<void(const MemoryFileSystem&)> open_copy_;
  uint64_t points_ = 0;
  bool armed_ = true, power_ = true;
};

}  // namespace cairn::storage::test
