// The commands of cairn-bench. Each gets the arguments behind its name and returns the exit code of the process.
#pragma once

namespace cairn::bench {

inline constexpr int kUsage = 2;  // the arguments make no sense: main() says what would

int run_compaction(int argc, char** argv);
int run_engine(int argc, char** argv);
int run_tablets(int argc, char** argv);

}  // namespace cairn::bench
