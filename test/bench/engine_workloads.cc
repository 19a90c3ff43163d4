#include "test/bench/engine_workloads.h"

#include <ctime>
#include <thread>

namespace cairn::bench {
namespace {

constexpr Duration kReadMax = 20 * kSecond;   // of a cell
constexpr Duration kWarmUpMax = 5 * kSecond;  // before it
constexpr uint64_t kSyncedPuts = 5'000, kSyncedPutsOfMany = 50'000;
constexpr int kClients = 16;
constexpr uint64_t kWritesPerSecond = 50'000;  // beside reads
constexpr uint64_t kRowsPerSample = 64;        // of a scan
constexpr uint64_t kSeekRows = 10;
constexpr uint64_t kKeptOfDeleted = 10;  // one row of that many stays

[[noreturn]] void wrong(const std::string& what) { throw std::runtime_error("wrong answer: " + what); }

// Measures one cell: latencies back to back, so that nothing between two operations is left out.
class Stretch {
 public:
  Stretch() : before_(ProcessUse::now()), begun_(monotonic_ns()), last_(begun_) {}
  void done(uint64_t operations = 1) {
    const Instant now = monotonic_ns();
    latencies_.add((now - last_) / operations, operations);
    last_ = now;
  }
  // An operation that is not counted ends here.
  void skip() { last_ = monotonic_ns(); }
  Latencies& latencies() { return latencies_; }
  Duration elapsed() const { return last_ - begun_; }
  Instant begun() const { return begun_; }
  // `end`: when the work was over; what it cost is counted up to now.
  CellResult result(Instant end) const {
    const ProcessUse now = ProcessUse::now();
    const auto operations = static_cast<double>(latencies_.total());
    CellResult r;
    if (operations == 0) return r;
    r.ops_per_s = operations / (static_cast<double>(end - begun_) * 1e-9);
    r.p50_us = latencies_.quantile_us(0.5);
    r.p99_us = latencies_.quantile_us(0.99);
    r.p999_us = latencies_.quantile_us(0.999);
    r.p9999_us = latencies_.quantile_us(0.9999);
    r.max_us = latencies_.max_us();
    r.cpu_us_per_op = (now.cpu_s - before_.cpu_s) * 1e6 / operations;
    r.bytes_written = now.written_bytes - before_.written_bytes;
    return r;
  }
  CellResult result() const { return result(last_); }

