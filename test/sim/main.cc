// cairn-sim and cairn-sim-zoo: lives of clusters under seeds.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/plant.h"
#include "test/sim/life.h"
#include "test/sim/plants.h"

using namespace cairn;

namespace {

struct Arguments {
  uint64_t first = 1, last = 1;
  unsigned jobs = 1;
  double budget_s = 0;  // 0 = none
  bool trace_hash = false;
  std::string plant;
  sim::LifeOptions life;
};

int usage(const char* name) {
  std::fprintf(stderr,
               "%s --seeds A..B [--jobs N] [--budget 10m] [--mode mix|network|process|clock|disk|power] [--trace-hash] "
               "[--verbose]%s\n",
               name, sim::kHasPlants ? " [--plant list|NAME]" : "");
  return 2;
}

bool parse(int argc, char** argv, Arguments& a) {
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (arg == "--trace-hash") {
      a.trace_hash = true;
    } else if (arg == "--verbose") {
      a.life.verbose = true;
    } else if (value == nullptr) {
      return false;
    } else if (arg == "--seeds") {
      const char* dots = std::strstr(value, "..");
      a.first = std::strtoull(value, nullptr, 10);
      a.last = dots != nullptr ? std::strtoull(dots + 2, nullptr, 10) : a.first;
      ++i;
    } else if (arg == "--jobs") {
      a.jobs = static_cast<unsigned>(std::max(1, std::atoi(value)));
      ++i;
    } else if (arg == "--budget") {
      char* end = nullptr;
      a.budget_s = std::strtod(value, &end) * (*end == 'm' ? 60 : *end == 'h' ? 3600 : 1);
      ++i;
    } else if (arg == "--mode") {
      a.life.mode = value;
      ++i;
    } else if (arg == "--plant" && sim::kHasPlants) {
      a.plant = value;
      ++i;
    } else {
      return false;
    }
  }
  return a.first <= a.last;
}

double now_s() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Totals {
  uint64_t seeds = 0, violations = 0, operations = 0, acknowledged = 0, events = 0;
  double simulated_s = 0;
  std::map<std::string, uint64_t> faults;
};

void print_violation(const char* name, const sim::LifeReport& report, const Arguments& a, FILE* out) {
  std::fprintf(out, "violation seed=%llu\n", static_cast<unsigned long long>(report.seed));
  for (const std::string& text : report.violations) std::fprintf(out, "  %s\n", text.c_str());
  std::fprintf(out, "  replay: %s --seeds %llu..%llu --mode %s --verbose%s%s\n", name,
               static_cast<unsigned long long>(report.seed), static_cast<unsigned long long>(report.seed),
               a.life.mode.c_str(), a.plant.empty() ? "" : " --plant ", a.plant.c_str());
  std::fflush(out);
}

// Of a life that has reported its violations. Sanitizers end a process with 1 or 66.
constexpr int kViolationExit = 10;

