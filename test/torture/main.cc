// cairn-torture: the histories of the unit tests, under as many seeds and crash points as are asked for.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "test/torture/history.h"

using cairn::storage::test::HistoryCounts;
using cairn::storage::test::HistoryOptions;

namespace {

struct Goal {
  uint64_t first_seed = 1;
  uint64_t operations = 100'000;
  uint64_t crash_points = 1'000;
  uint32_t outcomes = 3;
  double share = 1;
  double seconds = 0;
};

// Runs seeds until `enough`; the last one that began is finished.
template <class Enough>
void run(const Goal& goal, const HistoryOptions& options, const char* what, Enough enough) {
  const auto began = std::chrono::steady_clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(); };
  HistoryCounts counts;
  uint64_t seed = goal.first_seed;
  for (; !enough(counts) && (goal.seconds == 0 || elapsed() < goal.seconds / 2); ++seed) {
    run_tablet_history(seed, options, counts);
    run_reshape_history(seed, options, counts);
    if (options.outcomes == 0) run_thread_history(seed, counts);
    run_log_history(seed, options, counts);
  }
  std::printf(
      "%s: seeds %llu..%llu, %llu operations, %llu reshapes, %llu ingestions, power cut at %llu calls, %llu disks "
      "recovered, no difference, %.0f s\n",
      what, static_cast<unsigned long long>(goal.first_seed), static_cast<unsigned long long>(seed - 1),
      static_cast<unsigned long long>(counts.operations), static_cast<unsigned long long>(counts.reshapes),
      static_cast<unsigned long long>(counts.ingestions), static_cast<unsigned long long>(counts.crash_points),
      static_cast<unsigned long long>(counts.outcomes), elapsed());
  std::fflush(stdout);
}

int usage(const char* name) {
  std::fprintf(
      stderr,
      "%s [--first-seed N] [--operations N] [--crash-points N] [--outcomes N] [--share P] [--seconds S]\n"
      "Random histories of tablets, of splits, merges and ready-made files, and of the log beside a model, at least so "
      "many operations; "
      "then histories whose\n"
      "power is cut at every call that changes a file, at least so many calls, so many disks recovered at each;\n"
      "with a share below 1 at so many of them, which takes more seeds.\n"
      "Ends earlier after --seconds.\n",
      name);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  Goal goal;
  for (int i = 1; i < argc; i += 2) {
    const std::string option = argv[i];
    char* end = nullptr;
    const double value = i + 1 < argc ? std::strtod(argv[i + 1], &end) : -1;
    if (end == nullptr || *end != '\0' || end == argv[i + 1] || value < 0) return usage(argv[0]);
    const auto whole = static_cast<uint64_t>(value);
    if (option == "--first-seed") {
      goal.first_seed = whole;
    } else if (option == "--operations") {
      goal.operations = whole;
    } else if (option == "--crash-points") {
      goal.crash_points = whole;
    } else if (option == "--outcomes" && whole > 0) {
      goal.outcomes = static_cast<uint32_t>(whole);
    } else if (option == "--share" && value > 0) {
      goal.share = value;
    } else if (option == "--seconds") {
      goal.seconds = value;
    } else {
      return usage(argv[0]);
    }
  }
  try {
    run(goal, {}, "histories", [&](const HistoryCounts& counts) { return counts.operations >= goal.operations; });
    run(goal, {.outcomes = goal.outcomes, .crash_share = goal.share}, "crash points",
        [&](const HistoryCounts& counts) { return counts.crash_points >= goal.crash_points; });
  } catch (const std::exception& failed) {
    std::fprintf(stderr, "%s\n", failed.what());
    return 1;
  }
  return 0;
}