 private:
  ProcessUse before_;
  Instant begun_, last_;
  Latencies latencies_;
};

// Writes the memtable out and waits until nothing goes on in the background. Not every engine says whether something
// does, so the process's use of processors counts too. Returns when the last of it was seen.
Instant settle(EngineTarget& engine) {
  constexpr Duration kTurn = 50 * kMicrosecond, kLook = 2 * kMillisecond, kQuiet = 300 * kMillisecond;
  engine.flush();
  Instant seen = monotonic_ns(), last = seen;
  double cpu = ProcessUse::now().cpu_s;
  while (last - seen < kQuiet) {
    bool busy = false;
    Instant now = last;
    while (now - last < kLook) {  // who asked for a short rest goes on after it
      constexpr timespec pause{0, kTurn};
      nanosleep(&pause, nullptr);
      busy |= engine.busy();
      now = monotonic_ns();
    }
    const double used = ProcessUse::now().cpu_s;
    if (busy || used - cpu > static_cast<double>(now - last) * 1e-9 / 4) seen = now;
    cpu = used;
    last = now;
  }
  return seen;
}

// A number of rows, evenly spread, must be there.
void check_rows(EngineTarget& engine, const CellOptions& options, uint64_t every_nth = 1) {
  KeyMaker keys(options.style);
  const ValueMaker values(options.value_bytes);
  for (uint64_t i = 0; i < options.keys; i += every_nth * (1 + options.keys / 1000)) {
    const auto value = engine.get(keys.key(i));
    if (!value || !values.belongs(i, *value)) wrong("key " + std::to_string(i) + " after writing");
  }
}

// Puts of the keys that `next` names, until it has named `count`.
template <class Next>
void put_all(EngineTarget& engine, const CellOptions& options, uint64_t count, uint64_t version, Next next,
             Stretch* stretch) {
  KeyMaker keys(options.style);
  ValueMaker values(options.value_bytes);
  if (stretch != nullptr) stretch->skip();
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t number = next(i);
    engine.put(keys.key(number), values.value(number, version));
    if (stretch != nullptr) stretch->done();
  }
}

bool fill(EngineTarget& engine, const CellOptions& options, CellResult& result, bool in_order) {
  const std::vector<uint32_t> order = in_order ? std::vector<uint32_t>() : shuffled(options.keys, 1);
  Stretch stretch;
  put_all(
      engine, options, options.keys, 0, [&](uint64_t i) { return in_order ? i : order[i]; }, &stretch);
  const Instant end = stretch.begun() + stretch.elapsed();
  settle(engine);
  result = stretch.result(end);
  check_rows(engine, options);
  return true;
}
bool fillseq(EngineTarget& engine, const CellOptions& options, CellResult& result) {
  return fill(engine, options, result, true);
}
bool fillrandom(EngineTarget& engine, const CellOptions& options, CellResult& result) {
  return fill(engine, options, result, false);
}

// What an engine makes ready when it is opened (segments of its log) is not what a put costs.
bool fillsync(EngineTarget& engine, const CellOptions& options, CellResult& result) {
  settle(engine);
  const CellOptions few{std::min(options.keys, kSyncedPuts), options.value_bytes, options.style};
  const std::vector<uint32_t> order = shuffled(few.keys, 2);
  Stretch stretch;
  put_all(
      engine, few, few.keys, 0, [&](uint64_t i) { return order[i]; }, &stretch);
  result = stretch.result();
  check_rows(engine, few);
  return true;
}

// Clients of their own threads, each with one put under way.
bool fillsync16(EngineTarget& engine, const CellOptions& options, CellResult& result) {
  settle(engine);
  const CellOptions few{std::min(options.keys, kSyncedPutsOfMany), options.value_bytes, options.style};
  const std::vector<uint32_t> order = shuffled(few.keys, 3);
  std::atomic<bool> all_done = false;
  std::atomic<int> running = kClients;
  std::vector<Latencies> latencies(kClients);
  std::vector<std::thread> clients;
  Stretch stretch;
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([&, c] {
      KeyMaker keys(few.style);
      ValueMaker values(few.value_bytes);
      for (uint64_t i = static_cast<uint64_t>(c); i < few.keys; i += kClients) {
        const Instant begun = monotonic_ns();
        engine.put_from_client(keys.key(order[i]), values.value(order[i]));
        latencies[static_cast<size_t>(c)].add(monotonic_ns() - begun);
      }
      if (running.fetch_sub(1) > 1) return;
      all_done.store(true);
      all_done.notify_one();
    });
  }
  engine.serve_until(all_done);
  stretch.skip();
  for (std::thread& client : clients) client.join();
  for (const Latencies& of_client : latencies) stretch.latencies().add(of_client);
  result = stretch.result();
  check_rows(engine, few);
  return true;
}

// Compaction debt counts: the time ends when it is paid.
bool overwrite_rounds(EngineTarget& engine, const CellOptions& options, CellResult& result, uint64_t rounds) {
  Stretch stretch;
  for (uint64_t round = 1; round <= rounds; ++round) {
    const std::vector<uint32_t> order = shuffled(options.keys, 10 + round);
    put_all(
        engine, options, options.keys, round, [&](uint64_t i) { return order[i]; }, &stretch);
  }
  result = stretch.result(settle(engine));
  check_rows(engine, options);
  return true;
}
bool overwrite(EngineTarget& engine, const CellOptions& options, CellResult& result) {
  return overwrite_rounds(engine, options, result, 1);
}
bool space(EngineTarget& engine, const CellOptions& options, CellResult& result) {
  return overwrite_rounds(engine, options, result, 3);
}

