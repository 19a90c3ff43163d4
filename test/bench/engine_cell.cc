#include "test/bench/engine_cell.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <sstream>

#include "test/bench/engine_memory.h"

namespace cairn::bench {
namespace {

namespace fs = std::filesystem;
using Outcome = CellRunner::Outcome;

constexpr uint64_t kProgramBytes = 32u << 20;  // what a process takes before it holds any data

// Runs `work` in a child process: its counters start at zero, and what an engine leaves behind in the heap or in
// threads is gone with it. The caller must have no threads.
Outcome in_child(const std::string& what, const std::function<bool(CellResult&)>& work, CellResult& result) {
  int pipe_ends[2];
  if (::pipe(pipe_ends) != 0) return Outcome::kFailed;
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) return Outcome::kFailed;
  if (child == 0) {
    ::close(pipe_ends[0]);
    auto outcome = Outcome::kFailed;
    CellResult made;
    try {
      outcome = work(made) ? Outcome::kMeasured : Outcome::kSkipped;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s: %s\n", what.c_str(), error.what());
    }
    const bool told = ::write(pipe_ends[1], &made, sizeof made) == sizeof made;
    ::_exit(told ? static_cast<int>(outcome) : static_cast<int>(Outcome::kFailed));
  }
  ::close(pipe_ends[1]);
  size_t got = 0;
  while (got < sizeof result) {
    const ssize_t n = ::read(pipe_ends[0], reinterpret_cast<char*>(&result) + got, sizeof result - got);
    if (n <= 0) break;
    got += static_cast<size_t>(n);
  }
  ::close(pipe_ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFEXITED(status)) {
    std::fprintf(stderr, "%s: died of signal %d\n", what.c_str(), WTERMSIG(status));
    return Outcome::kFailed;
  }
  return got == sizeof result ? static_cast<Outcome>(WEXITSTATUS(status)) : Outcome::kFailed;
}

Outcome skipped(const std::string& what, const char* why) {
  std::fprintf(stderr, "%s: skipped, %s\n", what.c_str(), why);
  return Outcome::kSkipped;
}

std::string file_content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void fresh_directory(const std::string& dir) {
  fs::remove_all(dir);
  fs::create_directories(dir);
}

}  // namespace

CellRunner::~CellRunner() {
  for (const EngineKind* engine : options_.engines) {
    std::error_code ignored;
    if (!options_.keep_data) {
      fs::remove(loaded_note(*engine), ignored);
      fs::remove_all(loaded_dir(*engine), ignored);
    }
    fs::remove_all(work_dir(*engine), ignored);
  }
  std::error_code ignored;
  fs::remove(options_.dir, ignored);  // if it is empty
}

TargetOptions CellRunner::target_options(const Workload& workload, const std::string& dir) const {
  const uint64_t whole = options_.cache_bytes > 0 ? options_.cache_bytes : 2 * data_bytes() + (8u << 20);
  TargetOptions target;
  target.dir = dir;
  target.cache_bytes = whole;
  if (workload.cache == CacheSize::kTenth) target.cache_bytes = data_bytes() / 10;
  target.memtable_bytes = options_.memtable_bytes;
  target.log = workload.log;
  target.strategy = options_.strategy;
  target.compression = options_.compression;
  target.uring = options_.uring;
  target.polled_reads = options_.polled_reads;
  target.block_bytes = options_.block_bytes;
  return target;
}

std::string CellRunner::what_is_loaded(const EngineKind& engine) const {
  std::ostringstream out;
  out << engine.name << ' ' << engine.version << " keys=" << options_.cell.keys
      << " key_style=" << static_cast<int>(options_.cell.style) << " value_bytes=" << options_.cell.value_bytes
      << " strategy=" << to_string(options_.strategy) << " compression=" << to_string(options_.compression)
      << " block_bytes=" << options_.block_bytes << " memtable_bytes=" << options_.memtable_bytes << '\n';
  return std::move(out).str();
}

bool CellRunner::prepare_loaded(const EngineKind& engine) {
  if (std::ranges::find(loaded_, &engine) != loaded_.end()) return true;
  if (options_.keep_data && file_content(loaded_note(engine)) == what_is_loaded(engine)) {
    loaded_.push_back(&engine);
    return true;
  }
  fs::remove(loaded_note(engine));
  fresh_directory(loaded_dir(engine));
  TargetOptions target = target_options(workloads()[0], loaded_dir(engine));
  CellResult unused;
  const auto work = [&](CellResult&) {
    load(*engine.open(target), options_.cell);
    return true;
  };
  if (in_child("loading " + engine.name, work, unused) != Outcome::kMeasured) return false;
  if (options_.keep_data) std::ofstream(loaded_note(engine)) << what_is_loaded(engine);
  loaded_.push_back(&engine);
  return true;
}

Outcome CellRunner::run(const Workload& workload, const EngineKind& engine, CellResult& result) {
  const std::string what = std::string(workload.name) + " of " + engine.name;
  if (workload.setting != Setting::kEmpty && !prepare_loaded(engine)) return Outcome::kFailed;
  std::string dir = work_dir(engine);
  if (workload.setting == Setting::kLoaded) {
    dir = loaded_dir(engine);
  } else {
    fresh_directory(dir);
    if (workload.setting == Setting::kCopied) fs::copy(loaded_dir(engine), dir, fs::copy_options::recursive);
  }
  ::sync();  // what was written before is not this cell's to wait for
  TargetOptions target = target_options(workload, dir);
  std::optional<MemoryBound> bound;
  if (workload.memory_half) {
    const uint64_t half = directory_bytes(dir) / 2;
    target.cache_bytes = half / 2;
    bound.emplace(kProgramBytes + half);
    if (!bound->works()) return skipped(what, "there is no memory controller that this process may use");
    drop_from_page_cache(dir);
  }
  const auto work = [&](CellResult& measured) {
    if (bound) bound->join();
    return workload.run(*engine.open(target), options_.cell, measured);
  };
  const Outcome outcome = in_child(what, work, result);
  if (outcome == Outcome::kSkipped) return skipped(what, "it cannot do that");
  if (outcome == Outcome::kMeasured) result.final_bytes = directory_bytes(dir);
  if (workload.setting != Setting::kLoaded) fs::remove_all(dir);
  return outcome;
}

}  // namespace cairn::bench
