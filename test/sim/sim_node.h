// One simulated machine: disk and clocks that survive, and the process that comes and goes on it.
#pragma once

#include <memory>
#include <string>

#include "server/cluster/node.h"
#include "storage/io/faulty_file_system.h"
#include "storage/io/memory_file_system.h"
#include "test/sim/network.h"
#include "test/sim/world.h"

namespace cairn::sim {

// Durable writes that take time; between begin and end a crash may tear them.
class SimWriter final : public storage::DurableWriter {
 public:
  SimWriter(World& world, std::shared_ptr<Process> process) : world_(world), process_(std::move(process)) {}
  void write(storage::File& file, uint64_t offset, std::string_view data, Done done) override;
  uint64_t slowness = 1;
  Instant hung_until = 0;
  uint64_t writes = 0;

 private:
  World& world_;
  std::shared_ptr<Process> process_;
};

struct DiskFaults {
  double read_error = 0;   // EIO
  double write_error = 0;  // EIO on a write
  double sync_error = 0;   // failed sync: fatal to the process
  double short_read = 0;
};

class SimMachine {
 public:
  SimMachine(World& world, Network& network, std::string address, server::NodeOptions options);
  const server::NodeOptions& options() const { return options_; }
  ~SimMachine();

  // A process starts on the disk as it is. False: it ended at once with `error()`.
  bool start();
  bool running() const { return life_ != nullptr; }
  // kill -9: what was written stays, synced or not. With `power`: unsynced writes are lost, reordered, torn.
  void kill(bool power, const storage::CrashOptions& crash = {});
  void pause(Duration d);
  bool paused() const;
  void set_slowness(uint64_t slowness);  // CPU
  void set_disk_slowness(uint64_t slowness);
  // Background threads (flushes, fetches) take so many times as long, in later lives too.
  void set_background_slowness(uint64_t slowness);
  void hang_disk(Duration d);
  void set_faults(const DiskFaults& faults) { faults_ = faults; }
  void set_capacity(uint64_t bytes) { fs_.set_capacity(bytes); }
  uint64_t used_bytes() const { return fs_.used_bytes(); }
  // Of one that a replica reads from. False: there is none.
  bool flip_bit_of_sstable();
  // Dies at the n-th file operation from now.
  void crash_at_operation(uint64_t n) { crash_in_ = n; }
  bool fragile = false;     // its disk may lie: reads come short
  bool cold_reads = false;  // nothing is in the page cache: rows come from disk in the background
  // A second process on the same directory must be refused. True: it was.
  bool second_process_refused();

  // Runs `task` as a task of the range loop: after what is queued, not while the process is stopped.
  void run_on_loop(Task task) {
    if (life_) life_->loop->post(std::move(task));
  }
  server::Node* node() { return life_ ? life_->node.get() : nullptr; }
  const std::string& address() const { return address_; }
  SimClock& clock() { return clock_; }
  const Error& error() const { return error_; }
  storage::MemoryFileSystem& disk() { return fs_; }
  std::map<std::string, uint64_t> fired;  // disk faults by name

  // A process that found its data not to be trusted and ended itself.
  bool died() const { return died_; }
  std::function<void(SimMachine&)> after_turn;  // invariants
  std::function<void(uint64_t session)> session_output;
  std::function<void(SimMachine&)> before_end;  // the process is about to go: connections break

 private:
  struct Life {
    std::shared_ptr<Process> process = std::make_shared<Process>();
    std::unique_ptr<SimExecutor> loop, link_loop;
    std::unique_ptr<SimBackground> background;
    std::unique_ptr<SimWriter> writer;
    std::unique_ptr<SimTransport> data, link;
    std::unique_ptr<SeededRandom> random;
    std::unique_ptr<server::Node> node;
    bool turn_scheduled = false;
  };
  void bury(bool power, const storage::CrashOptions& crash);
  std::optional<Error> fault(storage::FileOp op, const std::string& path);

  World& world_;
  Network& network_;
  const std::string address_;
  server::NodeOptions options_;
  SimClock clock_;
  storage::MemoryFileSystem fs_;
  storage::FaultyFileSystem faulty_;
  DiskFaults faults_;
  uint64_t background_slowness_ = 1;
  uint64_t crash_in_ = 0;
  bool dead_disk_ = false;  // the process is gone: its last calls reach nothing
  bool died_ = false;
  Error error_;
  std::unique_ptr<Life> life_;
};

}  // namespace cairn::sim
