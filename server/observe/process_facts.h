// What the kernel says of this process.
#pragma once

#include <cstdint>

namespace cairn::server {

struct ProcessFacts {
  uint64_t rss_bytes = 0;
  double cpu_user_s = 0, cpu_system_s = 0;
  uint64_t open_files = 0;
};
ProcessFacts process_facts();

// How many files and sockets this process may have open. raise: as many as the system lets it.
void raise_descriptor_limit();
uint64_t descriptor_limit();
// Of these, those that are not set aside for files and peers: a quarter, 512 at most.
uint64_t descriptors_for_clients();

}  // namespace cairn::server
