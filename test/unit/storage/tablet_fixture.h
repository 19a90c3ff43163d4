// A tablet store on a machine that a test drives, with a log that is durable when the test says so.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/assert.h"
#include "fakes.h"
#include "storage/io/faulty_file_system.h"
#include "storage/io/memory_file_system.h"
#include "storage/tablet.h"

namespace cairn::storage::test {

inline CompactionOptions small_compactions() {
  CompactionOptions options;
  options.stcs = {.min_threshold = 3, .min_run_bytes = 16 << 10, .table_bytes_max = 64 << 10};
  options.lcs = {.level0_runs = 2, .fan_out = 3, .base_bytes = 64 << 10, .table_bytes_max = 64 << 10};
  options.twcs = {.window_ms = 500, .grace_ms = 20, .open_runs_max = 4, .table_bytes_max = 64 << 10};
  options.ics.min_threshold = 3;
  options.ics.min_run_bytes = 8 << 10;
  options.ics.table_bytes_max = 64 << 10;
  options.tombstones = {.threshold = 0.3, .interval_ms = 1000};
  return options;
}

struct TabletFixture {
  explicit TabletFixture(uint64_t seed = 1) : faulty(fs), machine(seed) {}
  ~TabletFixture() {
    store.reset();
    faulty.set_policy({});  // which may look at what is gone by now
  }

  MemoryFileSystem fs;  // these two outlive the jobs that the machine still has
  FaultyFileSystem faulty;
  Machine machine;
  TabletStoreOptions options{.memtable_bytes = 32 << 10,
                             .memtable_budget_bytes = 256 << 10,
                             .block_cache_bytes = 64 << 10,
                             .block_bytes = 1 << 10,
                             .compaction = small_compactions(),
                             .io = {}};
  AsyncReader* reader = nullptr;  // null: the machine's background reads
  Executor* loop = nullptr;       // null: the machine's
  std::unique_ptr<TabletStore> store;
  std::optional<Error> fatal;
  std::vector<std::pair<RangeId, Error>> corruptions;
  bool log_always_durable = true;
  std::vector<std::pair<LogIndex, Task>> waiting;
  LogIndex log_durable;
  uint64_t flush_events = 0;
  std::function<bool()> make_room;  // asked when a flush finds no space

  Result<void> open() {
    store.reset();
    waiting.clear();
    auto opened =
        TabletStore::open({.fs = &faulty,
                           .background = &machine.background,
                           .loop = loop != nullptr ? loop : &machine.loop,
                           .clock = &machine.clock,
                           .reader = reader,
                           .wait_log_durable =
                               [this](RangeId, LogIndex index, Task task) {
                                 if (log_always_durable || index <= log_durable) return task();
                                 waiting.emplace_back(index, std::move(task));
                               },
                           .on_no_space = [this] { return make_room && make_room(); },
                           .on_flushed = [this](RangeId) { ++flush_events; },
                           .on_corruption = [this](RangeId r, const Error& e) { corruptions.emplace_back(r, e); },
                           .on_fatal = [this](const Error& e) { fatal = e; }},
                          "/data/shard-1", "/data/sst", "/data/snap", options);
    if (!opened) return opened.error();
    store = std::move(*opened);
    return {};
  }
  void log_reaches(LogIndex index) {
    log_durable = std::max(log_durable, index);
    auto tasks = std::move(waiting);
    waiting.clear();
    for (auto& [at, task] : tasks) {
      if (at <= log_durable) {
        task();
      } else {
        waiting.emplace_back(at, std::move(task));
      }
    }
  }
  Tablet* tablet(uint64_t range = 1) {
    auto made = store->create({range});
    return made ? *made : nullptr;
  }
  // Runs the machine until `fetch` has answered.
  Result<FetchResult> fetch(Tablet* tablet, FetchRequest request) {
    std::optional<Result<FetchResult>> answer;
    tablet->fetch(std::move(request), [&](Result<FetchResult> r) { answer = std::move(r); });
    while (!answer && machine.step()) {
    }
    if (!answer) return Error{ErrorCode::kUnavailable, "no answer"};
    return std::move(*answer);
  }
  // Through memory if possible, otherwise from disk.
  std::optional<std::string> read(Tablet* tablet, std::string_view key) {
    const Lookup found = tablet->get(key);
    if (found.state == Lookup::State::kFound) return std::string(found.value);
    if (found.state == Lookup::State::kAbsent) return std::nullopt;
    FetchRequest request;
    request.rows = {std::string(key)};
    auto rows = fetch(tablet, std::move(request));
    if (!rows) return "<" + to_string(rows.error()) + ">";
    return rows->rows[0];
  }
  std::map<std::string, std::string> everything(Tablet* tablet) {
    std::map<std::string, std::string> rows;
    FetchRequest request;
    request.prefixes.push_back({});
    auto result = fetch(tablet, std::move(request));
    if (!result) return {{"error", to_string(result.error())}};
    for (auto& [key, value] : result->prefixes[0]) rows.emplace(key, value);
    return rows;
  }
};

inline AppliedPosition at(uint64_t index) { return {{index}, {1}, index * 10, index * 2}; }

inline void put(Tablet* tablet, uint64_t index, std::string_view key, std::string_view value) {
  WriteBatch batch;
  batch.put(key, value);
  (void)tablet->apply(at(index), batch.bytes());
}

inline void remove(Tablet* tablet, uint64_t index, std::string_view key) {
  WriteBatch batch;
  batch.remove(key);
  CAIRN_ASSERT(bool(tablet->apply(at(index), batch.bytes())));
}

// Calls for which `when` holds fail.
inline FaultPolicy failing(std::function<bool(FileOp op, const std::string& path)> when,
                           ErrorCode code = ErrorCode::kIoError) {
  FaultPolicy policy;
  policy.fail = [when = std::move(when), code](FileOp op, const std::string& path) -> std::optional<Error> {
    if (when(op, path)) return Error{code, "planned: " + path};
    return std::nullopt;
  };
  return policy;
}

}  // namespace cairn::storage::test
