// A simulated client: one connection at a time, one command (or a short pipeline) in flight, history kept.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/session/session.h"
#include "test/sim/checker.h"
#include "test/sim/sim_node.h"

namespace cairn::sim {

struct WorkloadOptions {
  uint32_t registers = 8;
  uint32_t counters = 2;
  uint32_t hashes = 2;  // each with few fields; values long enough to explode them in some seeds
  bool exploded = false;
  double flush_all = 0;    // FLUSHALL instead of a command
  double large_value = 0;  // a value of some hundred KB
  Duration think_mean = 40 * kMillisecond;
  Duration timeout = 4 * kSecond;
  uint32_t pipeline_max = 3;
};

class SimClient {
 public:
  SimClient(World& world, uint64_t id, std::vector<std::unique_ptr<SimMachine>>& machines,
            const WorkloadOptions& options, std::vector<Operation>& history);

  void start();  // until stop()
  void stop() { stopping_ = true; }
  bool idle() const { return outstanding_.empty(); }
  // The process on `machine` is about to go: the connection breaks.
  void machine_gone(SimMachine& machine);
  void output_ready(SimMachine& machine, uint64_t session);
  // Sends FLUSHALL at once, unless it waits for something.
  void flush_now();
  // Reads of all keys, for the end; results go to the history.
  void read_everything();
  const std::vector<std::string>& keys() const { return keys_; }

 private:
  struct Pending {
    std::vector<size_t> ops;  // indexes into the history (FLUSHALL, HGETALL: several)
    bool flush = false;
  };
  void think();
  void issue();
  void send(std::string bytes, std::vector<Pending> pending);
  void drop_connection();
  void take_replies();
  void settle(const Pending& pending, std::string_view reply);
  size_t record(OpKind kind, const std::string& key, const std::string& value = {});
  bool connect();
  std::string value();

  World& world_;
  const uint64_t id_;
  std::vector<std::unique_ptr<SimMachine>>& machines_;
  const WorkloadOptions options_;
  std::vector<Operation>& history_;
  std::vector<std::string> keys_;  // every register
  SimMachine* machine_ = nullptr;
  std::unique_ptr<server::Session> session_;
  uint64_t request_ = 0;     // counts sends; a timeout belongs to one
  uint64_t connection_ = 0;  // counts connections; callbacks of an old one are recognised by it
  std::string received_;
  Instant last_chunk_ = 0;  // a stream: bytes arrive in order
  std::deque<Pending> outstanding_;
  bool stopping_ = false;
  uint64_t next_value_ = 1;
};

std::string command_bytes(const std::vector<std::string>& argv);

}  // namespace cairn::sim
