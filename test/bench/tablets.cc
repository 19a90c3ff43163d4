// `cairn-bench tablets`: what tablets cost that nobody uses.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "server/runtime/background_pool.h"
#include "storage/io/real_file_system.h"
#include "storage/tablet.h"
#include "storage/write_batch.h"
#include "test/bench/commands.h"
#include "test/bench/engine_loop.h"

// jemalloc's; null where the program was built without it.
extern "C" int mallctl(const char* name, void* old, size_t* old_bytes, void* fresh, size_t fresh_bytes)
    __attribute__((weak));

namespace cairn::bench {
namespace {

using namespace storage;

struct Memory {
  uint64_t resident = 0;  // bytes, of the process
  uint64_t heap = 0;      // bytes that were asked for and not given back; 0: unknown
  static Memory now() {
    Memory memory;
    std::ifstream statm("/proc/self/statm");
    uint64_t pages = 0;
    statm >> pages >> memory.resident;
    memory.resident *= static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
    if (mallctl != nullptr) {
      uint64_t epoch = 1;
      size_t heap = 0, bytes = sizeof heap;
      mallctl("epoch", nullptr, nullptr, &epoch, sizeof epoch);  // else the numbers are old
      if (mallctl("stats.allocated", &heap, &bytes, nullptr, 0) == 0) memory.heap = heap;
    }
    return memory;
  }
};

void print(const char* state, uint64_t tablets, const Memory& before) {
  const Memory now = Memory::now();
  const uint64_t heap = now.heap - before.heap;
  std::printf("%s,%llu,%.2f,%.2f,%.0f\n", state, static_cast<unsigned long long>(tablets),
              static_cast<double>(now.resident - before.resident) / (1 << 20), static_cast<double>(heap) / (1 << 20),
              static_cast<double>(heap) / static_cast<double>(tablets));
}

template <class T>
T checked(Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "%s\n", to_string(result.error()).c_str());
  std::exit(1);
}

// Empty ones; then each with one small row written and flushed away.
void measure(uint64_t tablets, const std::string& dir, bool written) {
  const auto fs = make_real_file_system();
  BenchLoop loop;
  server::BackgroundPool background{2};
  SteadyClock clock;
  TabletStore::Environment env;
  env.fs = fs.get();
  env.background = &background;
  env.loop = &loop;
  env.clock = &clock;
  const auto path = [&](const char* name) { return join_path(dir, name); };
  const auto store = checked(TabletStore::open(env, path("shard-0"), path("sst"), path("snap"), TabletStoreOptions{}));
  const Memory before = Memory::now();
  for (uint64_t i = 1; i <= tablets; ++i) checked(store->create(RangeId{i}));
  print("empty", tablets, before);
  for (uint64_t i = 1; written && i <= tablets; ++i) {
    Tablet* const tablet = store->find(RangeId{i});
    WriteBatch batch;
    batch.put("key", "value");
    if (const auto applied = tablet->apply({{1}, {1}, 1, 0}, batch.bytes()); !applied) std::exit(1);
    tablet->flush();
    while (tablet->flushed().index < LogIndex{1}) loop.wait(kMillisecond);
  }
  while (written && !(background.idle() && loop.idle())) loop.wait(kMillisecond);
  if (written) print("one row flushed", tablets, before);
  background.stop();
  loop.run_ready();
}

}  // namespace

int run_tablets(int argc, char** argv) {
  uint64_t tablets = 10'000;
  std::string dir = "cairn-bench.tablets";
  bool written = false;
  for (int i = 0; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--flushed") {
      written = true;
    } else if (name == "--tablets" && i + 1 < argc) {
      tablets = std::strtoull(argv[++i], nullptr, 10);
    } else if (name == "--dir" && i + 1 < argc) {
      dir = argv[++i];
    } else {
      return kUsage;
    }
  }
  if (tablets == 0) return kUsage;
  std::filesystem::remove_all(dir);
  std::puts("state,tablets,resident_mib,heap_mib,heap_bytes_per_tablet");
  measure(tablets, dir, written);
  std::filesystem::remove_all(dir);
  return 0;
}

}  // namespace cairn::bench
