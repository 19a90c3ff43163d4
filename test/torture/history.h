// Random histories of the storage engine, compared with a model, and power cuts at every call to the file system.
// For unit tests (a few seeds) and for cairn-torture (as many as there is time for).
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace cairn::storage::test {

// The engine did something else than the model; says what, and under which seed it happens again.
struct HistoryFailed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct HistoryOptions {
  // At every call that changes files the power is cut so many times, each time on a copy of the disk on which another
  // selection of what was not synced has survived, in another order; the engine is opened there and compared with what
  // it may show. 0: only at the end of a life.
  uint32_t outcomes = 0;
  uint64_t crash_points_max = ~0ull;  // of one history
  double crash_share = 1;             // of those calls, drawn from the seed
};

struct HistoryCounts {
  uint64_t operations = 0;    // writes of rows and checks of rows, pages, scans and fetches
  uint64_t crash_points = 0;  // calls at which the power was cut
  uint64_t outcomes = 0;      // disks that were opened after it
  uint64_t reshapes = 0;      // splits and merges
  uint64_t ingestions = 0;    // of ready-made files, while power was there
};

// One tablet that files are taken into, too, and a second one that snapshots of the first are installed into, through
// several lives with a crash between them; strategy, sizes of everything and what the kernel caches are drawn from the
// seed. Throws HistoryFailed.
void run_tablet_history(uint64_t seed, const HistoryOptions& options, HistoryCounts& counts);
// Tablets that are split and merged again and again, by keys and with deleted prefixes of every kind, and files that
// are taken in between, likewise.
void run_reshape_history(uint64_t seed, const HistoryOptions& options, HistoryCounts& counts);
// A tablet on real threads, with several reads at once beside writes, ready-made files, compactions and snapshots.
void run_thread_history(uint64_t seed, HistoryCounts& counts);
// The shared log, likewise: what was acknowledged is there, what is there was written.
void run_log_history(uint64_t seed, const HistoryOptions& options, HistoryCounts& counts);

}  // namespace cairn::storage::test
