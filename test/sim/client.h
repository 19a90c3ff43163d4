// A simulated client: one connection at a time, one command (or a short pipeline) in flight, history kept.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
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
  double read_only = 0;    // connections that send READONLY: followers answer their reads
  uint32_t pairs = 0;      // of keys that every EXEC writes alike: one register
  uint32_t watched = 0;    // the same, counted up by what was read under WATCH: one counter
  uint32_t expiring = 0;   // registers whose values expire now and then
  uint32_t stable = 0;     // keys of each client that are written once and stay; SCAN has to bring them
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
  // What an iteration of SCAN missed, and cursors that cannot be.
  const std::vector<std::string>& problems() const { return problems_; }
  uint64_t iterations() const { return iterations_; }  // of SCAN, complete

 private:
  enum class Answer : uint8_t {
    kPlain,
    kFlush,
    kIgnored,  // +OK of MULTI and UNWATCH, +QUEUED
    kWatched,
    kReadBoth,   // EXEC with two GETs
    kWriteBoth,  // EXEC with two SETs
    kCount,      // GET under WATCH: what comes next depends on it
    kStable,     // SET of a stable key
    kScan,
  };
  struct Pending {
    std::vector<size_t> ops = {};  // indexes into the history (FLUSHALL, HGETALL: several)
    Answer answer = Answer::kPlain;
    std::string key = {};  // kCount: of the counter; kStable
  };
  // Commands on their way into one send().
  struct Request {
    std::string bytes;
    std::vector<Pending> pending;
    void add(const std::vector<std::string>& argv, Pending answer);
  };
  void think();
  void issue();
  void send(std::string bytes, std::vector<Pending> pending);
  void drop_connection();
  void take_replies();
  void settle(const Pending& pending, std::string_view reply);
  void settle_operation(Operation& op, Answer answer, std::string_view reply);
  void add_flush(Request& request);
  void add_hash_command(Request& request, const std::string& key);
  void add_counter_command(Request& request, const std::string& key);
  void add_register_command(Request& request, const std::string& key);
  // client_steps.cc: transactions, expiry, SCAN
  void add_read(Request& request, const std::string& key);
  void add_pair_command(Request& request, const std::string& key);
  void add_exec(Request& request, const std::vector<std::vector<std::string>>& commands, Pending exec);
  void add_expiring_command(Request& request, const std::string& key);
  bool add_scan(Request& request);
  void begin_count(Request& request, const std::string& key);
  void end_count(const std::string& key, std::string_view reply);
  void take_page(std::string_view reply);
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
  bool watching_ = false;                     // WATCH was answered with OK
  std::map<std::string, uint32_t> expiries_;  // by key: each is one more operation of unknown outcome
  std::set<std::string> stable_;              // acknowledged
  uint32_t next_stable_ = 0;
  uint64_t cursor_ = 0;
  std::set<std::string> wanted_;  // of this iteration, still to come
  std::vector<std::string> problems_;
  uint64_t iterations_ = 0;
  uint64_t next_value_ = 1;
};

std::string command_bytes(const std::vector<std::string>& argv);

}  // namespace cairn::sim
