// Configuration of one node: flag over environment over file over default, validated once at start.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace cairn::config {

struct NodeConfig {
  std::string data_dir;
  std::string client_listen = "127.0.0.1:6379";
  std::string client_advertise;  // empty: as listen
  uint64_t client_max = 10'000;
  std::string peer_listen = "127.0.0.1:7379";
  std::string peer_advertise;
  std::string peer_secret;
  std::string admin_listen = "127.0.0.1:8379";
  std::string admin_advertise;
  std::string admin_token;
  std::string admin_hosts;
  std::string requirepass;
  bool insecure = false;
  std::string cluster_redirect = "auto";
  Duration cluster_wait_for_leader = 5 * kSecond;
  std::string cluster_sharding = "hash";
  uint64_t cluster_ranges = 16;
  uint64_t cluster_replication_factor = 3;
  std::string log_level = "info";
  std::string log_file;  // empty: standard error
  std::string log_writer = "uring";
  uint64_t storage_memtable_bytes = 64ull << 20;
  uint64_t storage_memtable_budget_bytes = 256ull << 20;
  uint64_t storage_block_cache_bytes = 64ull << 20;
  uint64_t storage_log_budget_bytes = 512ull << 20;
  uint64_t limits_command_bytes = 8ull << 20;
  Duration runtime_spin = 50 * kMicrosecond;
  uint64_t runtime_background_threads = 2;

  // Key -> where the value came from: "default", "FILE:LINE", "environment CAIRN_...", "flag --...".
  std::map<std::string, std::string> origins;
};

enum class KeyKind : uint8_t { kText, kSecret, kAddress, kBool, kCount, kBytes, kDuration, kChoice };

// One key: the source of loading, validation, `config check` and the documents.
struct KeySpec {
  std::string_view name;
  KeyKind kind;
  std::string_view range;                  // for people: "[1, 16384]", "hash | whole"
  std::string_view help;                   // what it is and when to change it
  void (*text)(NodeConfig&, std::string);  // kText, kSecret, kAddress, kChoice
  void (*number)(NodeConfig&, uint64_t);   // kBool (0, 1), kCount, kBytes, kDuration (ns)
  // What is set now; of the two, the one whose counterpart above is not null.
  std::string (*text_of)(const NodeConfig&);
  uint64_t (*number_of)(const NodeConfig&);
  uint64_t low = 0, high = ~uint64_t{0};  // of number
};
std::span<const KeySpec> key_specs();

struct LoadRequest {
  std::string file;                                              // empty: none
  std::vector<std::pair<std::string, std::string>> flags;        // key, value
  std::vector<std::pair<std::string, std::string>> environment;  // NAME, value; only CAIRN_* are looked at
};

// Errors (kInvalidArgument) name file and line, or flag, or variable, the key and, for an unknown one, the nearest key.
// Relative paths are resolved against the file's directory.
Result<NodeConfig> load(const LoadRequest& request);
// Rules over several keys: protected bindings, addresses. Part of load().
Result<void> validate(const NodeConfig& config);

// "HOST:PORT", port 1..65535.
bool is_address(std::string_view text);
bool is_loopback(std::string_view address);
// "8MiB", "512 KiB", "1g", plain bytes.
Result<uint64_t> parse_bytes(std::string_view text);
// "5s", "200ms", "50us", "2m".
Result<Duration> parse_duration(std::string_view text);
// As parse_duration() takes it, in the largest unit that is exact.
std::string format_duration(Duration duration);
// The blank- or comma-separated items of a text.
std::vector<std::string> items_of(std::string_view text);

}  // namespace cairn::config
