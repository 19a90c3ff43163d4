#include "server/cluster/identity.h"

#include <fmt/format.h>

#include <charconv>
#include <map>

#include "base/checksum.h"

namespace cairn::server {
namespace {

constexpr std::string_view kMagic = "cairn-identity 1";

std::string path_of(const std::string& data_dir) { return storage::join_path(data_dir, "IDENTITY"); }

std::optional<uint64_t> number(const std::map<std::string, std::string>& fields, const std::string& name) {
  const auto found = fields.find(name);
  if (found == fields.end()) return std::nullopt;
  uint64_t value = 0;
  const auto& text = found->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string to_hex(std::string_view bytes) {
  std::string hex;
  for (char c : bytes) hex += fmt::format("{:02x}", static_cast<uint8_t>(c));
  return hex;
}

std::optional<std::string> from_hex(std::string_view hex) {
  if (hex.size() % 2 != 0) return std::nullopt;
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    uint8_t byte = 0;
    const auto [end, error] = std::from_chars(hex.data() + i, hex.data() + i + 2, byte, 16);
    if (error != std::errc{} || end != hex.data() + i + 2) return std::nullopt;
    bytes.push_back(static_cast<char>(byte));
  }
  return bytes;
}

Result<Identity> load_identity(storage::FileSystem& fs, const std::string& data_dir, Random& random, bool* fresh) {
  const std::string path = path_of(data_dir);
  CAIRN_TRY(const bool exists, fs.exists(path));
  *fresh = !exists;
  if (!exists) {
    Identity identity;
    for (int i = 0; i < 2; ++i) {
      const uint64_t word = random.next();
      identity.uuid.append(reinterpret_cast<const char*>(&word), sizeof word);
    }
    return identity;
  }
  CAIRN_TRY(const std::string text, storage::read_file(fs, path));
  const Error damaged{ErrorCode::kCorruption,
                      path + " is damaged: it is not guessed at; restore it or join as a new node"};
  const size_t last = text.rfind("crc ");
  if (last == std::string::npos || !text.starts_with(kMagic)) return damaged;
  if (text.substr(last) != fmt::format("crc {:08x}\n", crc32c(std::string_view(text).substr(0, last)))) return damaged;
  std::map<std::string, std::string> fields;
  size_t at = text.find('\n') + 1;
  while (at < last) {
    const size_t end = text.find('\n', at);
    const std::string line = text.substr(at, end - at);
    const size_t space = line.find(' ');
    if (space == std::string::npos) return damaged;
    fields[line.substr(0, space)] = line.substr(space + 1);
    at = end + 1;
  }
  Identity identity;
  const auto uuid = from_hex(fields["uuid"]);
  const auto cluster = from_hex(fields["cluster"] == "-" ? "" : fields["cluster"]);
  const auto node = number(fields, "node");
  const auto incarnation = number(fields, "incarnation");
  const auto shards = number(fields, "shards");
  if (!uuid || uuid->size() != 16 || !cluster || !node || !incarnation || !shards || *shards == 0) return damaged;
  identity.uuid = *uuid;
  identity.cluster = *cluster;
  identity.node = {*node};
  identity.incarnation = {*incarnation};
  identity.shards = static_cast<uint32_t>(*shards);
  return identity;
}

Result<void> save_identity(storage::FileSystem& fs, const std::string& data_dir, const Identity& identity) {
  std::string text = fmt::format("{}\nuuid {}\ncluster {}\nnode {}\nincarnation {}\nshards {}\n", kMagic,
                                 to_hex(identity.uuid), identity.cluster.empty() ? "-" : to_hex(identity.cluster),
                                 identity.node.value, identity.incarnation.value, identity.shards);
  text += fmt::format("crc {:08x}\n", crc32c(text));
  return storage::write_file_atomic(fs, path_of(data_dir), text);
}

Result<std::vector<PeerHint>> load_peers(storage::FileSystem& fs, const std::string& data_dir) {
  const std::string path = storage::join_path(data_dir, "PEERS");
  std::vector<PeerHint> peers;
  CAIRN_TRY(const bool exists, fs.exists(path));
  if (!exists) return peers;
  CAIRN_TRY(const std::string text, storage::read_file(fs, path));
  size_t at = 0;
  while (at < text.size()) {
    size_t end = text.find('\n', at);
    if (end == std::string::npos) end = text.size();
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    const size_t space = line.find(' ');
    uint64_t id = 0;
    if (space == std::string::npos) continue;
    if (std::from_chars(line.data(), line.data() + space, id).ec != std::errc{}) continue;
    peers.push_back({NodeId{id}, line.substr(space + 1)});
  }
  return peers;
}

Result<void> save_peers(storage::FileSystem& fs, const std::string& data_dir, const std::vector<PeerHint>& peers) {
  std::string text;
  for (const PeerHint& peer : peers) text += fmt::format("{} {}\n", peer.node.value, peer.address);
  return storage::write_file_atomic(fs, storage::join_path(data_dir, "PEERS"), text);
}

}  // namespace cairn::server
