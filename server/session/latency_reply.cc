// LATENCY: the monitor of spikes, and the histograms of commands.
#include <algorithm>

#include "server/commands/command_info.h"
#include "server/session/node_commands.h"
#include "server/session/wording.h"

namespace cairn::server {
namespace {

void answer_latest(const LatencyMonitor& monitor, RespWriter& reply) {
  reply.array(monitor.events().size());
  for (const auto& [name, event] : monitor.events()) {
    reply.array(4);
    reply.bulk(name);
    reply.integer(static_cast<int64_t>(event.samples.back().second));
    reply.integer(static_cast<int64_t>(event.samples.back().ms));
    reply.integer(static_cast<int64_t>(event.max_ms));
  }
}

void answer_history(const LatencyMonitor& monitor, std::string_view name, RespWriter& reply) {
  const auto event = monitor.events().find(name);
  if (event == monitor.events().end()) return reply.array(0);
  reply.array(event->second.samples.size());
  for (const LatencyMonitor::Sample& sample : event->second.samples) {
    reply.array(2);
    reply.integer(static_cast<int64_t>(sample.second));
    reply.integer(static_cast<int64_t>(sample.ms));
  }
}

void answer_reset(LatencyMonitor& monitor, Argv events, RespWriter& reply) {
  if (events.empty()) return reply.integer(static_cast<int64_t>(monitor.reset_all()));
  int64_t reset = 0;
  for (const std::string_view event : events) reset += monitor.reset(event) ? 1 : 0;
  reply.integer(reset);
}

// One column to a sample, eight rows high, the largest sample touching the top; below, how long ago each was.
std::string graph_of(std::string_view name, const LatencyMonitor::Event& event, uint64_t second_now) {
  constexpr size_t kColumns = 80, kRows = 8;
  const size_t columns = std::min(kColumns, event.samples.size());
  const auto first = event.samples.end() - static_cast<std::ptrdiff_t>(columns);
  uint64_t low = UINT64_MAX, high = 0;
  for (auto sample = first; sample != event.samples.end(); ++sample) {
    low = std::min(low, sample->ms);
    high = std::max(high, sample->ms);
  }
  std::string text = std::string(name) + " - high " + std::to_string(high) + " ms, low " + std::to_string(low) +
                     " ms (all time high " + std::to_string(event.max_ms) + " ms)\n" + std::string(columns, '-') + "\n";
  for (size_t row = kRows; row > 0; --row) {
    std::string line;
    for (auto sample = first; sample != event.samples.end(); ++sample) {
      const uint64_t height = high == 0 ? 1 : 1 + sample->ms * (kRows - 1) / high;
      line += height >= row ? (height == row ? '#' : '|') : ' ';
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  size_t longest = 0;
  std::vector<std::string> labels;
  for (auto sample = first; sample != event.samples.end(); ++sample) {
    const uint64_t age = second_now - std::min(second_now, sample->second);
    labels.push_back(age < 60      ? std::to_string(age) + "s"
                     : age < 3600  ? std::to_string(age / 60) + "m"
                     : age < 86400 ? std::to_string(age / 3600) + "h"
                                   : std::to_string(age / 86400) + "d");
    longest = std::max(longest, labels.back().size());
  }
  for (size_t row = 0; row < longest; ++row) {
    for (const std::string& label : labels) text += row < label.size() ? label[row] : ' ';
    text += "\n";
  }
  return text;
}

std::string doctor(const SessionHub& hub) {
  if (hub.settings.latency_threshold_ms == 0 && hub.latency.events().empty()) {
    return "The latency monitor is off. CONFIG SET latency-monitor-threshold <milliseconds> makes it note commands "
           "that "
           "take at least so long; LATENCY HISTOGRAM has the times of all commands without it.\n";
  }
  if (hub.latency.events().empty()) {
    return "No command has taken " + std::to_string(hub.settings.latency_threshold_ms) +
           " ms (latency-monitor-threshold) or longer.\n";
  }
  std::string text;
  for (const auto& [name, event] : hub.latency.events()) {
    uint64_t sum = 0;
    for (const LatencyMonitor::Sample& sample : event.samples) sum += sample.ms;
    text += name + ": " + std::to_string(event.samples.size()) + " seconds with spikes, " +
            std::to_string(sum / event.samples.size()) + " ms on average, " + std::to_string(event.max_ms) +
            " ms the worst.\n";
  }
  return text +
         "A time runs from evaluation to reply and so has waiting for the leader, its disk and a majority in it. "
         "SLOWLOG "
         "GET tells which commands; /metrics has the times of disk writes (cairn_log_sync_duration_seconds) and "
         "commits "
         "(cairn_consensus_commit_duration_seconds).\n";
}

struct Histogram {
  std::string name;
  const LatencyHistogram* times;
};

void add_histograms(const CommandStats& stats, const CommandSpec& spec, const SubcommandSpec* only,
                    std::vector<Histogram>& out) {
  const auto add = [&](const SubcommandSpec* sub) {
    if (const auto& times = stats.of(spec, sub).times) out.push_back({full_name(spec, sub), times.get()});
  };
  if (only != nullptr) return add(only);
  add(nullptr);
  for (const SubcommandSpec& sub : subcommand_table()) {
    if (sub.container == spec.name) add(&sub);
  }
}

void answer_histogram(Argv names, const CommandStats* stats, RespWriter& reply) {
  std::vector<Histogram> found;
  if (stats != nullptr && names.empty()) {
    for (const CommandSpec& spec : command_table()) add_histograms(*stats, spec, nullptr, found);
  } else if (stats != nullptr) {
    for (const std::string_view name : names) {
      const SubcommandSpec* sub = nullptr;
      if (const CommandSpec* spec = find_full(name, &sub)) add_histograms(*stats, *spec, sub, found);
    }
  }
  reply.map(found.size());
  for (const Histogram& histogram : found) {
    reply.bulk(histogram.name);
    reply.map(2);
    reply.bulk("calls");
    reply.integer(static_cast<int64_t>(histogram.times->count()));
    reply.bulk("histogram_usec");
    const auto buckets = histogram.times->by_powers_of_two();
    reply.map(buckets.size());
    for (const auto& [us, count] : buckets) {
      reply.integer(static_cast<int64_t>(us));
      reply.integer(static_cast<int64_t>(count));
    }
  }
}

}  // namespace

void answer_latency(std::string_view subcommand, Argv argv, SessionHub& hub, const CommandStats* stats,
                    uint64_t second_now, RespWriter& reply) {
  if (subcommand == "LATEST") return answer_latest(hub.latency, reply);
  if (subcommand == "HISTORY") return answer_history(hub.latency, argv[2], reply);
  if (subcommand == "RESET") return answer_reset(hub.latency, argv.subspan(2), reply);
  if (subcommand == "HISTOGRAM") return answer_histogram(argv.subspan(2), stats, reply);
  if (subcommand == "DOCTOR") return reply.verbatim(doctor(hub));
  const auto event = hub.latency.events().find(argv[2]);  // GRAPH
  if (event == hub.latency.events().end()) {
    return reply.error(quoted_error("ERR No samples available for event '", argv[2]));
  }
  reply.verbatim(graph_of(event->first, event->second, second_now));
}

}  // namespace cairn::server
