#include <cstdio>
#include <string>

#include "test/bench/commands.h"

// As in the daemon, see server/main.cc; the engines that are compared run in this process and get the same allocator.
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf = "thp:always,dirty_decay_ms:-1";
}

int main(int argc, char** argv) {
  using namespace cairn::bench;
  const std::string command = argc > 1 ? argv[1] : "";
  int code = kUsage;
  if (command == "compaction") code = run_compaction(argc - 2, argv + 2);
  if (command == "engine") code = run_engine(argc - 2, argv + 2);
  if (command == "tablets") code = run_tablets(argc - 2, argv + 2);
  if (command == "switch") code = run_switch(argc - 2, argv + 2);
  if (code == kUsage) {
    std::fputs(
        "usage: cairn-bench compaction [--engine] [--k-over-m=64,512] [--workload=NAME] [--strategy=NAME]\n"
        "         [--memtable-rows=N]\n"
        "       cairn-bench engine [--workloads LIST] [--engines LIST] [--keys N] [--value-bytes N]\n"
        "         [--key-style decimal|binary] [--rounds N] [--strategy NAME] [--cache-mb N] [--memtable-mb N]\n"
        "         [--block-kb N] [--reads uring|threads] [--polled-reads on|off]\n"
        "         [--keep-data] [--dir D]\n"
        "       cairn-bench switch [--data-mb=1024] [--value-bytes=400] [--puts-per-s=40000] [--memtable-mb=16] "
        "[--dir=D]\n"
        "       cairn-bench tablets [--tablets N] [--flushed] [--dir D]\n",
        stderr);
  }
  return code;
}
