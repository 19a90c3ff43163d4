#include "server/cli/cli.h"

// jemalloc's settings (jemalloc(3), TUNING), read before main(). Huge pages: memtables and cached blocks are touched in
// random order, and a page fault costs up to 30 us on a virtual machine; a pipelined load of SETs takes a fifth less
// CPU with them. Freed memory is kept for reuse: giving it back piecemeal breaks the huge pages again.
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf = "thp:always,dirty_decay_ms:-1";
}

int main(int argc, char** argv) { return cairn::server::run_cli(argc, argv); }
