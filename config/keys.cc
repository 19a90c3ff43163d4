// The configuration keys, one row each: name, kind, what is allowed, what for, where it is kept, bounds.
#include "config/node_config.h"

namespace cairn::config {
namespace {

constexpr bool kReload = true;

using C = NodeConfig;
#define TEXT(member) \
  [](C& c, std::string v) { c.member = std::move(v); }, nullptr, [](const C& c) { return c.member; }, nullptr
#define NUMBER(member) \
  nullptr, [](C& c, uint64_t v) { c.member = v; }, nullptr, [](const C& c) { return static_cast<uint64_t>(c.member); }

constexpr KeySpec kKeys[] = {
    {"admin.advertise", KeyKind::kAddress, "HOST:PORT",
     "admin address other nodes and people use; default: admin.listen", TEXT(admin_advertise)},
    {"admin.hosts", KeyKind::kText, "names",
     "names by which the admin API is reached, beside localhost, addresses and the host of admin.advertise",
     TEXT(admin_hosts)},
    {"admin.listen", KeyKind::kAddress, "HOST:PORT", "where the admin HTTP API listens", TEXT(admin_listen)},
    {"admin.token", KeyKind::kSecret, "16 characters or more",
     "bearer token of the admin API; needed by all but /, /livez and /readyz", TEXT(admin_token)},
    {"client.advertise", KeyKind::kAddress, "HOST:PORT",
     "client address given out in CLUSTER SLOTS and MOVED; default: client.listen", TEXT(client_advertise)},
    {"client.idle_timeout", KeyKind::kDuration, "[0, 1000h]",
     "a client that sends nothing for so long is disconnected; 0: never", NUMBER(client_idle_timeout), 0,
     1000 * 3600 * kSecond, kReload},
    {"client.listen", KeyKind::kAddress, "HOST:PORT", "where Redis clients connect", TEXT(client_listen)},
    {"client.login_timeout", KeyKind::kDuration, "[0, 1h]",
     "with requirepass: a client that has not authenticated after so long is disconnected; 0: never",
     NUMBER(client_login_timeout), 0, 3600 * kSecond, kReload},
    {"client.max", KeyKind::kCount, "[1, 1000000]", "client connections; more are refused with an error",
     NUMBER(client_max), 1, 1'000'000, kReload},
    {"client.output_hard_bytes", KeyKind::kBytes, "[0, 64GiB]",
     "a client with more unsent replies is disconnected; 0: no limit", NUMBER(client_output_hard_bytes), 0, 64ull << 30,
     kReload},
    {"client.output_soft_bytes", KeyKind::kBytes, "[0, 64GiB]",
     "as client.output_hard_bytes, if it lasts for client.output_soft_time and the client took less than this "
     "meanwhile",
     NUMBER(client_output_soft_bytes), 0, 64ull << 30, kReload},
    {"client.output_soft_time", KeyKind::kDuration, "[1s, 1h]", "see client.output_soft_bytes",
     NUMBER(client_output_soft_time), kSecond, 3600 * kSecond, kReload},
    {"client.query_buffer_bytes", KeyKind::kBytes, "[1MiB, 4GiB]",
     "a client whose command needs more before it is complete is disconnected", NUMBER(client_query_buffer_bytes),
     1u << 20, 4ull << 30, kReload},
    {"client.tcp_keepalive", KeyKind::kDuration, "[0, 24h]",
     "silence after which a client's host is probed, for connections made from then on; 0: never",
     NUMBER(client_tcp_keepalive), 0, 24 * 3600 * kSecond, kReload},
    {"cluster.follower_reads", KeyKind::kChoice, "linearizable | bounded",
     "what followers answer to connections that sent READONLY; bounded: at most cluster.follower_staleness old",
     TEXT(cluster_follower_reads)},
    {"cluster.follower_staleness", KeyKind::kDuration, "[1ms, 1h]",
     "with bounded: how long a follower answers by what its leader has said", NUMBER(cluster_follower_staleness),
     kMillisecond, 3600 * kSecond},
    {"cluster.ranges", KeyKind::kCount, "[1, 16384]",
     "ranges of the default keyspace; used once, when the cluster is created", NUMBER(cluster_ranges), 1, 16384},
    {"cluster.redirect", KeyKind::kChoice, "auto | always | never",
     "who is sent MOVED: clients that asked for the slot map, everybody, nobody", TEXT(cluster_redirect), 0, 0,
     kReload},
    {"cluster.replication_factor", KeyKind::kCount, "[1, 7]",
     "replicas of a range, at most the nodes there are; used once, when the cluster is created",
     NUMBER(cluster_replication_factor), 1, 7},
    {"cluster.sharding", KeyKind::kChoice, "hash | whole",
     "whole: one range, any command on any keys; used once, when the cluster is created", TEXT(cluster_sharding)},
    {"cluster.wait_for_leader", KeyKind::kDuration, "[0, 1h]",
     "how long a command that was certainly not applied waits for a leader", NUMBER(cluster_wait_for_leader), 0,
     3600 * kSecond, kReload},
    {"data_dir", KeyKind::kText, "a directory", "where this node keeps its data; required", TEXT(data_dir)},
    {"insecure", KeyKind::kBool, "true | false", "allows a binding beyond loopback without requirepass and peer.secret",
     NUMBER(insecure), 0, 1},
    {"latency.threshold", KeyKind::kDuration, "[0, 1h]",
     "commands that take so long are noted by the latency monitor (LATENCY LATEST); 0: none", NUMBER(latency_threshold),
     0, 3600 * kSecond, kReload},
    {"latency.tracking", KeyKind::kBool, "true | false",
     "keeps histograms of the times of commands (LATENCY HISTOGRAM, INFO latencystats)", NUMBER(latency_tracking), 0, 1,
     kReload},
    {"limits.command_bytes", KeyKind::kBytes, "[64KiB, 64MiB]",
     "largest command; a larger one is answered with an error", NUMBER(limits_command_bytes), 64u << 10, 64u << 20,
     kReload},
    {"limits.value_max", KeyKind::kBytes, "[64KiB, 32MiB]",
     "largest argument of a command, so largest value; a larger one is answered with an error",
     NUMBER(limits_value_max), 64u << 10, 32u << 20},
    {"log.file", KeyKind::kText, "a file", "where log lines go; default: standard error", TEXT(log_file)},
    {"log.level", KeyKind::kChoice, "debug | info | warn | error", "least severe log line that is written",
     TEXT(log_level), 0, 0, kReload},
    {"log.writer", KeyKind::kChoice, "uring | inline | thread",
     "who writes the log to disk: the kernel (io_uring; inline where that is forbidden), the range loop itself, or a "
     "thread",
     TEXT(log_writer)},
    {"peer.advertise", KeyKind::kAddress, "HOST:PORT", "peer address other nodes use; default: peer.listen",
     TEXT(peer_advertise)},
    {"peer.listen", KeyKind::kAddress, "HOST:PORT", "where other nodes connect", TEXT(peer_listen)},
    {"peer.secret", KeyKind::kSecret, "text", "shared by all nodes; connections without it are refused",
     TEXT(peer_secret)},
    {"requirepass", KeyKind::kSecret, "text", "password of Redis clients (AUTH)", TEXT(requirepass), 0, 0, kReload},
    {"runtime.background_threads", KeyKind::kCount, "[1, 64]", "threads for flushes, compactions and row fetches",
     NUMBER(runtime_background_threads), 1, 64},
    {"runtime.spin", KeyKind::kDuration, "[0, 1ms]", "how long an idle event loop looks for work before it blocks",
     NUMBER(runtime_spin), 0, kMillisecond, kReload},
    {"slowlog.max_len", KeyKind::kCount, "[0, 100000]", "commands that the slow log keeps (SLOWLOG GET)",
     NUMBER(slowlog_max_len), 0, 100'000, kReload},
    {"slowlog.slower_than", KeyKind::kDuration, "[0, 24h]",
     "commands that take so long, waiting included, enter the slow log; 24h: none", NUMBER(slowlog_slower_than), 0,
     24 * 3600 * kSecond, kReload},
    {"storage.block_cache_bytes", KeyKind::kBytes, "[1MiB, 1TiB]", "memory for blocks read from SSTables",
     NUMBER(storage_block_cache_bytes), 1u << 20, 1ull << 40},
    {"storage.compaction_strategy", KeyKind::kChoice, "stcs | lcs | twcs | ics",
     "how sorted runs are merged: size-tiered, leveled, by time windows, incremental",
     TEXT(storage_compaction_strategy), 0, 0, kReload},
    {"storage.log_budget_bytes", KeyKind::kBytes, "[32MiB, 1TiB]",
     "log size above which tablets that keep old segments are flushed", NUMBER(storage_log_budget_bytes), 32u << 20,
     1ull << 40},
    {"storage.memtable_budget_bytes", KeyKind::kBytes, "[1MiB, 1TiB]",
     "memory for the memtables of all ranges together", NUMBER(storage_memtable_budget_bytes), 1u << 20, 1ull << 40},
    {"storage.memtable_bytes", KeyKind::kBytes, "[64KiB, 4GiB]", "size at which a range's memtable is flushed",
     NUMBER(storage_memtable_bytes), 64u << 10, 4ull << 30},
    {"storage.reserve_bytes", KeyKind::kBytes, "[0, 1TiB]",
     "disk space kept back for when the disk is full, at most a hundredth of what is free; 0: none",
     NUMBER(storage_reserve_bytes), 0, 1ull << 40},
    {"storage.scrub_bytes_per_second", KeyKind::kBytes, "[64KiB, 64GiB]", "read from SSTables at most by a scrub",
     NUMBER(storage_scrub_bytes_per_second), 64u << 10, 64ull << 30, kReload},
    {"storage.scrub_interval", KeyKind::kDuration, "[0, 8760h]",
     "a scrub of all SSTables begins so long after the end of the one before, restarts included; 0: only on request",
     NUMBER(storage_scrub_interval), 0, 8760 * 3600 * kSecond, kReload},
};
#undef TEXT
#undef NUMBER

}  // namespace

std::span<const KeySpec> key_specs() { return kKeys; }

}  // namespace cairn::config
