// `cairn-bench switch`: one tablet goes from every strategy to every other one while a client overwrites its rows at a
// fixed rate. What a put takes is counted from when it was due, so a pause shows in all that it held up. In the end
// every row must be what was put there last. Beside the longest put stand the longest wait that the engine itself has
// asked of one (for memory), and what the machine does to a thread that waits for nothing, measured before and after.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <vector>

#include "base/random.h"
#include "test/bench/commands.h"
#include "test/bench/engine_data.h"
#include "test/bench/engine_statistics.h"
#include "test/bench/engine_target.h"
#include "test/bench/machine_gaps.h"

namespace cairn::bench {
namespace {

using storage::StrategyKind;

struct SwitchOptions {
  uint64_t data_mb = 1024, value_bytes = 400, puts_per_s = 40'000, memtable_mb = 16;
  std::string dir = "cairn-bench.switch";
};

bool parse(int argc, char** argv, SwitchOptions& options) {
  for (int i = 0; i < argc; ++i) {
    const std::string text = argv[i];
    const size_t equals = text.find('=');
    if (equals == text.npos) return false;
    const std::string name = text.substr(0, equals), value = text.substr(equals + 1);
    if (name == "--dir") {
      options.dir = value;
      continue;
    }
    uint64_t* number = name == "--data-mb"       ? &options.data_mb
                       : name == "--value-bytes" ? &options.value_bytes
                       : name == "--puts-per-s"  ? &options.puts_per_s
                       : name == "--memtable-mb" ? &options.memtable_mb
                                                 : nullptr;
    if (number == nullptr) return false;
    char* end = nullptr;
    *number = std::strtoull(value.c_str(), &end, 10);
    if (end == value.c_str() || *end != '\0' || *number == 0 || *number > 1u << 20) return false;
  }
  return options.value_bytes >= 8 && !options.dir.empty();
}

// A tablet, and what was put into it.
class SwitchedTablet {
 public:
  explicit SwitchedTablet(const SwitchOptions& options)
      : options_(options),
        keys_(KeyStyle::kDecimal),
        values_(options.value_bytes),
        versions_((options.data_mb << 20) / (options.value_bytes + 16)) {
    TargetOptions target;
    target.dir = options.dir;
    target.cache_bytes = 64u << 20;
    target.memtable_bytes = options.memtable_mb << 20;
    engine_ = cairn_kind().open(target);
  }

  void load() {
    for (uint64_t number = 0; number < versions_.size(); ++number) put(number);
  }
  void change(StrategyKind kind) { engine_->set_strategy(kind); }
  // Overwrites at the rate that was asked for, until as many rows were put as four memtables hold.
  Latencies overwrite() {
    const uint64_t puts = 4 * (options_.memtable_mb << 20) / (options_.value_bytes + 16);
    const Duration apart = kSecond / options_.puts_per_s;
    Latencies latencies;
    Instant due = monotonic_ns();
    for (uint64_t i = 0; i < puts; ++i, due += apart) {
      while (monotonic_ns() < due) engine_->busy();  // the loop's turns
      put(random_.below(versions_.size()));
      latencies.add(monotonic_ns() - due);
    }
    return latencies;
  }
  void settle() {
    engine_->flush();
    constexpr timespec kPause{0, 2'000'000};
    for (int quiet = 0; quiet < 50; ++quiet) {
      nanosleep(&kPause, nullptr);
      if (engine_->busy()) quiet = 0;
    }
  }
  Duration longest_wait() { return engine_->longest_wait(); }  // since the last call
  uint64_t lost() {
    uint64_t rows = 0, right = 0;
    engine_->scan({}, ~0ull, [&](std::string_view key, std::string_view value) {
      const uint64_t number = rows++;
      if (number < versions_.size() && key == keys_.key(number) && value == values_.value(number, versions_[number]))
        ++right;
      return true;
    });
    return versions_.size() - std::min<uint64_t>(right, versions_.size()) + (rows > versions_.size() ? 1 : 0);
  }

 private:
  void put(uint64_t number) { engine_->put(keys_.key(number), values_.value(number, ++versions_[number])); }

  const SwitchOptions& options_;
  KeyMaker keys_;
  ValueMaker values_;
  std::vector<uint32_t> versions_;  // by key
  SeededRandom random_{7};
  std::unique_ptr<EngineTarget> engine_;
};

// Every one to every other.
constexpr StrategyKind kTour[] = {StrategyKind::kIcs,  StrategyKind::kStcs, StrategyKind::kLcs, StrategyKind::kStcs,
                                  StrategyKind::kTwcs, StrategyKind::kStcs, StrategyKind::kIcs, StrategyKind::kLcs,
                                  StrategyKind::kTwcs, StrategyKind::kLcs,  StrategyKind::kIcs, StrategyKind::kTwcs,
                                  StrategyKind::kIcs};

void print_line(std::string_view from, std::string_view to, const Latencies& puts, const std::string& dir) {
  std::printf("%s,%s,%llu,%.2f,%.2f,%.2f,%.2f,%llu\n", from.data(), to.data(),
              static_cast<unsigned long long>(puts.total()), puts.quantile_us(0.5), puts.quantile_us(0.99),
              puts.quantile_us(0.9999), puts.max_us(), static_cast<unsigned long long>(directory_bytes(dir + "/sst")));
  std::fflush(stdout);
}

}  // namespace

int run_switch(int argc, char** argv) {
  SwitchOptions options;
  if (!parse(argc, argv, options)) return kUsage;
  std::filesystem::remove_all(options.dir);
  std::filesystem::create_directories(options.dir);
  constexpr Duration kGaps = 15 * kSecond;
  Latencies gaps = machine_gaps(kGaps);
  uint64_t lost = 0;
  {
    SwitchedTablet tablet(options);
    tablet.load();
    tablet.longest_wait();  // of loading
    std::puts("from,to,puts,p50_us,p99_us,p9999_us,max_us,sst_bytes");
    Latencies all;
    tablet.change(kTour[0]);
    for (size_t i = 1; i < std::size(kTour); ++i) {
      tablet.change(kTour[i]);
      const Latencies puts = tablet.overwrite();
      all.add(puts);
      print_line(to_string(kTour[i - 1]), to_string(kTour[i]), puts, options.dir);
    }
    tablet.settle();
    lost = tablet.lost();
    print_line("all", "all", all, options.dir);
    gaps.add(machine_gaps(kGaps));
    std::printf("lost=%llu longest_put_ms=%.2f longest_wait_ms=%.2f longest_gap_of_machine_ms=%.2f\n",
                static_cast<unsigned long long>(lost), all.max_us() / 1000,
                static_cast<double>(tablet.longest_wait()) / kMillisecond, gaps.max_us() / 1000);
  }
  std::filesystem::remove_all(options.dir);
  return lost == 0 ? 0 : 1;
}

}  // namespace cairn::bench
