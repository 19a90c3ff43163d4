// session_bench [seconds]: what one command costs between the bytes of a pipeline and the bytes of its reply,
// over rows in memory. CSV: workload, commands, ns per command, allocations per command.
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>

#include "server/session/session.h"
#include "test/support/memory_sink.h"

using namespace cairn;

namespace {
uint64_t allocations = 0;
}
// Not inlined: GCC takes a free() that it sees for a wrong partner of the new that it does not.
[[gnu::noinline]] void* operator new(size_t bytes) {
  ++allocations;
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace {
double now_s() {
  timespec ts{};
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return static_cast<double>(ts.tv_sec) + static_cast<double>(ts.tv_nsec) * 1e-9;
}
std::string command(std::initializer_list<std::string> argv) {
  std::string out = "*" + std::to_string(argv.size()) + "\r\n";
  for (const auto& a : argv) out += "$" + std::to_string(a.size()) + "\r\n" + a + "\r\n";
  return out;
}
void measure(const char* name, const std::string& batch, size_t commands, double seconds, bool named) {
  test::MemorySink sink;
  sink.rows.recording = false;
  sink.rows.knows_exploded = true;
  server::CommandStats stats;
  server::SessionOptions options;
  options.stats = &stats;
  server::Session session(1, sink, options);
  for (int i = 0; i < 1000; ++i) {
    session.on_input(command({"SET", "key:" + std::to_string(i), std::string(64, 'v')}));
    if (named) session.on_input(command({"HSET", "hash:" + std::to_string(i), "f1", "v1", "f2", "v2", "f3", "v3"}));
  }
  session.output().clear();
  session.on_input(batch);
  session.output().clear();
  uint64_t done = 0;
  const uint64_t allocations_before = allocations;
  const double start = now_s();
  double elapsed = 0;
  do {
    for (int i = 0; i < 100; ++i) {
      session.on_input(batch);
      session.output().clear();
    }
    done += 100 * commands;
    elapsed = now_s() - start;
  } while (elapsed < seconds);
  std::printf("%s,%lu,%.1f,%.3f\n", name, static_cast<unsigned long>(done), elapsed * 1e9 / static_cast<double>(done),
              static_cast<double>(allocations - allocations_before) / static_cast<double>(done));
}
}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 0.5;
  constexpr int kBatch = 64;
  std::string ping, get, set, incr, hget, mget;
  for (int i = 0; i < kBatch; ++i) {
    const std::string n = std::to_string(i * 15);
    ping += command({"PING"});
    get += command({"GET", "key:" + n});
    set += command({"SET", "key:" + n, std::string(64, 'x')});
    incr += command({"INCR", "counter:" + n});
    hget += command({"HGET", "hash:" + n, "f2"});
    mget += command({"MGET", "key:1", "key:2", "key:3", "key:4"});
  }
  std::printf("workload,commands,ns_per_command,allocations_per_command\n");
  measure("PING", ping, kBatch, seconds, false);
  measure("GET", get, kBatch, seconds, false);
  measure("SET", set, kBatch, seconds, false);
  measure("INCR", incr, kBatch, seconds, false);
  measure("HGET", hget, kBatch, seconds, true);
  measure("MGET4", mget, kBatch, seconds, false);
}
