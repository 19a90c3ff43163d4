// What the connections of one node have in common: who is connected, pauses, the slow log, latencies, and the settings
// that may change while they live.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/executor.h"
#include "base/result.h"
#include "base/types.h"
#include "server/commands/command.h"
#include "server/session/command_stats.h"
#include "server/session/input_buffer.h"
#include "server/session/latency.h"
#include "server/session/slow_log.h"

namespace cairn::server {

class Session;

// The parameters of CONFIG GET and SET. Thread safety: on the range loop.
class Parameters {
 public:
  using Changes = std::vector<std::pair<std::string, std::string>>;
  virtual ~Parameters() = default;
  virtual std::map<std::string, std::string> list() const = 0;
  // All of them or none. The error is what CONFIG SET answers, without "ERR ".
  virtual Result<void> set(const Changes& changes) = 0;
  // Makes what runs now what is started with next time. The error is what CONFIG REWRITE answers, without "ERR ".
  virtual Result<void> rewrite() = 0;
};

// Parameters that nobody can change.
class FixedParameters final : public Parameters {
 public:
  explicit FixedParameters(std::map<std::string, std::string> values) : values_(std::move(values)) {}
  std::map<std::string, std::string> list() const override { return values_; }
  Result<void> set(const Changes& changes) override;
  Result<void> rewrite() override;

 private:
  std::map<std::string, std::string> values_;
};

struct SharedSettings {
  bool latency_tracking = true;                      // histograms of commands
  Duration slowlog_slower_than = 10 * kMillisecond;  // kNever: nothing is logged
  uint64_t slowlog_max_len = 128;
  uint64_t latency_threshold_ms = 0;        // of the latency monitor; 0: off
  uint64_t query_buffer_max = 64ull << 20;  // bytes of one connection that wait to be read as commands

  // For the slow log or the latency monitor.
  bool notable(Duration took) const {
    return took >= slowlog_slower_than || (latency_threshold_ms != 0 && took >= latency_threshold_ms * kMillisecond);
  }
  bool timing() const { return latency_tracking || slowlog_slower_than != kNever || latency_threshold_ms != 0; }
};

enum class PauseMode : uint8_t { kNone, kWrites, kAll };

// Why connections were closed by the node.
struct ClientLimitMetrics {
  Counter query_buffer, output_buffer, idle, login, killed;
};

// Thread safety: on the range loop. Ownership: of none of the sessions; they outlive their registration.
class SessionHub {
 public:
  SharedSettings settings;
  SlowLog slow_log;
  LatencyMonitor latency;
  ClientLimitMetrics limits;
  InputMemory input_memory;
  // Set by the node. Null in tests that need none of them: then a pause ends when somebody asks.
  std::function<void(Duration, Task)> run_after;
  std::function<void(uint64_t session)> output_ready;

  explicit SessionHub(std::map<std::string, std::string> parameters = {}) : fixed_(std::move(parameters)) {}
  Parameters& parameters() const { return *parameters_; }
  void set_parameters(Parameters& parameters) { parameters_ = &parameters; }  // outlives the hub's sessions
  void set_settings(const SharedSettings& changed);

  void add(Session& session);
  void remove(uint64_t id);
  const std::unordered_map<uint64_t, Session*>& sessions() const { return sessions_; }
  Session* find(uint64_t id) const;
  std::vector<Session*> in_order() const;  // by id

  // Commands wait from now on: writes, or all but those about connections. A pause replaces the one before.
  void pause(PauseMode mode, Instant until, Instant now);
  void unpause();
  bool pauses(const CommandSpec& spec) const {
    return pause_ == PauseMode::kAll || (pause_ == PauseMode::kWrites && (spec.flags & kWrite) != 0);
  }
  size_t postponed() const;  // connections that wait for the end of a pause

  // A command of `session` was answered after `took`, which is notable, at `second` since 1970.
  void answered(const Session& session, const CommandSpec& spec, std::string_view packed_arguments, Duration took,
                uint64_t second);

 private:
  mutable FixedParameters fixed_;
  Parameters* parameters_ = &fixed_;
  std::unordered_map<uint64_t, Session*> sessions_;
  PauseMode pause_ = PauseMode::kNone;
  uint64_t pause_number_ = 0;  // tells a timer whether its pause is still the one
};

}  // namespace cairn::server
