#include <dirent.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "base/version.h"
#include "server/http/admin_api.h"

namespace cairn::server {
namespace {

// The text format wants all samples of a family together, behind its one HELP and TYPE; callers may come in any order.
class Page {
 public:
  explicit Page(MetricsFormat format) : open_(format == MetricsFormat::kOpenMetrics) {}
  void counter(std::string_view name, std::string_view help, double value, std::string_view labels = "") {
    line(family(name, help, "counter"), name, labels, value);
  }
  void counter(std::string_view name, std::string_view help, const Counter& value, std::string_view labels = "") {
    counter(name, help, static_cast<double>(value.get()), labels);
  }
  void gauge(std::string_view name, std::string_view help, double value, std::string_view labels = "") {
    line(family(name, help, "gauge"), name, labels, value);
  }
  // `labels` without braces.
  void histogram(std::string_view name, std::string_view help, const HistogramView& h, std::string_view labels = "") {
    std::string& text = family(name, help, "histogram");
    const std::string braces = labels.empty() ? "" : fmt::format("{{{}}}", labels);
    const std::string first = labels.empty() ? "" : fmt::format("{},", labels);
    uint64_t total = 0;
    for (size_t i = 0; i + 1 < HistogramView::kBuckets; ++i) {
      total += h.counts[i];
      text += fmt::format("{}_bucket{{{}le=\"{}\"}} {}\n", name, first, DurationHistogram::upper_bound_s(i), total);
    }
    total = h.total();
    text += fmt::format("{}_bucket{{{}le=\"+Inf\"}} {}\n{}_sum{} {}\n{}_count{} {}\n", name, first, total, name, braces,
                        static_cast<double>(h.sum_ns) * 1e-9, name, braces, total);
  }
  std::string take() const {
    std::string page;
    for (const std::string& text : families_) page += text;
    if (open_) page += "# EOF\n";
    return page;
  }

 private:
  std::string& family(std::string_view name, std::string_view help, std::string_view type) {
    const auto [known, fresh] = places_.try_emplace(std::string(name), families_.size());
    if (fresh) {
      // OpenMetrics names the family of a counter without the suffix of its sample.
      constexpr std::string_view kTotal = "_total";
      if (open_ && name.ends_with(kTotal)) name.remove_suffix(kTotal.size());
      families_.push_back(fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type));
    }
    return families_[known->second];
  }
  static void line(std::string& text, std::string_view name, std::string_view labels, double value) {
    if (value == static_cast<double>(static_cast<int64_t>(value))) {
      text += fmt::format("{}{} {}\n", name, labels, static_cast<int64_t>(value));
    } else {
      text += fmt::format("{}{} {}\n", name, labels, value);  // the shortest text that reads back as the same number
    }
  }
  const bool open_;
  std::vector<std::string> families_;     // in the order of their first sample
  std::map<std::string, size_t> places_;  // by name
};

}  // namespace