// Brings every block into the cache, as far as there is room.
void warm_up(EngineTarget& engine, const CellOptions& options) {
  constexpr uint64_t kStep = 8;  // keys: fewer than any block holds, unless values are large
  KeyMaker keys(options.style);
  const uint64_t step = options.value_bytes > 500 ? 1 : kStep;
  const Instant end = monotonic_ns() + kWarmUpMax;
  for (uint64_t i = 0; i < options.keys && monotonic_ns() < end; i += step) engine.get(keys.key(i));
}

// Lookups of the keys that `next` names. `between` runs before each.
template <class Next, class Between>
void get_all(EngineTarget& engine, const CellOptions& options, Stretch& stretch, Next next, Between between) {
  KeyMaker keys(options.style);
  const ValueMaker values(options.value_bytes);
  stretch.skip();
  for (uint64_t i = 0; i < options.keys && stretch.elapsed() < kReadMax; ++i) {
    between(i);
    const uint64_t number = next();
    const auto value = engine.get(keys.key(number));
    if (!value || !values.belongs(number, *value)) wrong("get of key " + std::to_string(number));
    stretch.done();
  }
}
constexpr auto kNothingBetween = [](uint64_t) {};

bool readrandom(EngineTarget& engine, const CellOptions& options, CellResult& result) {
  warm_up(engine, options);
  SeededRandom random(4);
  Stretch stretch;
  get_all(
      engine, options, stretch, [&] { return random.below(options.keys); }, kNothingBetween);
  result = stretch.result();
  return true;
}

bool readzipf(EngineTarget& engine, const CellOptions& options, CellResult& result) {
  const ZipfNumbers zipf(options.keys, 0.99);
  warm_up(engine, options);
  SeededRandom random(5);
  Stretch stretch;
  get_all(
      engine, options, stretch, [&] { return zipf.next(random); }, kNothingBetween);
  result = stretch.result();
  return true;
}

bool readmissing(EngineTarget& engine, const CellOptions& options, CellResult& result) {
  warm_up(engine, options);
  KeyMaker keys(options.style);
  SeededRandom random(6);
  Stretch stretch;
  for (uint64_t i = 0; i < options.keys && stretch.elapsed() < kReadMax; ++i) {
    if (engine.get(keys.missing(random.below(options.keys)))) wrong("a key that nobody wrote");
    stretch.done();
  }
  result = stretch.result();
  return true;
}

// A scan that must find the rows of `first`, `first + step`, ... in this order.
class ScanCheck {
 public:
  ScanCheck(const CellOptions& options, const ValueMaker& values, uint64_t first, uint64_t step, Stretch* stretch)
      : keys_(options.style), values_(values), next_(first), step_(step), stretch_(stretch) {}
  bool row(std::string_view key, std::string_view value) {
    if (key != keys_.key(next_) || !values_.belongs(next_, value)) wrong("row of key " + std::to_string(next_));
    next_ += step_;
    if (++rows_ % kRowsPerSample == 0 && stretch_ != nullptr) stretch_->done(kRowsPerSample);
    return stretch_ == nullptr || stretch_->elapsed() < kReadMax;
  }
  uint64_t rows() const { return rows_; }

 private:
  KeyMaker keys_;
  const ValueMaker& values_;
  uint64_t next_, step_, rows_ = 0;
  Stretch* stretch_;
};

void scan_whole(EngineTarget& engine, const CellOptions& options, uint64_t step, CellResult& result) {
  const ValueMaker values(options.value_bytes);
  Stretch stretch;
  ScanCheck check(options, values, 0, step, &stretch);
  engine.scan("", ~0ull, [&](std::string_view key, std::string_view value) { return check.row(key, value); });
  result = stretch.result();
  if (stretch.elapsed() < kReadMax && check.rows() != (options.keys + step - 1) / step) wrong("rows of a whole scan");
}
bool readseq(EngineTarget& engine, const CellOptions& options, CellResult& result) {
  warm_up(engine, options);
  scan_whole(engine, options, 1, result);
  return true;
}
bool readreverse(EngineTarget& engine, const CellOptions& options, CellResult& result) {
  warm_up(engine, options);
  const ValueMaker values(options.value_bytes);
  Stretch stretch;
  ScanCheck check(options, values, options.keys - 1, ~0ull, &stretch);
  if (!engine.scan_back([&](std::string_view key, std::string_view value) { return check.row(key, value); }))
    return false;
  result = stretch.result();
  if (stretch.elapsed() < kReadMax && check.rows() != options.keys) wrong("rows of a whole scan");
  return true;
}

