// What a node is started with, and what it is given to live on.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/executor.h"
#include "base/random.h"
#include "server/cluster/node_links.h"
#include "server/cluster/peer_frames.h"
#include "server/replica/replica.h"
#include "server/session/command_sink.h"

namespace cairn::server {

struct NodeOptions {
  std::string data_dir;
  NodeAddresses addresses;                 // to advertise
  bool bootstrap = false;                  // create a cluster; no effect on existing data
  uint32_t initial_nodes = 1;              // with bootstrap: the ranges are created once so many have joined
  bool whole = false;                      // with bootstrap: `default` is one range, any command on any keys
  uint32_t ranges = 16;                    // with bootstrap: ranges of `default`; [1, 16384]
  uint32_t replication_factor = 3;         // with bootstrap: replicas of a range, at most the number of nodes
  std::vector<std::string> join;           // peer addresses of members
  Duration wait_for_leader = 5 * kSecond;  // how long a command that was certainly not applied waits for a leader
  RedirectMode redirect = RedirectMode::kAuto;
  Duration follower_staleness = 0;  // reads on followers may be as old as this; 0: linearizable
  std::string requirepass;
  uint64_t large_pending_bytes = 16u << 20;       // proposed and not committed; above it writes above 1 MiB wait
  uint64_t large_commands_bytes = 32u << 20;      // of all connections' commands above 1 MiB, until they are answered
  std::map<std::string, std::string> parameters;  // CONFIG GET
  uint64_t reserve_bytes = 0;                     // of disk, kept back for when it is full: see storage/disk_reserve.h
  uint64_t log_budget_bytes = 512u << 20;         // above it the tablets that pin the oldest segment are flushed
  LinkOptions link;
  consensus::RaftOptions raft;
  storage::SharedLogOptions log;
  storage::TabletStoreOptions store;
  Duration scrub_interval = 7 * 24 * 3600 * kSecond;  // between two scrubs of all replicas; 0: none by itself
  Replica::Options replica;
  uint64_t snapshot_window_bytes = 4u << 20;  // sent and not confirmed by the receiver
  uint64_t snapshot_chunk_bytes = 256u << 10;
};

enum class LogLevel : uint8_t { kDebug, kInfo, kWarn, kError };

struct NodeEnvironment {
  const Clock* clock = nullptr;
  Random* random = nullptr;
  Executor* loop = nullptr;       // the range loop: everything of Node runs here
  Executor* link_loop = nullptr;  // the loop of the node links
  BackgroundExecutor* background = nullptr;
  storage::FileSystem* fs = nullptr;
  storage::DurableWriter* writer = nullptr;
  storage::AsyncReader* reader = nullptr;                // of rows; null: background threads
  storage::CachedReader* cached_reader = nullptr;        // of what the kernel has in memory; null: system calls
  Transport* data = nullptr;                             // on `loop`
  Transport* links = nullptr;                            // on `link_loop`
  std::function<void(LogLevel, std::string_view)> log;   // any loop
  std::function<void(const Error&)> fatal;               // data of this process is not to be trusted: stop it
  std::function<void(uint64_t session)> session_output;  // a session has new output
};

}  // namespace cairn::server
