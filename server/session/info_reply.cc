#include "server/session/info_reply.h"

#include <algorithm>
#include <array>

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

void add_command_stats(InfoSections& sections, const CommandStats& stats) {
  Fields& fields = section_of(sections, "commandstats");
  const auto table = command_table();
  for (size_t i = 0; i < table.size(); ++i) {
    const CommandStats::Entry& entry = stats.by_command[i];
    if (entry.calls.get() == 0 && entry.rejected.get() == 0) continue;
    std::string name = "cmdstat_" + std::string(table[i].name);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    fields.emplace_back(std::move(name),
                        "calls=" + std::to_string(entry.calls.get()) +
                            ",usec=0,usec_per_call=0.00,rejected_calls=" + std::to_string(entry.rejected.get()) +
                            ",failed_calls=" + std::to_string(entry.failed.get()));
  }
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
  fill_in(server, "redis_version", "7.0.15");
  fill_in(server, "redis_mode", whole ? "standalone" : "cluster");
  fill_in(server, "arch_bits", "64");
  fill_in(section_of(sections, "persistence"), "loading", "0");
  fill_in(section_of(sections, "replication"), "role", "master");
  fill_in(section_of(sections, "cluster"), "cluster_enabled", whole ? "0" : "1");
  section_of(sections, "modules");
  if (stats != nullptr) add_command_stats(sections, *stats);

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
