#include "server/session/cluster_reply.h"

#include <algorithm>

#include "server/commands/key_access.h"
#include "sharding/slot.h"

namespace cairn::server {
namespace {

const TopologyNode* self_of(const Topology& topology) {
  for (const TopologyNode& node : topology.nodes) {
    if (node.id == topology.self) return &node;
  }
  return nullptr;
}

// Every node is a master of the slots it is advertised for, and none is anybody's replica: clients cannot
// deal with an address in two roles.
void answer_slots(const Topology& topology, RespWriter& reply) {
  struct Row {
    std::pair<uint16_t, uint16_t> slots;
    const TopologyNode* node;
  };
  std::vector<Row> rows;
  for (const TopologyNode& node : topology.nodes) {
    for (const auto& slots : node.slots) rows.push_back({slots, &node});
  }
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.slots < b.slots; });
  reply.array(rows.size());
  for (const Row& row : rows) {
    reply.array(3);
    reply.integer(row.slots.first);
    reply.integer(row.slots.second);
    reply.array(4);
    reply.bulk(row.node->host);
    reply.integer(row.node->port);
    reply.bulk(row.node->hex_id);
    reply.map(0);
  }
}

void answer_shards(const Topology& topology, RespWriter& reply) {
  reply.array(topology.nodes.size());
  for (const TopologyNode& node : topology.nodes) {
    reply.map(3);
    reply.bulk("slots");
    reply.array(2 * node.slots.size());
    for (const auto& [first, last] : node.slots) {
      reply.integer(first);
      reply.integer(last);
    }
    reply.bulk("nodes");
    reply.array(1);
    reply.map(7);
    reply.bulk("id");
    reply.bulk(node.hex_id);
    reply.bulk("port");
    reply.integer(node.port);
    reply.bulk("ip");
    reply.bulk(node.host);
    reply.bulk("endpoint");
    reply.bulk(node.host);
    reply.bulk("role");
    reply.bulk("master");
    reply.bulk("replication-offset");
    reply.integer(0);
    reply.bulk("health");
    reply.bulk(node.connected || node.id == topology.self ? "online" : "fail");
    reply.bulk("id");
    reply.bulk(node.hex_id);  // a shard is known by its only member
  }
}

void answer_nodes(const Topology& topology, RespWriter& reply) {
  std::string text;
  for (const TopologyNode& node : topology.nodes) {
    const bool self = node.id == topology.self;
    text += node.hex_id + " " + node.host + ":" + std::to_string(node.port) + "@" + std::to_string(node.bus_port);
    text += self ? " myself,master" : " master";
    text += " - 0 0 " + std::to_string(topology.epoch);
    text += self || node.connected ? " connected" : " disconnected";
    for (const auto& [first, last] : node.slots) {
      text += " " + std::to_string(first);
      if (last != first) text += "-" + std::to_string(last);
    }
    text += "\n";
  }
  reply.verbatim(text);
}

void answer_info(const Topology& topology, RespWriter& reply) {
  const auto size = std::count_if(topology.nodes.begin(), topology.nodes.end(),
                                  [](const TopologyNode& node) { return !node.slots.empty(); });
  const std::string assigned = std::to_string(topology.slots_assigned);
  const std::string epoch = std::to_string(topology.epoch);
  std::string text;
  const auto line = [&](std::string_view name, std::string_view value) {
    text.append(name).append(":").append(value).append("\r\n");
  };
  line("cluster_enabled", "1");
  line("cluster_state", topology.ok ? "ok" : "fail");
  line("cluster_slots_assigned", assigned);
  line("cluster_slots_ok", topology.ok ? assigned : "0");
  line("cluster_slots_pfail", "0");
  line("cluster_slots_fail", topology.ok ? "0" : assigned);
  line("cluster_known_nodes", std::to_string(topology.nodes.size()));
  line("cluster_size", std::to_string(size));
  line("cluster_current_epoch", epoch);
  line("cluster_my_epoch", epoch);
  line("cluster_stats_messages_sent", "0");
  line("cluster_stats_messages_received", "0");
  line("total_cluster_links_buffer_limit_exceeded", "0");
  reply.verbatim(text);
}

// One outgoing and one incoming connection to every node that can be reached.
void answer_links(const Topology& topology, RespWriter& reply) {
  std::vector<const TopologyNode*> reached;
  for (const TopologyNode& node : topology.nodes) {
    if (node.id != topology.self && node.connected) reached.push_back(&node);
  }
  reply.array(2 * reached.size());
  for (const TopologyNode* node : reached) {
    for (const std::string_view direction : {"to", "from"}) {
      reply.map(6);
      reply.bulk("direction");
      reply.bulk(direction);
      reply.bulk("node");
      reply.bulk(node->hex_id);
      reply.bulk("create-time");
      reply.integer(static_cast<int64_t>(node->connected_ms));
      reply.bulk("events");
      reply.bulk("rw");
      reply.bulk("send-buffer-allocated");
      reply.integer(0);  // frames wait in a buffer that all of a node's groups share
      reply.bulk("send-buffer-used");
      reply.integer(0);
    }
  }
}

// The node named by a subcommand's argument; null: an error was written.
const TopologyNode* named_node(const Topology& topology, std::string_view hex, RespWriter& reply) {
  for (const TopologyNode& node : topology.nodes) {
    if (node.hex_id == hex) return &node;
  }
  reply.error("ERR Unknown node " + std::string(until_zero(hex)));
  return nullptr;
}

}  // namespace

void answer_cluster(std::string_view subcommand, Argv argv, const Topology& topology, RespWriter& reply) {
  if (!topology.cluster_mode) return reply.error("ERR This instance has cluster support disabled");
  if (subcommand == "SLOTS") return answer_slots(topology, reply);
  if (subcommand == "SHARDS") return answer_shards(topology, reply);
  if (subcommand == "NODES") return answer_nodes(topology, reply);
  if (subcommand == "INFO") return answer_info(topology, reply);
  if (subcommand == "LINKS") return answer_links(topology, reply);
  if (subcommand == "REPLICAS" || subcommand == "SLAVES") {
    if (named_node(topology, argv[2], reply) != nullptr) reply.array(0);
    return;
  }
  if (subcommand == "COUNT-FAILURE-REPORTS") {
    if (const TopologyNode* node = named_node(topology, argv[2], reply)) {
      reply.integer(node->id == topology.self || node->connected ? 0 : 1);
    }
    return;
  }
  if (subcommand == "KEYSLOT") return reply.integer(sharding::key_slot(argv[2]));
  const TopologyNode* self = self_of(topology);  // MYID, MYSHARDID
  if (self == nullptr) return reply.error("CLUSTERDOWN this node is not a member of its cluster yet");
  reply.bulk(self->hex_id);
}

}  // namespace cairn::server
