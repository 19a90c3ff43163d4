#include <cstdio>
#include <deque>

#include "server/runtime/background_pool.h"
#include "server/runtime/polled_reads.h"
#include "server/runtime/uring_reads.h"
#include "storage/io/real_file_system.h"
#include "storage/log/shared_log.h"
#include "storage/tablet.h"
#include "test/bench/engine_log.h"
#include "test/bench/engine_loop.h"
#include "test/bench/engine_target.h"

namespace cairn::bench {
namespace {

using namespace storage;

constexpr RangeId kRange{1};
constexpr uint64_t kPageRows = 1000;  // of a scan
constexpr uint64_t kHotRowsShare = 16;

void check(const Result<void>& result) {
  if (!result) throw std::runtime_error("cairn: " + to_string(result.error()));
}
template <class T>
T checked(Result<T> result) {
  if (!result) throw std::runtime_error("cairn: " + to_string(result.error()));
  return std::move(*result);
}

// One tablet of one store. The client is the loop's thread, as a session's commands are in the daemon: memory first,
// and where it does not hold what is asked for, a fetch in the background.
class CairnTarget final : public EngineTarget {
 public:
  explicit CairnTarget(const TargetOptions& options) : options_(options), fs_(make_real_file_system()) {
    check(fs_->create_dirs(path("log")));
    TabletStoreOptions o;
    o.memtable_bytes = options.memtable_bytes;
    o.memtable_budget_bytes = memory_max();                 // held here: see put()
    o.hot_row_bytes = options.cache_bytes / kHotRowsShare;  // of the bytes that all have
    o.block_cache_bytes = options.cache_bytes - o.hot_row_bytes;
    o.strategy = options.strategy;
    o.compression = options.compression;
    if (options.block_bytes > 0) o.block_bytes = static_cast<uint32_t>(options.block_bytes);
    TabletStore::Environment env;
    env.fs = fs_.get();
    env.background = &background_;
    env.loop = &loop_;
    env.clock = &clock_;
    if (options.uring) uring_ = server::UringReads::create(loop_, thread_reader_);
    env.reader = uring_.get();
    if (options.polled_reads) env.cached_reader = &polled_reads_;
    env.wait_log_durable = [this](RangeId, LogIndex, Task written) { loop_.post(std::move(written)); };
    env.on_flushed = [this](RangeId) { flushed(); };
    env.on_corruption = [this](RangeId, const Error& error) { fail(error); };
    env.on_fatal = [this](const Error& error) { fail(error); };
    store_ = checked(TabletStore::open(env, path("shard-0"), path("sst"), path("snap"), o));
    check(store_->collect_garbage());
    tablet_ = checked(store_->create(kRange));
    last_index_ = tablet_->applied().index;
    if (options.log == LogMode::kDurable) {
      open_shared_log();
    } else {
      // Whatever was written before was flushed before the engine was closed.
      for (const std::string& name : checked(fs_->list(path("log")))) check(fs_->remove(join_path(path("log"), name)));
      written_log_ = std::make_unique<WrittenLog>(*fs_, loop_, background_, path("log"));
    }
  }
  ~CairnTarget() override {
    background_.stop();
    loop_.run_ready();
  }

  void put(std::string_view key, std::string_view value) override {
    batch_.reset();
    batch_.put(key, value);
    write();
  }
  void remove(std::string_view key) override {
    batch_.reset();
    batch_.remove(key);
    write();
  }

  std::optional<std::string_view> get(std::string_view key) override {
    loop_.run_ready();
    found_ = tablet_->get(key);
    if (found_.state == Lookup::State::kNeedsDisk) return fetch_row(key);
    return found_.state == Lookup::State::kFound ? std::optional(found_.value) : std::nullopt;
  }

  void scan(std::string_view from, uint64_t rows_max, const RowVisit& visit) override {
    RowPage page;
    page.start_after = from;
    page.start_included = true;
    scan_pages(page, rows_max, visit);
  }
  bool scan_back(const RowVisit& visit) override {
    RowPage page;
    page.reverse = true;
    scan_pages(page, ~0ull, visit);
    return true;
  }