// One worker process: its share of the seeds, results as lines on `out`.
void work(const char* name, const Arguments& a, unsigned worker, double deadline, FILE* out) {
  for (uint64_t seed = a.first + worker; seed <= a.last; seed += a.jobs) {
    if (deadline > 0 && now_s() > deadline) break;
    // A process of its own: an assertion that fails costs this seed only, and the memory of a life goes with it.
    const pid_t child = fork();
    if (child != 0) {
      int status = 0;
      waitpid(child, &status, 0);
      if (status != 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == kViolationExit)) {
        sim::LifeReport report;
        report.seed = seed;
        report.violations.push_back("an assertion or a sanitizer ended it (wait status " + std::to_string(status) +
                                    ")");
        print_violation(name, report, a, out);
        std::fprintf(out, "end %llu 0 0 0 0 1\n", static_cast<unsigned long long>(seed));
        std::fflush(out);
      }
      if (!a.plant.empty() && status != 0) break;
      continue;
    }
    const sim::LifeReport report = sim::run_life(seed, a.life);
    if (!report.violations.empty()) print_violation(name, report, a, out);
    if (a.trace_hash) {
      std::fprintf(out, "hash seed=%llu hash=%016llx\n", static_cast<unsigned long long>(seed),
                   static_cast<unsigned long long>(report.trace_hash));
    }
    std::fprintf(out, "end %llu %llu %llu %llu %.3f %d\n", static_cast<unsigned long long>(seed),
                 static_cast<unsigned long long>(report.operations),
                 static_cast<unsigned long long>(report.acknowledged), static_cast<unsigned long long>(report.events),
                 static_cast<double>(report.simulated) * 1e-9, report.violations.empty() ? 0 : 1);
    for (const auto& [kind, count] : report.faults) {
      std::fprintf(out, "fault %llu %s\n", static_cast<unsigned long long>(count), kind.c_str());
    }
    std::fflush(out);
    _exit(report.violations.empty() ? 0 : kViolationExit);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  if (!parse(argc, argv, a)) return usage(argv[0]);
  if (a.plant == "list") {
    for (std::string_view name : sim::plants()) std::printf("%.*s\n", static_cast<int>(name.size()), name.data());
    return 0;
  }
  if (!a.plant.empty() && !sim::set_plant(a.plant)) {
    std::fprintf(stderr, "no planted bug of that name; see --plant list\n");
    return 2;
  }
  const double started = now_s();
  const double deadline = a.budget_s > 0 ? started + a.budget_s : 0;
  std::vector<std::pair<pid_t, FILE*>> workers;
  for (unsigned w = 0; w < a.jobs; ++w) {
    int ends[2];
    if (pipe(ends) != 0) return 2;
    std::fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
      close(ends[0]);
      FILE* out = fdopen(ends[1], "w");
      work(argv[0], a, w, deadline, out);
      std::fclose(out);
      _exit(0);
    }
    close(ends[1]);
    workers.emplace_back(pid, fdopen(ends[0], "r"));
  }
  Totals totals;
  for (auto& [pid, in] : workers) {
    char line[4096];
    while (std::fgets(line, sizeof line, in) != nullptr) {
      unsigned long long seed = 0, ops = 0, acked = 0, events = 0, count = 0;
      double simulated = 0;
      int bad = 0, at = 0;
      if (std::sscanf(line, "end %llu %llu %llu %llu %lf %d", &seed, &ops, &acked, &events, &simulated, &bad) == 6) {
        ++totals.seeds;
        totals.operations += ops;
        totals.acknowledged += acked;
        totals.events += events;
        totals.simulated_s += simulated;
        totals.violations += static_cast<uint64_t>(bad);
      } else if (std::sscanf(line, "fault %llu %n", &count, &at) == 1 && at > 0) {
        std::string kind = line + at;
        if (!kind.empty() && kind.back() == '\n') kind.pop_back();
        totals.faults[kind] += count;
      } else if (std::strncmp(line, "hash ", 5) == 0) {
        std::fputs(line + 5, stdout);
      } else {
        std::fputs(line, stdout);
      }
    }
    std::fclose(in);
    int status = 0;
    waitpid(pid, &status, 0);
    if (status != 0) ++totals.violations;
  }
  std::printf("simulated %.0f s, %llu events, %llu operations (%llu answered)\n", totals.simulated_s,
              static_cast<unsigned long long>(totals.events), static_cast<unsigned long long>(totals.operations),
              static_cast<unsigned long long>(totals.acknowledged));
  for (const auto& [kind, count] : totals.faults) {
    std::printf("fault %-28s %llu\n", kind.c_str(), static_cast<unsigned long long>(count));
  }
  if (a.last - a.first + 1 >= 200 && a.life.mode == "mix" && a.plant.empty() && totals.seeds >= 200) {
    for (const std::string& kind : sim::fault_kinds()) {
      if (totals.faults[kind] == 0) {
        ++totals.violations;
        std::printf("violation: fault kind '%s' never fired\n", kind.c_str());
      }
    }
  }
  const double minutes = (now_s() - started) / 60;
  std::printf("seeds=%llu violations=%llu seeds_per_min=%.0f\n", static_cast<unsigned long long>(totals.seeds),
              static_cast<unsigned long long>(totals.violations), static_cast<double>(totals.seeds) / minutes);
  return totals.violations == 0 ? 0 : 1;
}
