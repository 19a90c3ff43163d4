// What `cairn-bench engine` drives: one embedded engine, open on one directory.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "storage/compaction/options.h"
#include "storage/compression.h"

namespace cairn::bench {

enum class LogMode : uint8_t {
  kWritten,  // put() returns once the bytes of its log record have reached write(2)
  kDurable,  // ... once they are durable
};

// The same for every engine; the rest are its own defaults, but for 10 filter bits per key and one thread for
// compactions.
struct TargetOptions {
  std::string dir;
  uint64_t cache_bytes = 0;
  uint64_t memtable_bytes = 0;  // of one memtable; a second one may fill while the first is written out
  LogMode log = LogMode::kWritten;
  storage::StrategyKind strategy = storage::kDefaultStrategy;       // Cairn's
  storage::Compression compression = storage::kDefaultCompression;  // Cairn's
  bool uring = true;                                                // Cairn's reads of blocks; else on threads
  bool polled_reads = true;                                         // Cairn's of what the kernel has: PolledReads
  uint64_t block_bytes = 0;                                         // Cairn's; 0: as the daemon has it
};

using RowVisit = std::function<bool(std::string_view key, std::string_view value)>;  // false: enough

// Errors: std::runtime_error. Thread safety: one thread, but for put_from_client() and where has_threads().
class EngineTarget {
 public:
  virtual ~EngineTarget() = default;
  virtual void put(std::string_view key, std::string_view value) = 0;
  virtual void remove(std::string_view key) = 0;
  virtual std::optional<std::string_view> get(std::string_view key) = 0;  // the view is valid until the next call
  // The first `rows_max` rows from `from` on, in key order.
  virtual void scan(std::string_view from, uint64_t rows_max, const RowVisit& visit) = 0;
  // All rows in descending order; false: the engine cannot.
  virtual bool scan_back(const RowVisit& visit) = 0;

  // With LogMode::kDurable: any number of clients' threads, while the owner's thread is in serve_until().
  virtual void put_from_client(std::string_view key, std::string_view value) = 0;
  virtual void serve_until(const std::atomic<bool>& done) { done.wait(false); }

  // From now on; false: the engine has no strategies to choose from.
  virtual bool set_strategy(storage::StrategyKind) { return false; }

  // The longest that a put was made to wait since the last call, by the engine itself and not by the machine; 0: it was
  // not, or the engine does not tell.
  virtual Duration longest_wait() { return 0; }

  virtual bool has_threads() const { return true; }  // any thread may call anything
  virtual void flush() = 0;                          // starts to write the memtable out
  virtual bool busy() = 0;  // background work is known to be pending; the owner calls it again and again
};

struct EngineKind {
  std::string name;     // "cairn", "rocksdb", "leveldb"
  std::string version;  // and compression, for people
  std::unique_ptr<EngineTarget> (*open)(const TargetOptions& options);
};
// Those that this binary was built with, Cairn first.
const std::vector<EngineKind>& engine_kinds();
EngineKind cairn_kind();
EngineKind rocksdb_kind();
EngineKind leveldb_kind();

}  // namespace cairn::bench
