// What /metrics shows. Labels are bounded: nodes, command names, phases; ranges only while there are few.
#include <fmt/format.h>

#include <filesystem>

#include "base/version.h"
#include "server/http/admin_api.h"
#include "server/http/metrics_storage.h"

namespace cairn::server {
namespace {

constexpr size_t kRangesByName = 64;  // with more replicas than these on the node, no metric names a range

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

void add_node(MetricsText& page, const AdminSources& s) {
  const Node& node = *s.node;
  page.gauge("cairn_build_info", "Version of this binary.", 1, fmt::format("version=\"{}\"", kVersion));
  page.gauge("cairn_uptime_seconds", "Time since this process started.", number(node.now() - s.started) * 1e-9);
  page.gauge("cairn_node_ready", "1 if /readyz answers 200.", node.ready(nullptr) ? 1 : 0);
  page.gauge("cairn_node_id", "Id of this node.", number(node.identity().node.value));
  page.gauge("cairn_node_incarnation", "Times this node has been started.", number(node.identity().incarnation.value));
  size_t reachable = 0;
  const auto peers = node.peers();
  for (const PeerView& peer : peers) reachable += peer.reachable ? 1 : 0;
  page.gauge("cairn_nodes", "Members of the cluster, by whether this node reaches them.", number(reachable),
             "state=\"reachable\"");
  page.gauge("cairn_nodes", "", number(peers.size() - reachable), "state=\"unreachable\"");
}

void add_clients(MetricsText& page, const AdminSources& s) {
  const auto& client = s.clients->metrics();
  page.gauge("cairn_resp_connections", "Client connections.", number(s.clients->connections()));
  page.counter("cairn_resp_accepted_connections_total", "Client connections accepted.", client.accepted);
  page.counter("cairn_resp_rejected_connections_total", "Client connections refused: client.max.", client.rejected);
  const SessionHub& hub = std::as_const(*s.node).hub();
  for (const auto& [reason, count] :
       {std::pair("query_buffer", &hub.limits.query_buffer), std::pair("output_buffer", &hub.limits.output_buffer),
        std::pair("idle", &hub.limits.idle), std::pair("login", &hub.limits.login),
        std::pair("killed", &hub.limits.killed)}) {
    page.counter("cairn_resp_closed_connections_total", "Client connections closed by this node, by reason.", *count,
                 fmt::format("reason=\"{}\"", reason));
  }
  page.gauge("cairn_resp_postponed_connections", "Client connections that wait for the end of a CLIENT PAUSE.",
             number(hub.postponed()));
  page.gauge("cairn_resp_slow_commands", "Commands in the slow log.", number(hub.slow_log.entries().size()));
  page.counter("cairn_resp_received_bytes_total", "Bytes from clients.", client.bytes_in);
  page.counter("cairn_resp_sent_bytes_total", "Bytes to clients.", client.bytes_out);
  const NodeMetrics& node = std::as_const(*s.node).metrics();
  page.counter("cairn_resp_commands_total", "Commands that reached a range.", node.commands);
  page.counter("cairn_resp_commands_local_total", "Of these, run by a replica on this node at once.",
               node.commands_local);
  const auto& forwarding = s.node->forwarding_metrics();
  page.counter("cairn_resp_forwarded_total", "Commands sent to another node.", forwarding.forwarded);
  page.counter("cairn_resp_forward_refused_total", "Forwarded commands that came back: not the leader.",
               forwarding.refused);
  page.counter("cairn_resp_forward_expired_total", "Commands that found no leader in time.", forwarding.expired);
  page.counter("cairn_resp_forward_lost_total", "Forwarded writes whose outcome is unknown.", forwarding.lost);
  const auto& follower_reads = s.node->follower_read_metrics();
  page.counter("cairn_follower_reads_total", "Reads that a replica here answered while it followed.",
               follower_reads.served);
  page.counter("cairn_follower_reads_rounds_total", "Times that a leader was asked for followers' reads here.",
               follower_reads.rounds);
  page.counter("cairn_follower_reads_passed_on_total", "Reads that a follower here left to the leader after all.",
               follower_reads.passed_on);
}

void add_commands(MetricsText& page, const CommandStats& stats) {
  const auto table = command_table();
  for (size_t i = 0; i < table.size(); ++i) {
    const CommandStats::Entry& entry = stats.by_command[i];
    if (entry.calls.get() == 0 && entry.rejected.get() == 0) continue;
    const std::string labels = fmt::format("command=\"{}\"", lower(table[i].name));
    page.counter("cairn_resp_calls_total", "Commands of clients of this node, by name.", entry.calls, labels);
    page.counter("cairn_resp_rejected_calls_total", "Of wrong arity, or not allowed.", entry.rejected, labels);
    page.counter("cairn_resp_failed_calls_total", "Answered with an error.", entry.failed, labels);
  }
  page.counter("cairn_resp_unknown_commands_total", "Commands that do not exist.", stats.unknown);
  for (size_t family = 0; family < CommandFamilies::count(); ++family) {
    const HistogramView view = stats.times[family].view();
    const bool usual = CommandFamilies::group(family) == "string";  // there from the start, for dashboards
    if (view.total() == 0 && !usual) continue;
    page.histogram("cairn_resp_command_duration_seconds",
                   "From the arrival of a command to its reply being with the kernel, by family.", view,
                   fmt::format("family=\"{}\",access=\"{}\"", CommandFamilies::group(family),
                               CommandFamilies::writes(family) ? "write" : "read"));
  }
}

void add_log(MetricsText& page, const Node& node) {
  const auto& log = node.log_metrics();
  page.counter("cairn_log_syncs_total", "Durable writes of the log.", log.syncs);
  page.counter("cairn_log_written_bytes_total", "Bytes written to the log.", log.bytes_written);
  page.counter("cairn_log_segments_created_total", "Log segments made.", log.segments_created);
  page.counter("cairn_log_segments_recycled_total", "Log segments used again.", log.segments_recycled);
  page.histogram("cairn_log_sync_duration_seconds", "Time of one durable write of the log.", log.sync_duration.view());
  page.counter("cairn_log_writes_acked_total", "Acknowledged commands with effects.",
               node.metrics().replica.writes_acked);
}

void add_consensus(MetricsText& page, const Node& node) {
  const auto& replica = node.metrics().replica;
  page.counter("cairn_consensus_proposals_total", "Entries proposed.", replica.entries_proposed);
  page.counter("cairn_consensus_applied_total", "Entries applied.", replica.entries_applied);
  page.counter("cairn_consensus_leader_changes_total", "Times a replica here became leader.", replica.leader_changes);
  page.counter("cairn_consensus_indeterminate_total", "Commands answered with INDETERMINATE.", replica.indeterminate);
  page.counter("cairn_consensus_reads_total", "Replies that needed a proof of leadership.", replica.reads_by_lease,
               "by=\"lease\"");
  page.counter("cairn_consensus_reads_total", "", replica.reads_by_index, "by=\"round\"");
  page.histogram("cairn_consensus_commit_duration_seconds", "From proposal to commit.", replica.commit_duration.view());
  page.histogram("cairn_consensus_apply_duration_seconds",
                 "Applying what one step has committed, and releasing its replies.", replica.apply_duration.view());
  page.counter("cairn_evaluations_total", "Commands evaluated.", replica.evaluations);
  const auto lookups = [&](const char* name, const char* help, auto member) {
    page.counter(name, help, replica.lookups.*member, "by=\"leader\"");
    page.counter(name, "", node.follower_read_metrics().lookups.*member, "by=\"follower\"");
  };
  lookups("cairn_keyspace_hits_total", "Keys that reading commands have found.", &KeyLookupMetrics::hits);
  lookups("cairn_keyspace_misses_total", "Keys that reading commands have not found.", &KeyLookupMetrics::misses);
  page.counter("cairn_keys_expired_total", "Keys that were due when a command met them, and were deleted.",
               replica.lookups.expired);
  page.counter("cairn_row_fetches_total", "Evaluations that had to wait for rows from disk.", replica.row_fetches);
  page.counter("cairn_chunk_bytes_total", "Bytes of long strings proposed in chunks.", replica.chunk_bytes);
  page.counter("cairn_writes_held_total", "Writes that had to wait because flushes lagged.", replica.writes_held);
  page.counter("cairn_handovers_total", "Leaderships handed to the advertised owner.", node.metrics().handovers);
  const auto& snapshots = node.snapshot_metrics();
  page.counter("cairn_replica_repairs_total", "Damaged replicas that a snapshot from their leader has mended.",
               node.metrics().repairs);
  page.counter("cairn_consensus_snapshots_total", "Snapshots by direction and result.", snapshots.sent,
               "direction=\"out\",result=\"ok\"");
  page.counter("cairn_consensus_snapshots_total", "", snapshots.failed, "direction=\"out\",result=\"failed\"");
  page.counter("cairn_consensus_snapshots_total", "", snapshots.received, "direction=\"in\",result=\"ok\"");
  page.counter("cairn_consensus_snapshots_damaged_total",
               "Snapshots with files that were not what their descriptions say; none was taken over.",
               snapshots.damaged_out, "direction=\"out\"");
  page.counter("cairn_consensus_snapshots_damaged_total", "", snapshots.damaged_in, "direction=\"in\"");
}

// What the replicas here say, in one pass.
struct RangeFacts {
  size_t leaders = 0, leaderless = 0, damaged = 0, under_replicated = 0;
  uint64_t sstable_bytes = 0;
  std::map<storage::TabletCondition, size_t> conditions;
  std::map<NodeId, uint64_t> lag;                             // of followers, the largest over the ranges led here
  std::map<RangeId, std::pair<uint64_t, uint64_t>> by_range;  // lag of its farthest follower (0 if not led), bytes
};

RangeFacts look_at_ranges(const Node& node) {
  RangeFacts facts;
  std::map<NodeId, bool> reachable;
  for (const PeerView& peer : node.peers()) {
    reachable[peer.record.id] = peer.reachable;
    if (peer.record.id != node.identity().node) facts.lag[peer.record.id] = 0;
  }
  for (const auto& [id, r] : node.replicas()) {
    const auto status = r->core().status();
    const auto stats = r->tablet().stats();
    uint64_t farthest = 0;
    bool short_of_one = false;
    for (const auto& peer : status.peers) {
      const uint64_t lag = status.last_index > peer.match ? status.last_index.value - peer.match.value : 0;
      facts.lag[peer.member.node] = std::max(facts.lag[peer.member.node], lag);
      farthest = std::max(farthest, lag);
      short_of_one = short_of_one || !reachable[peer.member.node];
    }
    const bool leads = status.role == consensus::Role::kLeader;
    const bool damaged = status.suspect || stats.corrupt;
    facts.leaders += leads ? 1 : 0;
    facts.damaged += damaged ? 1 : 0;
    facts.leaderless += !damaged && status.leader.value == 0 ? 1 : 0;
    facts.under_replicated += !damaged && leads && short_of_one ? 1 : 0;
    facts.sstable_bytes += stats.sstable_bytes;
    ++facts.conditions[stats.health.condition];
    facts.by_range[id] = {farthest, stats.sstable_bytes + stats.memtable_bytes};
  }
  return facts;
}

void add_ranges(MetricsText& page, const Node& node) {
  const RangeFacts facts = look_at_ranges(node);
  const size_t all = node.replicas().size();
  page.gauge("cairn_consensus_groups", "Replicas on this node by role.", number(facts.leaders),
             "protocol=\"raft\",role=\"leader\"");
  page.gauge("cairn_consensus_groups", "", number(all - facts.leaders), "protocol=\"raft\",role=\"follower\"");
  const size_t unwell = facts.leaderless + facts.damaged + facts.under_replicated;
  for (const auto& [state, count] :
       {std::pair("healthy", all - unwell), std::pair("leaderless", facts.leaderless),
        std::pair("damaged", facts.damaged), std::pair("under_replicated", facts.under_replicated)}) {
    page.gauge("cairn_ranges", "Ranges with a replica here by state; under_replicated is known to the leader.",
               number(count), fmt::format("state=\"{}\"", state));
  }
  using enum storage::TabletCondition;
  for (const auto condition : {kOk, kRetrying, kReadOnly, kFailed}) {
    const auto found = facts.conditions.find(condition);
    page.gauge("cairn_lsm_tablets", "Replicas here by how their background work fares.",
               number(found == facts.conditions.end() ? 0 : found->second),
               fmt::format("condition=\"{}\"", storage::to_string(condition)));
  }
  for (const auto& [id, lag] : facts.lag) {
    page.gauge("cairn_consensus_follower_lag_entries",
               "Log entries that a node's replicas lack, the largest over the ranges led here.", number(lag),
               fmt::format("node=\"{}\"", id.value));
  }
  page.gauge("cairn_disk_bytes", "Bytes on disk by kind.", number(facts.sstable_bytes), "kind=\"sstables\"");
  if (all > kRangesByName) return;
  for (const auto& [id, range] : facts.by_range) {
    const std::string labels = fmt::format("range=\"{}\"", id.value);
    page.gauge("cairn_range_follower_lag_entries",
               "Log entries that the farthest follower lacks; 0 where this node does not lead.", number(range.first),
               labels);
    page.gauge("cairn_range_size_bytes", "SSTables and memtables of this node's replica.", number(range.second),
               labels);
  }
}

void add_peers(MetricsText& page, const AdminSources& s) {
  for (const auto& [name, net] : {std::pair("data", s.data_net), std::pair("link", s.link_net)}) {
    const std::string labels = fmt::format("transport=\"{}\"", name);
    const auto& metrics = net->metrics();
    page.counter("cairn_peer_frames_sent_total", "Frames to other nodes.", metrics.frames_sent, labels);
    page.counter("cairn_peer_frames_received_total", "Frames from other nodes.", metrics.frames_received, labels);
    page.counter("cairn_peer_sent_bytes_total", "Bytes to other nodes.", metrics.bytes_sent, labels);
    page.counter("cairn_peer_disconnects_total", "Peer connections lost.", metrics.disconnects, labels);
    page.counter("cairn_peer_dropped_frames_total", "Frames that could not be queued.", metrics.dropped, labels);
  }
}

void add_loops(MetricsText& page, const AdminSources& s) {
  page.counter("cairn_loop_turns_total", "Batches of events the range loop has run.", s.loop->turns());
  for (const auto& [name, loop] : s.loops) {
    const LoopProfile::View view = loop->profile().view();
    for (size_t phase = 0; phase < LoopProfile::kPhases; ++phase) {
      page.counter("cairn_loop_seconds_total", "Where the time of the event loops goes.", number(view.ns[phase]) * 1e-9,
                   fmt::format("loop=\"{}\",phase=\"{}\"", name, LoopProfile::kPhaseNames[phase]));
    }
    page.histogram("cairn_loop_turn_duration_seconds", "Busy time of one turn of an event loop.", view.turns,
                   fmt::format("loop=\"{}\"", name));
  }
}

void add_admin(MetricsText& page, const AdminSources& s) {
  if (s.http != nullptr) {
    page.gauge("cairn_admin_connections", "Connections of the admin API.", number(s.http->open.get()));
    page.counter("cairn_admin_accepted_connections_total", "Its connections so far.", s.http->accepted);
    page.counter("cairn_admin_evicted_connections_total", "Closed for another one's sake.", s.http->evicted);
    page.counter("cairn_admin_requests_total", "Requests to the admin API.", s.http->requests);
    page.counter("cairn_admin_bad_requests_total", "Requests that were none.", s.http->bad_requests);
    page.counter("cairn_admin_timeouts_total", "Requests that the node did not answer in time.", s.http->timeouts);
  }
  if (s.guard == nullptr) return;
  for (const auto& [reason, count] :
       {std::pair("host", &s.guard->wrong_host), std::pair("origin", &s.guard->wrong_origin),
        std::pair("token", &s.guard->wrong_token)}) {
    page.counter("cairn_admin_refused_total", "Requests refused, by what was wrong with them.", *count,
                 fmt::format("reason=\"{}\"", reason));
  }
}

void add_host(MetricsText& page, const HostFacts& host) {
  page.gauge("cairn_disk_free_bytes", "Free on the file system of data_dir.", number(host.disk_free_bytes));
  page.gauge("cairn_disk_size_bytes", "Size of the file system of data_dir.", number(host.disk_size_bytes));
  page.gauge("cairn_process_resident_memory_bytes", "Resident memory.", number(host.process.rss_bytes));
  page.counter("cairn_process_cpu_seconds_total", "CPU time used.",
               host.process.cpu_user_s + host.process.cpu_system_s);
  page.gauge("cairn_process_open_fds", "Open file descriptors.", number(host.process.open_files));
}

}  // namespace

HostFacts host_facts(const std::string& data_dir) {
  HostFacts facts;
  facts.process = process_facts();
  std::error_code error;
  const auto space = std::filesystem::space(data_dir, error);
  if (!error) {
    facts.disk_free_bytes = space.available;
    facts.disk_size_bytes = space.capacity;
  }
  return facts;
}

std::string metrics_page(const AdminSources& s, const HostFacts& host, MetricsFormat format) {
  MetricsText page(format);
  add_node(page, s);
  add_clients(page, s);
  add_commands(page, *s.stats);
  add_log(page, *s.node);
  add_consensus(page, *s.node);
  add_ranges(page, *s.node);
  add_storage_metrics(page, *s.node);
  add_peers(page, s);
  add_loops(page, s);
  add_admin(page, s);
  add_host(page, host);
  return page.take();
}

}  // namespace cairn::server
