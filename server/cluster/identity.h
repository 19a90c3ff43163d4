// DATA/IDENTITY: who this data directory is. Text, one "name value" a line, checksummed, replaced atomically.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/result.h"
#include "base/types.h"
#include "storage/io/file_system.h"

namespace cairn::server {

struct Identity {
  std::string uuid;         // 16 random bytes, made before the first join request
  std::string cluster;      // 16 bytes; empty until joined
  NodeId node;              // 0 until joined
  Incarnation incarnation;  // of the boot under way; durable before the first message
  uint32_t shards = 1;      // fixed when the directory is made
};

// Reads it, or makes a fresh one if the directory has none. Damage is kCorruption: never guess an identity.
Result<Identity> load_identity(storage::FileSystem& fs, const std::string& data_dir, Random& random, bool* fresh);
Result<void> save_identity(storage::FileSystem& fs, const std::string& data_dir, const Identity& identity);

// DATA/PEERS: addresses of the members as last known. A hint that lets a whole cluster find itself after a full stop.
struct PeerHint {
  NodeId node;
  std::string address;
};
Result<std::vector<PeerHint>> load_peers(storage::FileSystem& fs, const std::string& data_dir);
Result<void> save_peers(storage::FileSystem& fs, const std::string& data_dir, const std::vector<PeerHint>& peers);

std::string to_hex(std::string_view bytes);
std::optional<std::string> from_hex(std::string_view hex);

}  // namespace cairn::server