  void put_from_client(std::string_view key, std::string_view value) override {
    // Not std::atomic::wait(): it yields the processor again and again before it sleeps.
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
    loop_.post([&] {
      batch_.reset();
      batch_.put(key, value);
      append_shared([&] {
        const std::lock_guard lock(mutex);
        done = true;
        changed.notify_one();
      });
    });
    std::unique_lock lock(mutex);
    changed.wait(lock, [&done] { return done; });
  }
  void serve_until(const std::atomic<bool>& done) override {
    while (!done.load()) {
      if (!loop_.wait(kMillisecond)) continue;
      while (loop_.run_ready()) {
      }
      shared_log_->flush();  // the end of a turn
      check_failure();
    }
  }

  bool set_strategy(StrategyKind kind) override {
    store_->set_strategy(kind);
    return true;
  }
  Duration longest_wait() override { return std::exchange(longest_wait_, 0); }
  bool has_threads() const override { return false; }
  void flush() override { tablet_->flush(); }
  bool busy() override {
    while (loop_.run_ready()) {
    }
    return !background_.idle() || !loop_.idle();
  }

 private:
  struct Waiting {  // for the log
    LogPosition end;
    AppliedPosition position;
    std::string batch;
    Task done;
  };

  void scan_pages(RowPage& page, uint64_t rows_max, const RowVisit& visit) {
    bool wanted = true;
    uint64_t rows = 0, before = 0;
    const auto take = [&](std::string_view key, std::string_view value) {
      page.start_after = key;
      page.start_included = false;
      ++rows;
      return wanted = visit(key, value);
    };
    do {
      loop_.run_ready();
      before = rows;
      page.rows_max = std::min(rows_max - rows, kPageRows);
      if (!tablet_->scan(page, take) && wanted) {
        before = rows;
        page.rows_max = std::min(rows_max - rows, kPageRows);
        for (const auto& [key, value] : fetch_page(page)) {
          if (!take(key, value)) break;
        }
      }
    } while (wanted && rows > before && rows < rows_max);
  }

  std::string path(const char* name) const { return join_path(options_.dir, name); }
  // Two memtables, as the others have them: one that fills while one is written out.
  uint64_t memory_max() const { return 2 * options_.memtable_bytes; }
  void fail(const Error& error) {
    if (failure_.empty()) failure_ = to_string(error);
  }
  void check_failure() const {
    if (!failure_.empty()) throw std::runtime_error("cairn: " + failure_);
  }

  AppliedPosition next_position() {
    last_index_ = last_index_.next();
    return {last_index_, {1}, clock_.wall_ms(), 0};
  }

  void write() {
    loop_.run_ready();
    check_failure();
    keep_pace();
    if (store_->memtable_bytes() >= memory_max()) wait_while([this] { return lacks_memory() ? kMillisecond : 0; });
    if (shared_log_) {
      bool done = false;
      append_shared([&done] { done = true; });
      shared_log_->flush();
      while (!done) loop_.wait(kMillisecond);
      return;
    }
    const AppliedPosition position = next_position();
    check(written_log_->append(position.index.value, position.time_ms, batch_.bytes()));
    check(tablet_->apply(position, batch_.bytes()));
  }

  // The client does less while a flush lags, as the leader of the daemon lets through less.
  void keep_pace() {
    constexpr int kTogether = 16;  // puts: the clock is not for nothing
    unpaced_bytes_ += batch_.bytes().size() + WritePacer::kRowBytes;
    if (++unpaced_ < kTogether) return;
    unpaced_ = 0;
    const uint64_t bytes = std::exchange(unpaced_bytes_, 0);
    const double delay = delay_ns_per_byte();
    if (delay <= 0) return;
    pacer_.wrote(bytes, delay, clock_.now());
    wait_while([this] { return pacer_.wait(delay_ns_per_byte(), clock_.now()); });
  }
  bool lacks_memory() { return store_->memtable_bytes() >= memory_max() && !background_.idle(); }
  // `rest`: how long still, as far as is known; 0: no longer.
  template <class Rest>
  void wait_while(Rest rest) {
    const Instant begun = clock_.now();
    Duration waited = 0;
    while (const Duration wait = rest()) {
      loop_.wait(wait);
      waited = clock_.now() - begun;
    }
    longest_wait_ = std::max(longest_wait_, waited);
  }
  double delay_ns_per_byte() const {
    WritePressure pressure = store_->write_pressure();
    pressure.limit_bytes = memory_max();
    return write_delay_ns_per_byte(pressure);
  }

