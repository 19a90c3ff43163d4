// MEMORY STATS and DOCTOR: what of INFO memory answers them. MEMORY USAGE runs on the key's leader.
#include <algorithm>
#include <charconv>

#include "server/session/node_commands.h"
#include "server/session/session.h"

namespace cairn::server {
namespace {

uint64_t fact(const InfoSections& sections, std::string_view name) {
  for (const auto& [section, fields] : sections) {
    for (const auto& [field, value] : fields) {
      if (field != name) continue;
      uint64_t number = 0;
      std::from_chars(value.data(), value.data() + value.size(), number);
      return number;
    }
  }
  return 0;
}

std::string mebibytes(uint64_t bytes) { return std::to_string(bytes / 1'048'576) + " MiB"; }

}  // namespace

void answer_memory(std::string_view subcommand, const InfoSections& facts, const SessionHub& hub, RespWriter& reply) {
  uint64_t clients = 0;
  for (const auto& [id, session] : hub.sessions()) clients += session->memory_bytes();
  const uint64_t memory = fact(facts, "used_memory");
  const uint64_t peak = std::max(memory, fact(facts, "used_memory_peak"));
  const uint64_t memtables = fact(facts, "mem_memtables");
  const uint64_t cache = fact(facts, "mem_block_cache");
  if (subcommand == "STATS") {
    const std::pair<std::string_view, uint64_t> fields[] = {
        {"peak.allocated", peak}, {"total.allocated", memory}, {"clients.normal", clients},
        {"memtables", memtables}, {"block.cache", cache},      {"dataset.bytes", memtables + cache},
    };
    reply.map(std::size(fields));
    for (const auto& [name, value] : fields) {
      reply.bulk(name);
      reply.integer(static_cast<int64_t>(value));
    }
    return;
  }
  // DOCTOR
  std::string text;
  if (memory * 10 < peak * 7) {
    text += "Memory is at " + mebibytes(memory) + ", its peak was " + mebibytes(peak) +
            ": what was freed is kept for the next peak.\n";
  }
  if (clients > memory / 4 && clients > 64u << 20) {
    text += "Buffers of " + std::to_string(hub.sessions().size()) + " connections take " + mebibytes(clients) +
            ": look for large omem, obl and qbuf in CLIENT LIST.\n";
  }
  if (memtables + cache + clients < memory / 2 && memory > 256u << 20) {
    text += "Memtables (" + mebibytes(memtables) + "), cached blocks (" + mebibytes(cache) + ") and connections (" +
            mebibytes(clients) + ") are less than half of " + mebibytes(memory) +
            ": the rest is logs in memory, filters and indexes, and free space of the allocator.\n";
  }
  reply.verbatim(text.empty() ? "Nothing about the memory of this node looks unusual.\n" : text);
}

}  // namespace cairn::server
