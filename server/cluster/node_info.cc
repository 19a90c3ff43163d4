// What a node says of itself: topology for CLUSTER, INFO's fields, readiness.
#include <fmt/format.h>

#include <algorithm>

#include "base/checksum.h"
#include "base/version.h"
#include "server/cluster/node.h"
#include "server/session/session.h"
#include "sharding/slot.h"

namespace cairn::server {
namespace {
// "host:port"; the host may be a bracketed IPv6 address.
std::pair<std::string, uint16_t> split_address(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return {address, 0};
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return {host, static_cast<uint16_t>(std::strtoul(address.c_str() + colon + 1, nullptr, 10))};
}
}  // namespace

std::string Node::node_hex(NodeId node) const {
  std::string hex = to_hex(identity_.cluster).substr(0, 24);
  return hex + fmt::format("{:016x}", node.value);
}

bool Node::advertised_here(uint16_t slot, std::string* moved_to) const {
  const NodeId owner = directory_.owner(directory_.range_of_slot(slot));
  if (owner == identity_.node || owner.value == 0) return true;
  const auto record = directory_.nodes().find(owner);
  if (record == directory_.nodes().end()) return true;  // nowhere to send the client: serve by forwarding
  if (moved_to != nullptr) *moved_to = record->second.addresses.client;
  return false;
}

Topology Node::topology() const {
  Topology topology;
  topology.epoch = directory_.slot_map().version;
  topology.self = identity_.node;
  topology.cluster_mode = !whole();
  topology.ok = ready(nullptr);
  for (const auto& [id, record] : directory_.nodes()) {
    TopologyNode node;
    node.id = id;
    node.hex_id = node_hex(id);
    std::tie(node.host, node.port) = split_address(record.addresses.client);
    node.bus_port = split_address(record.addresses.peer).second;
    node.connected = id == identity_.node || peer(id).reachable;
    if (const auto since = reachable_since_ms_.find(id); since != reachable_since_ms_.end()) {
      node.connected_ms = since->second;
    }
    topology.nodes.push_back(std::move(node));
  }
  if (topology.nodes.empty()) {  // not a member yet: at least this node answers
    TopologyNode self;
    self.id = identity_.node;
    self.hex_id = node_hex(identity_.node);
    std::tie(self.host, self.port) = split_address(options_.addresses.client);
    self.bus_port = split_address(options_.addresses.peer).second;
    topology.nodes.push_back(std::move(self));
  }
  std::map<uint32_t, std::pair<uint32_t, NodeId>> by_slot;
  for (const auto& [id, range] : directory_.ranges())
    by_slot[range.first_slot] = {range.last_slot, directory_.owner(id)};
  for (const auto& [first, rest] : by_slot) {
    const auto& [last, owner] = rest;
    const auto node = std::find_if(topology.nodes.begin(), topology.nodes.end(),
                                   [owner = owner](const TopologyNode& n) { return n.id == owner; });
    if (node == topology.nodes.end()) continue;
    topology.slots_assigned += last - first + 1;
    if (!node->slots.empty() && node->slots.back().second + 1u == first) {
      node->slots.back().second = static_cast<uint16_t>(last);
    } else {
      node->slots.emplace_back(static_cast<uint16_t>(first), static_cast<uint16_t>(last));
    }
  }
  return topology;
}

bool Node::ready(std::string* why) const {
  const auto missing = [&](std::string text) {
    if (why != nullptr) *why = std::move(text);
    return false;
  };
  if (draining_) return missing("draining");
  if (identity_.node.value == 0) return missing("not joined yet");
  if (!directory_loaded_ || !directory_.cluster()) return missing("the system range is not loaded yet");
  if (directory_.ranges().empty()) return missing("the ranges are not created yet");
  for (const auto& [id, range] : directory_.ranges()) {
    for (const auto& [node, replica] : range.members) {
      if (node == identity_.node && replicas_.find(id) == replicas_.end()) {
        return missing(fmt::format("range {} has no replica here yet", id.value));
      }
    }
  }
  for (const auto& [id, replica] : replicas_) {
    if (replica->core().leader().value == 0) return missing(fmt::format("range {} knows no leader", id.value));
  }
  return true;
}

bool Node::cluster_ready(std::string* why) const {
  if (!ready(why)) return false;
  const auto missing = [&](std::string text) {
    if (why != nullptr) *why = std::move(text);
    return false;
  };
  const auto system = replicas_.find(kSystemRange);
  const auto configuration = system->second->core().status().configuration;
  const size_t wanted = std::min<size_t>(directory_.cluster()->initial_nodes, 5);
  if (configuration.joint() || configuration.voters.size() < wanted) {
    return missing(fmt::format("group 0 has {} of {} voters", configuration.voters.size(), wanted));
  }
  return true;
}

std::vector<PeerView> Node::peers() const {
  std::vector<PeerView> peers;
  for (const auto& [id, record] : directory_.nodes()) {
    PeerView view;
    view.record = record;
    if (id == identity_.node) {
      view.reachable = true;
      view.incarnation = identity_.incarnation;
      view.supports_us = true;
    } else {
      view.reachable = peer(id).reachable;
      view.incarnation = peer(id).incarnation;
      view.supports_us = peer(id).held.value != 0;
    }
    peers.push_back(std::move(view));
  }
  return peers;
}

std::vector<std::pair<std::string, std::vector<std::pair<std::string, std::string>>>> Node::info_sections() const {
  using Fields = std::vector<std::pair<std::string, std::string>>;
  std::map<std::string, Fields> extra;
  if (extend_info) extend_info(extra);
  const auto fields = [&](const std::string& section, Fields own) {
    Fields& more = extra[section];
    own.insert(own.end(), more.begin(), more.end());
    return std::pair<std::string, Fields>(section, std::move(own));
  };
  size_t leading = 0;
  for (const auto& [id, replica] : replicas_) leading += replica->core().role() == consensus::Role::kLeader ? 1 : 0;
  uint64_t offset = 0;
  for (const auto& [id, replica] : replicas_) offset += replica->core().commit_index().value;
  uint64_t entries = 0;
  for (const auto& [id, replica] : replicas_) {
    if (id != kSystemRange && replica->core().role() == consensus::Role::kLeader) {
      entries += replica->tablet().stats().entries_estimate;
    }
  }
  uint64_t client_bytes = 0, client_in_max = 0, client_out_max = 0;
  for (const auto& [id, session] : hub_.sessions()) {
    client_bytes += session->memory_bytes();
    client_in_max = std::max<uint64_t>(client_in_max, session->input_bytes());
    client_out_max = std::max<uint64_t>(client_out_max, session->pending_bytes());
  }
  const auto port = split_address(options_.addresses.client).second;
  const auto& limits = hub_.limits;
  std::vector<std::pair<std::string, Fields>> sections;
  sections.push_back(fields("server", {{"redis_version", std::string(kRedisVersion)},
                                       {"redis_mode", whole() ? "standalone" : "cluster"},
                                       {"arch_bits", "64"},
                                       {"multiplexing_api", "epoll"},
                                       {"run_id", node_hex(identity_.node)},
                                       {"tcp_port", std::to_string(port)},
                                       {"server_time_usec", std::to_string(wall_us())}}));
  sections.push_back(fields("clients", {{"connected_clients", std::to_string(hub_.sessions().size())},
                                        {"cluster_connections", std::to_string(peers().size() - 1)},
                                        {"client_recent_max_input_buffer", std::to_string(client_in_max)},
                                        {"client_recent_max_output_buffer", std::to_string(client_out_max)},
                                        {"blocked_clients", std::to_string(hub_.postponed())},
                                        {"tracking_clients", "0"},
                                        {"clients_in_timeout_table", "0"}}));
  sections.push_back(fields("memory", {}));
  auto& memory = sections.back().second;
  memory.emplace_back("mem_clients_normal", std::to_string(client_bytes));
  memory.emplace_back("mem_memtables", std::to_string(memtable_bytes()));
  sections.push_back(fields("persistence", {{"loading", "0"},
                                            {"async_loading", "0"},
                                            {"rdb_changes_since_last_save", "0"},
                                            {"rdb_bgsave_in_progress", "0"},
                                            {"rdb_last_save_time", "0"},
                                            {"rdb_last_bgsave_status", "ok"},
                                            {"aof_enabled", "1"},
                                            {"aof_rewrite_in_progress", "0"},
                                            {"aof_rewrite_scheduled", "0"},
                                            {"aof_last_bgrewrite_status", "ok"},
                                            {"aof_last_write_status", has_room() ? "ok" : "err"}}));
  sections.back().second.emplace_back("compaction_strategy", storage::to_string(compaction_strategy()));
  sections.back().second.emplace_back("compression", storage::to_string(compression()));
  sections.push_back(fields("stats", {}));
  auto& counters = sections.back().second;
  counters.emplace_back("client_query_buffer_limit_disconnections", std::to_string(limits.query_buffer.get()));
  counters.emplace_back("client_output_buffer_limit_disconnections", std::to_string(limits.output_buffer.get()));
  counters.emplace_back("client_idle_disconnections", std::to_string(limits.idle.get()));
  counters.emplace_back("client_login_disconnections", std::to_string(limits.login.get()));
  const KeyLookupMetrics& led = metrics_.replica.lookups;
  const KeyLookupMetrics& followed = follower_reads_.metrics().lookups;
  counters.emplace_back("expired_keys", std::to_string(led.expired.get() + followed.expired.get()));
  counters.emplace_back("keyspace_hits", std::to_string(led.hits.get() + followed.hits.get()));
  counters.emplace_back("keyspace_misses", std::to_string(led.misses.get() + followed.misses.get()));
  sections.push_back(fields("replication", {{"role", "master"},
                                            {"connected_slaves", "0"},
                                            {"master_failover_state", "no-failover"},
                                            {"master_replid", node_hex(identity_.node)},
                                            {"master_repl_offset", std::to_string(offset)},
                                            {"second_repl_offset", "-1"},
                                            {"repl_backlog_active", "0"},
                                            {"repl_backlog_size", "0"},
                                            {"repl_backlog_first_byte_offset", "0"},
                                            {"repl_backlog_histlen", "0"}}));
  sections.push_back(fields("cpu", {}));
  sections.push_back(fields("modules", {}));
  sections.push_back(fields("cluster", {{"cluster_enabled", whole() ? "0" : "1"}}));
  Fields keyspace;
  // Rows in memtables and SSTables of the ranges led here; a key that was overwritten counts until it is compacted.
  if (entries > 0) keyspace.push_back({"db0", fmt::format("keys={},expires=0,avg_ttl=0", entries)});
  sections.push_back(fields("keyspace", std::move(keyspace)));
  sections.push_back(fields("consensus", {{"node_id", std::to_string(identity_.node.value)},
                                          {"incarnation", std::to_string(identity_.incarnation.value)},
                                          {"ranges", std::to_string(replicas_.size())},
                                          {"ranges_led", std::to_string(leading)},
                                          {"durability", "always"},
                                          {"keys_count_is", "estimated"}}));
  return sections;
}

}  // namespace cairn::server
