#include "server/session/info_reply.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/version.h"
#include "server/commands/command_info.h"

namespace cairn::server {
namespace {

struct Section {
  std::string_view name;
  std::string_view title;
  bool by_default;
};
constexpr auto kSections = std::to_array<Section>({
    {"server", "Server", true},
    {"clients", "Clients", true},
    {"memory", "Memory", true},
    {"persistence", "Persistence", true},
    {"stats", "Stats", true},
    {"replication", "Replication", true},
    {"cpu", "CPU", true},
    {"modules", "Modules", true},
    {"commandstats", "Commandstats", false},
    {"errorstats", "Errorstats", true},
    {"latencystats", "Latencystats", false},
    {"cluster", "Cluster", true},
    {"keyspace", "Keyspace", true},
});

using Fields = std::vector<std::pair<std::string, std::string>>;

Fields& section_of(InfoSections& sections, std::string_view name) {
  for (auto& [section, fields] : sections) {
    if (section == name) return fields;
  }
  return sections.emplace_back(std::string(name), Fields{}).second;
}

void fill_in(Fields& fields, std::string_view name, std::string_view value) {
  for (const auto& [known, unused] : fields) {
    if (known == name) return;
  }
  fields.emplace_back(name, value);
}

void add_stats(InfoSections& sections, const CommandStats& stats) {
  Fields calls, times, errors;
  const auto add = [&](const CommandSpec& spec, const SubcommandSpec* sub) {
    const CommandStats::Entry& entry = stats.of(spec, sub);
    const uint64_t count = entry.calls.get(), us = entry.us.get();
    if (count == 0 && entry.rejected.get() == 0) return;
    const std::string name = full_name(spec, sub);
    char per_call[32];
    std::snprintf(per_call, sizeof per_call, "%.2f",
                  count == 0 ? 0.0 : static_cast<double>(us) / static_cast<double>(count));
    calls.emplace_back("cmdstat_" + name, "calls=" + std::to_string(count) + ",usec=" + std::to_string(us) +
                                              ",usec_per_call=" + per_call +
                                              ",rejected_calls=" + std::to_string(entry.rejected.get()) +
                                              ",failed_calls=" + std::to_string(entry.failed.get()));
    if (!entry.times) return;
    const auto quantile = [&](double fraction) { return std::to_string(entry.times->quantile_us(fraction)); };
    times.emplace_back("latency_percentiles_usec_" + name,
                       "p50=" + quantile(0.5) + ",p99=" + quantile(0.99) + ",p99.9=" + quantile(0.999));
  };
  for (const CommandSpec& spec : command_table()) {
    add(spec, nullptr);
    for (const SubcommandSpec& sub : subcommand_table()) {
      if (sub.container == spec.name) add(spec, &sub);
    }
  }
  for (const auto& [kind, count] : stats.errors)
    errors.emplace_back("errorstat_" + kind, "count=" + std::to_string(count));
  section_of(sections, "commandstats") = std::move(calls);
  section_of(sections, "latencystats") = std::move(times);
  section_of(sections, "errorstats") = std::move(errors);
  Fields& counters = section_of(sections, "stats");
  fill_in(counters, "total_commands_processed", std::to_string(stats.commands.get()));
  fill_in(counters, "total_error_replies", std::to_string(stats.error_replies.get()));
}

void append_section(std::string& text, std::string_view title, const Fields& fields) {
  if (!text.empty()) text += "\r\n";
  text += "# ";
  text += title;
  text += "\r\n";
  for (const auto& [name, value] : fields) {
    text += name;
    text += ':';
    text += value;
    text += "\r\n";
  }
}

}  // namespace

std::string info_text(InfoSections sections, Argv wanted, bool whole, const CommandStats* stats) {
  Fields& server = section_of(sections, "server");
  fill_in(server, "redis_version", kRedisVersion);
  fill_in(server, "redis_mode", whole ? "standalone" : "cluster");
  fill_in(server, "arch_bits", "64");
  fill_in(section_of(sections, "persistence"), "loading", "0");
  fill_in(section_of(sections, "replication"), "role", "master");
  fill_in(section_of(sections, "cluster"), "cluster_enabled", whole ? "0" : "1");
  section_of(sections, "modules");
  if (stats != nullptr) add_stats(sections, *stats);

  const auto asked = [&](std::string_view name) {
    return std::any_of(wanted.begin(), wanted.end(), [&](std::string_view text) {
      if (text.size() != name.size()) return false;
      for (size_t i = 0; i < text.size(); ++i) {
        if ((text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]) != name[i]) return false;
      }
      return true;
    });
  };
  const bool all = asked("all") || asked("everything");
  const bool by_default = all || wanted.empty() || asked("default");
  const bool modules = asked("everything") || wanted.empty() || asked("default");

  std::string text;
  for (const Section& section : kSections) {
    const bool in_group = section.name == "modules" ? modules : section.by_default ? by_default : all;
    if (!in_group && !asked(section.name)) continue;
    for (const auto& [name, fields] : sections) {
      if (name == section.name) append_section(text, section.title, fields);
    }
  }
  for (const auto& [name, fields] : sections) {
    const bool known =
        std::any_of(kSections.begin(), kSections.end(), [&](const Section& section) { return section.name == name; });
    if (known || name.empty() || (!by_default && !asked(name))) continue;
    std::string title = name;
    if (title[0] >= 'a' && title[0] <= 'z') title[0] = static_cast<char>(title[0] - 32);
    append_section(text, title, fields);
  }
  return text;
}

std::map<std::string, std::string> default_config_parameters() {
  return {
      {"activedefrag", "no"},
      {"aof-load-truncated", "yes"},
      {"appendfsync", "always"},
      {"appendonly", "yes"},
      {"bind", "127.0.0.1"},
      {"client-query-buffer-limit", "67108864"},
      {"cluster-enabled", "yes"},
      {"cluster-require-full-coverage", "no"},
      {"databases", "1"},
      {"dir", ""},
      {"hash-max-listpack-entries", "128"},
      {"hash-max-listpack-value", "64"},
      {"hz", "10"},
      {"io-threads", "1"},
      {"latency-tracking", "no"},
      {"list-max-listpack-size", "-2"},
      {"loglevel", "notice"},
      {"maxclients", "10000"},
      {"maxmemory", "0"},
      {"maxmemory-policy", "noeviction"},
      {"min-replicas-to-write", "0"},
      {"notify-keyspace-events", ""},
      {"port", "6379"},
      {"proto-max-bulk-len", "536870912"},
      {"protected-mode", "no"},
      {"replica-read-only", "yes"},
      {"replica-serve-stale-data", "yes"},
      {"requirepass", ""},
      {"save", ""},
      {"slave-read-only", "yes"},
      {"slowlog-log-slower-than", "10000"},
      {"slowlog-max-len", "128"},
      {"tcp-keepalive", "300"},
      {"timeout", "0"},
  };
}

}  // namespace cairn::server
