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

}  // namespace cairn::server
