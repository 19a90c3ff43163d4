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

inline constexpr std::string_view kRuntime = "runtime";  // the origin of a value that was changed in a running node

struct NodeConfig {
  std::string data_dir;
  std::string client_listen = "127.0.0.1:6379";
  std::string client_advertise;  // empty: as listen
  uint64_t client_max = 10'000;
  Duration client_idle_timeout = 0;
  Duration client_login_timeout = 60 * kSecond;
  uint64_t client_output_hard_bytes = 256ull << 20;
  uint64_t client_output_soft_bytes = 64ull << 20;
  Duration client_output_soft_time = 60 * kSecond;
  uint64_t client_query_buffer_bytes = 64ull << 20;
  Duration client_tcp_keepalive = 300 * kSecond;
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
  std::string cluster_follower_reads = "linearizable";
  Duration cluster_follower_staleness = kSecond;
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
  uint64_t storage_hot_row_bytes = 4ull << 20;
  uint64_t storage_io_bytes_per_second_max = 1ull << 30;
  uint64_t storage_io_bytes_per_second_min = 16ull << 20;
  Duration storage_io_read_target = 5 * kMillisecond;
  std::string storage_compaction_strategy = "ics";
  std::string storage_compression = "lz4";
  uint64_t storage_log_budget_bytes = 512ull << 20;
  uint64_t storage_scrub_bytes_per_second = 32ull << 20;
  uint64_t storage_delete_bytes_per_second = 512ull << 20;
  Duration storage_scrub_interval = 168 * 3600 * kSecond;
  uint64_t storage_reserve_bytes = 256ull << 20;
  Duration latency_threshold = 0;
  bool latency_tracking = true;
  uint64_t slowlog_max_len = 128;
  Duration slowlog_slower_than = 10 * kMillisecond;
  uint64_t limits_command_bytes = 40ull << 20;
  uint64_t limits_value_max = 32ull << 20;
  Duration runtime_spin = 50 * kMicrosecond;
  uint64_t runtime_background_threads = 2;
  uint64_t runtime_background_headroom = 12;  // percent
  bool runtime_polled_reads = true;

  // Key -> where the value came from: "default", "FILE:LINE", "environment CAIRN_...", "flag --...",
  // "runtime".
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
  bool reload = false;                    // may change while the node runs
};
std::span<const KeySpec> key_specs();            // sorted by name
const KeySpec* find_key(std::string_view name);  // null: unknown
inline bool is_text(KeyKind kind) {
  return kind == KeyKind::kText || kind == KeyKind::kSecret || kind == KeyKind::kAddress || kind == KeyKind::kChoice;
}

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

// Sets one key. Errors as those of load(). `origin` is where the value comes from.
Result<void> set_key(NodeConfig& config, std::string_view name, const std::string& value, const std::string& origin);
// The value as a file would have it: "8MiB", "5s", "true". load() reads it back to the same.
std::string value_text(const NodeConfig& config, const KeySpec& key);
// The same for people: secrets are "(set)" or empty.
std::string shown_value(const NodeConfig& config, const KeySpec& key);
// Every key with its value and its origin, a line each.
std::string show(const NodeConfig& config);
// JSON Schema (2020-12) of the file, for editors. Ends with a line end.
std::string json_schema();
// `text`, a configuration file, with the values whose origin is kRuntime: they replace those of their lines, or are
// added to their group; comments, order and everything else stay. Reads lines, not YAML: what it returns for a file in
// flow style or with values of several lines may be wrong, so the caller loads it and compares.
std::string rewritten(const std::string& text, const NodeConfig& config);

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