bool seekrandom(EngineTarget& engine, const CellOptions& options, CellResult& result) {
  warm_up(engine, options);
  KeyMaker keys(options.style);
  const ValueMaker values(options.value_bytes);
  SeededRandom random(7);
  Stretch stretch;
  for (uint64_t i = 0; i < options.keys && stretch.elapsed() < kReadMax; ++i) {
    const uint64_t number = random.below(options.keys - std::min(options.keys - 1, kSeekRows));
    ScanCheck check(options, values, number, 1, nullptr);
    engine.scan(keys.key(number), kSeekRows,
                [&](std::string_view key, std::string_view value) { return check.row(key, value); });
    if (check.rows() != std::min(kSeekRows, options.keys)) wrong("rows of a short scan");
    stretch.done();
  }
  result = stretch.result();
  return true;
}

// Reads as fast as they go, and a second client that puts at a fixed rate. Engines with threads serve it on a thread of
// its own; with one loop for all, its puts come between the reads, and the next read waits for them.
bool readwhilewriting(EngineTarget& engine, const CellOptions& options, CellResult& result) {
  warm_up(engine, options);
  KeyMaker keys(options.style);
  ValueMaker values(options.value_bytes);
  SeededRandom random(8), random_of_writes(9);
  uint64_t written = 0;
  const auto write_up_to = [&](Instant begun) {
    for (const uint64_t due = (monotonic_ns() - begun) * kWritesPerSecond / kSecond; written < due; ++written) {
      const uint64_t number = random_of_writes.below(options.keys);
      engine.put(keys.key(number), values.value(number, written));
    }
  };
  std::atomic<bool> stop = false;
  std::thread writer;
  Stretch stretch;
  if (engine.has_threads()) {
    writer = std::thread([&] {
      while (!stop.load(std::memory_order_relaxed)) {
        write_up_to(stretch.begun());
        constexpr timespec pause{0, 500'000};
        nanosleep(&pause, nullptr);
      }
    });
  }
  get_all(
      engine, options, stretch, [&] { return random.below(options.keys); },
      [&](uint64_t i) {
        if (!engine.has_threads() && i % 8 == 0) write_up_to(stretch.begun());
      });
  stop = true;
  if (writer.joinable()) writer.join();
  result = stretch.result();
  return true;
}

// Only the scan is measured: what deleted rows cost those who pass them. `settled`: once nothing goes on in the
// background any more, whatever the engine has made of the rest by itself; otherwise before compaction had time to take
// them out.
bool scan_deleted(EngineTarget& engine, const CellOptions& options, CellResult& result, bool settled) {
  KeyMaker keys(options.style);
  for (const uint32_t number : shuffled(options.keys, 20)) {
    if (number % kKeptOfDeleted != 0) engine.remove(keys.key(number));
  }
  if (settled) {
    settle(engine);
  } else {
    engine.flush();
  }
  scan_whole(engine, options, kKeptOfDeleted, result);
  check_rows(engine, options, kKeptOfDeleted);
  return true;
}
bool scandeleted(EngineTarget& engine, const CellOptions& options, CellResult& result) {
  return scan_deleted(engine, options, result, true);
}
bool scandeleted_at_once(EngineTarget& engine, const CellOptions& options, CellResult& result) {
  return scan_deleted(engine, options, result, false);
}

// What this machine adds to operations that do nothing for as long as others take: the floor under every percentile of
// operations as long as these. The longer they are, the larger the share of them that is interrupted.
template <Duration kOperation>
bool nothing(EngineTarget&, const CellOptions& options, CellResult& result) {
  Stretch stretch;
  for (uint64_t i = 0; i < options.keys && stretch.elapsed() < kReadMax; ++i) {
    const Instant end = monotonic_ns() + kOperation;
    while (monotonic_ns() < end) {
    }
    stretch.done();
  }
  result = stretch.result();
  return true;
}

constexpr Workload kAll[] = {
    {"fillseq", "every key in order", Setting::kEmpty, LogMode::kWritten, CacheSize::kWhole, fillseq, true},
    {"fillrandom", "every key in random order", Setting::kEmpty, LogMode::kWritten, CacheSize::kWhole, fillrandom,
     true},
    {"fillsync", "durable puts", Setting::kEmpty, LogMode::kDurable, CacheSize::kWhole, fillsync, true},
    {"fillsync16", "durable puts of 16 clients", Setting::kEmpty, LogMode::kDurable, CacheSize::kWhole, fillsync16,
     true},
    {"overwrite", "every key again, until compaction has settled", Setting::kCopied, LogMode::kWritten,
     CacheSize::kWhole, overwrite, true},
    {"readrandom", "all in the cache", Setting::kLoaded, LogMode::kWritten, CacheSize::kWhole, readrandom},
    {"readrandom_tenth", "a tenth in the cache", Setting::kLoaded, LogMode::kWritten, CacheSize::kTenth, readrandom},
    {"readrandom_half", "memory for half of the files", Setting::kLoaded, LogMode::kWritten, CacheSize::kWhole,
     readrandom, false, true},
    {"readmissing", "keys that are not there", Setting::kLoaded, LogMode::kWritten, CacheSize::kWhole, readmissing},
    {"readzipf", "Zipf's law, 0.99", Setting::kLoaded, LogMode::kWritten, CacheSize::kWhole, readzipf},
    {"readzipf_tenth", "the same, a tenth in the cache", Setting::kLoaded, LogMode::kWritten, CacheSize::kTenth,
     readzipf},
    {"readseq", "all rows", Setting::kLoaded, LogMode::kWritten, CacheSize::kWhole, readseq},
    {"readreverse", "all rows backwards", Setting::kLoaded, LogMode::kWritten, CacheSize::kWhole, readreverse},
    {"seekrandom", "ten rows from a random key on", Setting::kLoaded, LogMode::kWritten, CacheSize::kWhole, seekrandom},
    {"readwhilewriting", "beside 50,000 puts a second", Setting::kCopied, LogMode::kWritten, CacheSize::kWhole,
     readwhilewriting},
    {"scandeleted", "all rows after nine tenths were deleted and compaction has settled", Setting::kCopied,
     LogMode::kWritten, CacheSize::kWhole, scandeleted},
    {"scandeleted_at_once", "the same before it has", Setting::kCopied, LogMode::kWritten, CacheSize::kWhole,
     scandeleted_at_once},
    {"space", "every key three times again", Setting::kCopied, LogMode::kWritten, CacheSize::kWhole, space, true},
    {"nothing", "2 us that no engine is asked for anything", Setting::kEmpty, LogMode::kWritten, CacheSize::kWhole,
     nothing<2 * kMicrosecond>},
    {"nothing_1us", "the same for 1 us", Setting::kEmpty, LogMode::kWritten, CacheSize::kWhole, nothing<kMicrosecond>},
    {"nothing_4us", "the same for 4 us", Setting::kEmpty, LogMode::kWritten, CacheSize::kWhole,
     nothing<4 * kMicrosecond>},
};

}  // namespace

std::span<const Workload> workloads() { return kAll; }

void load(EngineTarget& engine, const CellOptions& options) {
  const std::vector<uint32_t> order = shuffled(options.keys, 1);
  put_all(
      engine, options, options.keys, 0, [&](uint64_t i) { return order[i]; }, nullptr);
  settle(engine);
  check_rows(engine, options);
}

}  // namespace cairn::bench
