// How long this machine keeps a thread from running that never waits for anything.
#pragma once

#include "test/bench/engine_statistics.h"

namespace cairn::bench {

// Looks at the clock for so long, beside two busy threads with the priorities of the daemon's background: one for
// flushes, one for compactions. What lies between two looks is the machine's doing (its scheduler, its host), so no
// latency measured beside background work can be expected to stay below it.
Latencies machine_gaps(Duration length);

}  // namespace cairn::bench
