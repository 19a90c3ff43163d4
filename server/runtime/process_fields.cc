#include "server/runtime/process_fields.h"

#include <fmt/format.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/version.h"
#include "server/observe/process_facts.h"

namespace cairn::server {
namespace {

std::string human(uint64_t bytes) {
  constexpr std::pair<uint64_t, char> kUnits[] = {
      {1ull << 40, 'T'}, {1ull << 30, 'G'}, {1ull << 20, 'M'}, {1ull << 10, 'K'}};
  for (const auto& [size, name] : kUnits) {
    if (bytes >= size) return fmt::format("{:.2f}{}", static_cast<double>(bytes) / static_cast<double>(size), name);
  }
  return fmt::format("{}B", bytes);
}

std::string system_name() {
  utsname name{};
  return ::uname(&name) == 0 ? fmt::format("{} {} {}", name.sysname, name.release, name.machine) : "unknown";
}

std::string executable() {
  char path[4096];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path);
  return length > 0 ? std::string(path, static_cast<size_t>(length)) : "";
}

uint64_t resident_bytes() {
  unsigned long size = 0, resident = 0;
  FILE* statm = std::fopen("/proc/self/statm", "r");
  if (statm == nullptr) return 0;
  const bool read = std::fscanf(statm, "%lu %lu", &size, &resident) == 2;
  std::fclose(statm);
  return read ? uint64_t{resident} * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

uint64_t system_memory() {
  struct sysinfo facts {};
  return ::sysinfo(&facts) == 0 ? uint64_t{facts.totalram} * facts.mem_unit : 0;
}

}  // namespace

void ProcessFields::sample() {
  before_ = last_;
  const auto& net = s_.clients->metrics();
  last_ = {s_.clock->now(), s_.stats->commands.get(), net.bytes_in.get(), net.bytes_out.get()};
  peak_rss_ = std::max(peak_rss_, resident_bytes());
}

void ProcessFields::extend(std::map<std::string, std::vector<std::pair<std::string, std::string>>>& sections) {
  const ProcessFacts process = process_facts();
  peak_rss_ = std::max(peak_rss_, process.rss_bytes);
  const config::NodeConfig& config = s_.config->current();
  const auto& net = s_.clients->metrics();
  const uint64_t up = (s_.clock->now() - started_) / kSecond;
  const double seconds = std::max(0.001, static_cast<double>(last_.at - before_.at) * 1e-9);
  const auto rate = [&](uint64_t now, uint64_t then) {  // a reset of the statistics in between counts as nothing
    return before_.at == 0 || now < then ? 0.0 : static_cast<double>(now - then) / seconds;
  };
  const auto add = [&](const char* section, std::string_view name, std::string value) {
    sections[section].emplace_back(name, std::move(value));
  };
  add("server", "os", system_name());
  add("server", "process_id", std::to_string(getpid()));
  add("server", "uptime_in_seconds", std::to_string(up));
  add("server", "uptime_in_days", std::to_string(up / 86400));
  add("server", "executable", executable());
  add("server", "config_file", s_.config->file());
  add("server", "io_threads_active", "0");
  add("server", "cairn_version", std::string(kVersion));
  if (config.insecure) add("server", "insecure", "1");
  add("clients", "maxclients", std::to_string(s_.clients->clients_max()));

  add("memory", "used_memory", std::to_string(process.rss_bytes));
  add("memory", "used_memory_human", human(process.rss_bytes));
  add("memory", "used_memory_rss", std::to_string(process.rss_bytes));
  add("memory", "used_memory_rss_human", human(process.rss_bytes));
  add("memory", "used_memory_peak", std::to_string(peak_rss_));
  add("memory", "used_memory_peak_human", human(peak_rss_));
  add("memory", "total_system_memory", std::to_string(system_memory()));
  add("memory", "total_system_memory_human", human(system_memory()));
  add("memory", "maxmemory", "0");
  add("memory", "maxmemory_human", "0B");
  add("memory", "maxmemory_policy", "noeviction");
  add("memory", "mem_fragmentation_ratio", "1.00");
  add("memory", "mem_block_cache", std::to_string(config.storage_block_cache_bytes));

  add("stats", "total_connections_received", std::to_string(net.accepted.get()));
  add("stats", "instantaneous_ops_per_sec", fmt::format("{:.0f}", rate(last_.commands, before_.commands)));
  add("stats", "total_net_input_bytes", std::to_string(net.bytes_in.get()));
  add("stats", "total_net_output_bytes", std::to_string(net.bytes_out.get()));
  add("stats", "instantaneous_input_kbps", fmt::format("{:.2f}", rate(last_.bytes_in, before_.bytes_in) / 1024));
  add("stats", "instantaneous_output_kbps", fmt::format("{:.2f}", rate(last_.bytes_out, before_.bytes_out) / 1024));
  add("stats", "rejected_connections", std::to_string(net.rejected.get()));
  add("stats", "evicted_keys", "0");
  add("stats", "pubsub_channels", "0");
  add("stats", "pubsub_patterns", "0");
  add("stats", "slowlog_length", std::to_string(s_.node->hub().slow_log.entries().size()));
  add("cpu", "used_cpu_sys", fmt::format("{:.6f}", process.cpu_system_s));
  add("cpu", "used_cpu_user", fmt::format("{:.6f}", process.cpu_user_s));
}

}  // namespace cairn::server