ProcessFacts process_facts() {
  ProcessFacts facts;
  if (FILE* statm = std::fopen("/proc/self/statm", "r")) {
    unsigned long size = 0, resident = 0;
    if (std::fscanf(statm, "%lu %lu", &size, &resident) == 2) {
      facts.rss_bytes = resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
    }
    std::fclose(statm);
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  facts.cpu_user_s = static_cast<double>(usage.ru_utime.tv_sec) + static_cast<double>(usage.ru_utime.tv_usec) * 1e-6;
  facts.cpu_system_s = static_cast<double>(usage.ru_stime.tv_sec) + static_cast<double>(usage.ru_stime.tv_usec) * 1e-6;
  if (DIR* dir = opendir("/proc/self/fd")) {
    while (readdir(dir) != nullptr) ++facts.open_files;
    closedir(dir);
  }
  return facts;
}

std::string metrics_page(const AdminSources& s, MetricsFormat format) {
  const Node& node = *s.node;
  Page page(format);
  const ProcessFacts process = process_facts();
  std::string why;
  page.gauge("cairn_build_info", "Version of this binary.", 1, fmt::format("{{version=\"{}\"}}", kVersion));
  page.gauge("cairn_uptime_seconds", "Time since this process started.",
             static_cast<double>(node.now() - s.started) * 1e-9);
  page.gauge("cairn_node_ready", "1 if /readyz answers 200.", node.ready(&why) ? 1 : 0);
  page.gauge("cairn_node_id", "Id of this node.", static_cast<double>(node.identity().node.value));
  page.counter("cairn_loop_turns_total", "Batches of events the range loop has run.", s.loop->turns());

  const auto& client = s.clients->metrics();
  page.gauge("cairn_resp_connections", "Client connections.", static_cast<double>(s.clients->connections()));
  page.counter("cairn_resp_accepted_connections_total", "Client connections accepted.", client.accepted);
  page.counter("cairn_resp_rejected_connections_total", "Client connections refused: client.max.", client.rejected);
  page.counter("cairn_resp_received_bytes_total", "Bytes from clients.", client.bytes_in);
  page.counter("cairn_resp_sent_bytes_total", "Bytes to clients.", client.bytes_out);
  page.counter("cairn_resp_commands_total", "Commands that reached a range.", node.metrics().commands);
  page.counter("cairn_resp_commands_local_total", "Of these, run by a replica on this node at once.",
               node.metrics().commands_local);

  const auto& forwarding = node.forwarding_metrics();
  page.counter("cairn_resp_forwarded_total", "Commands sent to another node.", forwarding.forwarded);
  page.counter("cairn_resp_forward_refused_total", "Forwarded commands that came back: not the leader.",
               forwarding.refused);
  page.counter("cairn_resp_forward_expired_total", "Commands that found no leader in time.", forwarding.expired);
  page.counter("cairn_resp_forward_lost_total", "Forwarded writes whose outcome is unknown.", forwarding.lost);

  const auto& log = node.log_metrics();
  page.counter("cairn_log_syncs_total", "Durable writes of the log.", log.syncs);
  page.counter("cairn_log_written_bytes_total", "Bytes written to the log.", log.bytes_written);
  page.counter("cairn_log_segments_created_total", "Log segments made.", log.segments_created);
  page.counter("cairn_log_segments_recycled_total", "Log segments used again.", log.segments_recycled);
  page.histogram("cairn_log_sync_duration_seconds", "Time of one durable write of the log.", log.sync_duration.view());

  const auto& replica = node.metrics().replica;
  page.counter("cairn_log_writes_acked_total", "Acknowledged commands with effects.", replica.writes_acked);
  page.counter("cairn_consensus_proposals_total", "Entries proposed.", replica.entries_proposed);
  page.counter("cairn_consensus_applied_total", "Entries applied.", replica.entries_applied);
  page.counter("cairn_consensus_leader_changes_total", "Times a replica here became leader.", replica.leader_changes);
  page.counter("cairn_consensus_indeterminate_total", "Commands answered with INDETERMINATE.", replica.indeterminate);
  page.counter("cairn_consensus_reads_total", "Replies that needed a proof of leadership.", replica.reads_by_lease,
               "{by=\"lease\"}");
  page.counter("cairn_consensus_reads_total", "Replies that needed a proof of leadership.", replica.reads_by_index,
               "{by=\"round\"}");
  page.histogram("cairn_consensus_commit_duration_seconds", "From proposal to commit.", replica.commit_duration.view());
  page.counter("cairn_evaluations_total", "Commands evaluated.", replica.evaluations);
  page.counter("cairn_row_fetches_total", "Evaluations that had to wait for rows from disk.", replica.row_fetches);
  page.counter("cairn_writes_held_total", "Writes that had to wait because flushes lagged.", replica.writes_held);
  page.counter("cairn_handovers_total", "Leaderships handed to the advertised owner.", node.metrics().handovers);

  size_t leaders = 0, leaderless = 0, damaged = 0;
  for (const auto& [id, r] : node.replicas()) {
    const auto status = r->core().status();
    leaders += status.role == consensus::Role::kLeader ? 1 : 0;
    leaderless += status.leader.value == 0 ? 1 : 0;
    damaged += status.suspect || r->tablet().stats().corrupt ? 1 : 0;
  }
  page.gauge("cairn_consensus_groups", "Replicas on this node by role.", static_cast<double>(leaders),
             "{protocol=\"raft\",role=\"leader\"}");
  page.gauge("cairn_consensus_groups", "Replicas on this node by role.",
             static_cast<double>(node.replicas().size() - leaders), "{protocol=\"raft\",role=\"follower\"}");
  page.gauge("cairn_ranges", "Ranges with a replica here by state.", static_cast<double>(leaderless),
             "{state=\"leaderless\"}");
  page.gauge("cairn_ranges", "Ranges with a replica here by state.", static_cast<double>(damaged),
             "{state=\"damaged\"}");
  page.gauge("cairn_ranges", "Ranges with a replica here by state.",
             static_cast<double>(node.replicas().size() - leaderless - damaged), "{state=\"healthy\"}");

  const auto& snapshots = node.snapshot_metrics();
  page.counter("cairn_consensus_snapshots_total", "Snapshots by direction and result.", snapshots.sent,
               "{direction=\"out\",result=\"ok\"}");
  page.counter("cairn_consensus_snapshots_total", "Snapshots by direction and result.", snapshots.failed,
               "{direction=\"out\",result=\"failed\"}");
  page.counter("cairn_consensus_snapshots_total", "Snapshots by direction and result.", snapshots.received,
               "{direction=\"in\",result=\"ok\"}");

  const auto& store = node.store_metrics();
  page.gauge("cairn_memory_bytes", "Memory by subsystem.", static_cast<double>(node.memtable_bytes()),
             "{subsystem=\"memtables\"}");
  page.counter("cairn_lsm_flushes_total", "Memtables flushed.", store.flushes);
  page.counter("cairn_lsm_compactions_total", "Compactions done.", store.compactions);
  page.counter("cairn_lsm_flushed_bytes_total", "Bytes written by flushes.", store.bytes_flushed);
  page.counter("cairn_lsm_compaction_bytes_total", "Bytes of compactions.", store.bytes_compacted_in,
               "{direction=\"read\"}");
  page.counter("cairn_lsm_compaction_bytes_total", "Bytes of compactions.", store.bytes_compacted_out,
               "{direction=\"written\"}");
  page.counter("cairn_block_cache_hits_total", "Blocks found in the cache.", store.cache_hits);
  page.counter("cairn_block_cache_misses_total", "Blocks not found in the cache.", store.cache_misses);
  page.counter("cairn_lsm_disk_fetches_total", "Row fetches that went to the background.", store.disk_fetches);
  page.counter("cairn_lsm_corrupt_blocks_total", "Blocks whose checksum was wrong.", store.corrupt_blocks);
  page.gauge("cairn_disk_has_room", "0 while writes are refused for want of space.", node.has_room() ? 1 : 0);

  for (const auto& [name, net] : {std::pair("data", s.data_net), std::pair("link", s.link_net)}) {
    const std::string labels = fmt::format("{{transport=\"{}\"}}", name);
    page.counter("cairn_peer_frames_sent_total", "Frames to other nodes.", net->metrics().frames_sent, labels);
    page.counter("cairn_peer_frames_received_total", "Frames from other nodes.", net->metrics().frames_received,
                 labels);
    page.counter("cairn_peer_sent_bytes_total", "Bytes to other nodes.", net->metrics().bytes_sent, labels);
    page.counter("cairn_peer_disconnects_total", "Peer connections lost.", net->metrics().disconnects, labels);
    page.counter("cairn_peer_dropped_frames_total", "Frames that could not be queued.", net->metrics().dropped, labels);
  }
  page.gauge("cairn_process_resident_memory_bytes", "Resident memory.", static_cast<double>(process.rss_bytes));
  page.counter("cairn_process_cpu_seconds_total", "CPU time used.", process.cpu_user_s + process.cpu_system_s);
  page.gauge("cairn_process_open_fds", "Open file descriptors.", static_cast<double>(process.open_files));
  return page.take();
}

}  // namespace cairn::server