  // The batch is applied and `done` called once it is durable.
  void append_shared(Task done) {
    const AppliedPosition position = next_position();
    LogEntry entry;
    entry.index = position.index;
    entry.ballot = position.term;
    entry.time_ms = position.time_ms;
    entry.payload = SharedBytes(batch_.bytes());
    shared_log_->append(kRange, entry);
    waiting_.push_back({shared_log_->end(), position, batch_.take(), std::move(done)});
  }
  void durable(LogPosition position) {
    while (!waiting_.empty() && waiting_.front().end <= position) {
      Waiting next = std::move(waiting_.front());
      waiting_.pop_front();
      check(tablet_->apply(next.position, next.batch));
      next.done();
    }
  }
  void open_shared_log() {
    SharedLog::Environment env;
    env.fs = fs_.get();
    env.writer = &writer_;
    env.background = &background_;
    env.loop = &loop_;
    env.clock = &clock_;
    env.on_durable = [this](LogPosition position) { durable(position); };
    env.on_fatal = [this](const Error& error) { fail(error); };
    LogRecovery recovery;
    shared_log_ = checked(SharedLog::open(env, path("log"), {}, &recovery));
    shared_log_->create_group(kRange, {1}, "bench");
  }
  void flushed() {
    const AppliedPosition& position = tablet_->flushed();
    if (shared_log_) return shared_log_->compact_to(kRange, {position.index, position.term, ""});
    written_log_->release(position.index.value);
  }

  std::optional<std::string_view> fetch_row(std::string_view key) {
    FetchRequest request;
    request.rows.emplace_back(key);
    fetched_ = fetch(std::move(request));
    if (!fetched_.rows[0]) return std::nullopt;
    return *fetched_.rows[0];
  }
  const std::vector<std::pair<std::string, std::string>>& fetch_page(const RowPage& page) {
    FetchRequest request;
    request.prefixes.push_back(page);
    fetched_ = fetch(std::move(request));
    return fetched_.prefixes[0];
  }
  FetchResult fetch(FetchRequest request) {
    std::optional<Result<FetchResult>> answer;
    tablet_->fetch(std::move(request), [&answer](Result<FetchResult> result) { answer = std::move(result); });
    while (!answer) {
      if (loop_.run_ready()) continue;
      if (uring_ && uring_->under_way()) {
        uring_->wait(kMillisecond);
      } else {
        loop_.wait(kMillisecond);
      }
    }
    return checked(std::move(*answer));
  }

  TargetOptions options_;
  std::unique_ptr<FileSystem> fs_;
  SteadyClock clock_;
  BenchLoop loop_;
  server::BackgroundPool background_{2};  // one thread for all of it, one for flushes
  BackgroundReader thread_reader_{background_, loop_};
  std::unique_ptr<server::UringReads> uring_;
  server::PolledReads polled_reads_{clock_, [this] { return background_.idle(); }};
  InlineDurableWriter writer_;
  std::string failure_;
  LogIndex last_index_;
  WritePacer pacer_{100 * kMicrosecond};
  uint64_t unpaced_bytes_ = 0;
  int unpaced_ = 0;
  Duration longest_wait_ = 0;
  WriteBatch batch_;
  std::unique_ptr<WrittenLog> written_log_;
  std::unique_ptr<TabletStore> store_;
  Tablet* tablet_ = nullptr;
  std::unique_ptr<SharedLog> shared_log_;
  std::deque<Waiting> waiting_;
  Lookup found_;
  FetchResult fetched_;
};

}  // namespace

EngineKind cairn_kind() {
  return {"cairn", "lz4", [](const TargetOptions& options) -> std::unique_ptr<EngineTarget> {
            return std::make_unique<CairnTarget>(options);
          }};
}

}  // namespace cairn::bench
