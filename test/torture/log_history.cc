#include <map>

#include "storage/log/shared_log.h"
#include "test/torture/crash_points.h"
#include "test/unit/storage/fakes.h"

namespace cairn::storage::test {
namespace {

constexpr SharedLogOptions kSmall = {
    .first_segment_bytes = 32 << 10, .segment_bytes = 32 << 10, .batch_bytes_max = 8 << 10};

std::string payload_of(uint64_t index) { return std::string(index % 1500, 'p'); }

class LogHistory {
 public:
  LogHistory(uint64_t seed, const HistoryOptions& options, HistoryCounts& counts)
      : counts_(counts), machine_(seed), random_(machine_.random), faulty_(fs_), points_(seed, options, counts) {
    points_.watch(fs_, faulty_, [this](const MemoryFileSystem& disk) { check_crash(disk); });
  }

  void run() {
    for (int life = 0; life < 6; ++life) {
      begin_life();
      for (uint64_t step = 0, steps = random_.between(1, 400); step < steps; ++step) one_step();
      require(!fatal_, "a fatal error without a fault");
      fs_.crash(random_, {.keep_data = random_.chance(0.3) ? 1.0 : 0.5, .reorder = random_.chance(0.5)});
      points_.arm(false);
      log_.reset();
      machine_.settle();  // jobs of the dead process find nothing to write to
      points_.arm(true);
    }
  }

 private:
  std::unique_ptr<SharedLog> open(FileSystem& fs, Machine& machine, DurableWriter& writer, LogRecovery& recovery,
                                  std::function<void(LogPosition)> on_durable) {
    auto opened = SharedLog::open({.fs = &fs,
                                   .writer = &writer,
                                   .background = &machine.background,
                                   .loop = &machine.loop,
                                   .clock = &machine.clock,
                                   .on_durable = std::move(on_durable),
                                   .on_fatal = [this](const Error& e) { fatal_ = e; }},
                                  "/log/0", kSmall, &recovery);
    require(bool(opened), "opening fails: " + (opened ? "" : to_string(opened.error())));
    return std::move(*opened);
  }

  // Nothing that was acknowledged is missing, and what is there is what was written.
  uint64_t check_recovered(LogRecovery& recovery) {
    require(!recovery.suspect, "suspect: " + recovery.damage);
    auto& group = recovery.groups[{1}];
    const uint64_t last = group.entries.empty() ? group.start.index.value : group.entries.back().index.value;
    require(last >= acknowledged_, "entry " + std::to_string(acknowledged_) + " was acknowledged and is gone");
    require(last < next_, "an entry that nobody wrote");
    require(group.hard_state.term.value >= durable_term_, "an acknowledged term is gone");
    require(group.hard_state.term.value <= term_, "a term that nobody wrote");
    require(group.start.index.value <= started_, "compacted further than anybody asked");
    for (const auto& entry : group.entries) {
      require(entry.payload.view() == payload_of(entry.index.value), "an entry has other bytes");
    }
    return last;
  }

  void begin_life() {
    writer_ = std::make_unique<SlowWriter>();
    marks_.clear();
    LogRecovery recovery;
    log_ = open(faulty_, machine_, *writer_, recovery, [this](LogPosition p) {
      for (auto it = marks_.begin(); it != marks_.end() && it->first <= p; it = marks_.erase(it)) {
        acknowledged_ = std::max(acknowledged_, it->second.first);
        durable_term_ = std::max(durable_term_, it->second.second);
      }
    });
    next_ = check_recovered(recovery) + 1;
    term_ = recovery.groups[{1}].hard_state.term.value;
    low_ = recovery.groups[{1}].start.index.value + 1;
  }

  // Recovers from what a power cut left, writes on and recovers again.
  void check_crash(const MemoryFileSystem& disk) {
    MemoryFileSystem fs;
    fs.copy_from(disk);
    Machine machine(counts_.outcomes);
    InlineDurableWriter writer;
    LogRecovery recovery;
    auto log = open(fs, machine, writer, recovery, [](LogPosition) {});
    const uint64_t last = check_recovered(recovery);
    log->append({1}, {{last + 1}, {1}, 1, 0, SharedBytes(payload_of(last + 1))});
    const LogPosition written = log->end();  // it may add records of its own later
    log->flush();
    machine.settle();
    require(log->durable() >= written, "a recovered log does not write");
    log.reset();
    machine.settle();
    LogRecovery again;
    log = open(fs, machine, writer, again, [](LogPosition) {});
    require(!again.suspect && again.groups[{1}].entries.size() == recovery.groups[{1}].entries.size() + 1,
            "what a recovered log wrote is not there");
    require(!fatal_, "a fatal error without a fault");
  }

  void one_step() {
    ++counts_.operations;
    switch (random_.below(6)) {
      case 0:
      case 1:
        if (!log_->has_room()) break;
        log_->append({1}, {{next_}, {1}, 1, 0, SharedBytes(payload_of(next_))});
        marks_[log_->end()] = {next_, term_};
        ++next_;
        break;
      case 2: log_->flush(); break;
      case 3: writer_->finish(); break;
      case 4:
        while (random_.chance(0.8) && machine_.step()) {
        }
        break;
      default:
        if (random_.chance(0.3)) {
          log_->hard_state({1}, {{++term_}, {1}, {1}, {0}});
          marks_[log_->end()] = {0, term_};
        } else if (acknowledged_ > low_ + 5) {
          low_ = acknowledged_ - random_.below(5);
          started_ = std::max(started_, low_ - 1);
          log_->compact_to({1}, {{low_ - 1}, {1}, "c"});
        }
    }
  }

  HistoryCounts& counts_;
  Machine machine_;
  Random& random_;
  MemoryFileSystem fs_;
  FaultyFileSystem faulty_;
  CrashPoints points_;
  std::unique_ptr<SlowWriter> writer_;
  std::unique_ptr<SharedLog> log_;
  std::map<LogPosition, std::pair<uint64_t, uint64_t>> marks_;  // entry and term that are durable from there on
  std::optional<Error> fatal_;
  uint64_t next_ = 1, low_ = 1, acknowledged_ = 0, term_ = 0, durable_term_ = 0, started_ = 0;
};

}  // namespace

void run_log_history(uint64_t seed, const HistoryOptions& options, HistoryCounts& counts) {
  run_named("log", seed, [&] { LogHistory(seed, options, counts).run(); });
}

}  // namespace cairn::storage::test
