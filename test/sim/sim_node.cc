#include "test/sim/sim_node.h"

#include "base/assert.h"
#include "storage/compaction/output_job.h"

namespace cairn::sim {

using storage::FileOp;

void SimWriter::write(storage::File& file, uint64_t offset, std::string_view data, Done done) {
  ++writes;
  auto shared = std::make_shared<Done>(std::move(done));
  // What has begun may reach the device in parts.
  const auto begun = storage::begin_durable(file, offset, data);
  Duration time = (60 + world_.exponential(80 * kMicrosecond) / kMicrosecond) * kMicrosecond * slowness;
  if (world_.random.chance(0.005)) time += world_.random.between(1, 5) * kMillisecond;
  const Instant at = std::max(world_.now() + time, hung_until);
  auto finish = std::make_shared<std::function<void()>>();
  *finish = [this, process = process_, shared, &file, offset, data, begun, finish] {
    if (!process->alive) {
      *finish = nullptr;
      return;
    }
    if (process->paused_until > world_.now() || hung_until > world_.now()) {
      world_.at(std::max(process->paused_until, hung_until), [finish] {
        if (const auto f = *finish) f();  // a copy: it clears itself
      });
      return;
    }
    auto result = begun ? storage::complete_durable(file, offset, data) : begun;
    *finish = nullptr;
    (*shared)(std::move(result));
  };
  world_.at(at, [finish] {
    if (const auto f = *finish) f();
  });
}

SimMachine::SimMachine(World& world, Network& network, std::string address, server::NodeOptions options)
    : world_(world),
      network_(network),
      address_(std::move(address)),
      options_(std::move(options)),
      clock_(world),
      faulty_(fs_) {
  storage::FaultPolicy policy;
  policy.fail = [this](FileOp op, const std::string& path) { return fault(op, path); };
  policy.after_read = [this](const std::string&, uint64_t, std::span<char>, size_t& got) {
    if (got > 1 && faults_.short_read > 0 && world_.random.chance(faults_.short_read)) {
      ++fired["short read"];
      got = world_.random.below(got);
    }
  };
  faulty_.set_policy(std::move(policy));
}

SimMachine::~SimMachine() {
  after_turn = nullptr;
  before_end = nullptr;
  if (life_) bury(false, {});
}

std::optional<Error> SimMachine::fault(FileOp op, const std::string& path) {
  if (dead_disk_) return Error{ErrorCode::kIoError, "the process is gone"};
  if (crash_in_ > 0 && life_ && --crash_in_ == 0) {
    ++fired["crash at operation"];
    dead_disk_ = true;
    world_.after(0, [this, process = life_->process] {
      if (process->alive) kill(world_.random.chance(0.5));
    });
    return Error{ErrorCode::kIoError, "the process is gone"};
  }
  if (op == FileOp::kReadCached && cold_reads) return Error{ErrorCode::kUnavailable, "not in the page cache"};
  if (op == FileOp::kRead && faults_.read_error > 0 && world_.random.chance(faults_.read_error)) {
    ++fired["read error"];
    return Error{ErrorCode::kIoError, path + ": injected EIO"};
  }
  if ((op == FileOp::kWrite || op == FileOp::kWriteDurable) && faults_.write_error > 0 &&
      world_.random.chance(faults_.write_error)) {
    ++fired["write error"];
    return Error{ErrorCode::kIoError, path + ": injected EIO"};
  }
  if ((op == FileOp::kSync || op == FileOp::kSyncDir) && faults_.sync_error > 0 &&
      world_.random.chance(faults_.sync_error)) {
    ++fired["sync error"];
    return Error{ErrorCode::kIoError, path + ": injected failed sync"};
  }
  return std::nullopt;
}

bool SimMachine::start() {
  CAIRN_ASSERT(!life_);
  died_ = false;
  dead_disk_ = false;
  life_ = std::make_unique<Life>();
  Life& life = *life_;
  const auto process = life.process;
  life.loop = std::make_unique<SimExecutor>(world_, clock_, process, [this, process] {
    // The end of a turn: what came together goes together.
    if (!life_ || life_->turn_scheduled || !life_->node) return;
    life_->turn_scheduled = true;
    world_.after(world_.random.between(2, 30) * kMicrosecond, [this, process] {
      if (!process->alive) return;
      life_->turn_scheduled = false;
      if (process->paused_until > world_.now()) {
        life_->turn_scheduled = true;
        world_.at(process->paused_until, [this, process] {
          if (!process->alive) return;
          life_->turn_scheduled = false;
          life_->node->end_turn();
          if (process->alive && after_turn) after_turn(*this);
        });
        return;
      }
      life_->node->end_turn();
      if (process->alive && after_turn) after_turn(*this);
    });
  });
  life.link_loop = std::make_unique<SimExecutor>(world_, clock_, process, nullptr);
  life.background = std::make_unique<SimBackground>(world_, process);
  life.background->slowness = background_slowness_;
  life.writer = std::make_unique<SimWriter>(world_, process);
  life.data = std::make_unique<SimTransport>(network_, address_, *life.loop, process);
  life.link = std::make_unique<SimTransport>(network_, address_, *life.link_loop, process);
  life.random = std::make_unique<SeededRandom>(world_.random.next());

  server::NodeEnvironment env;
  env.clock = &clock_;
  env.random = life.random.get();
  env.loop = life.loop.get();
  env.link_loop = life.link_loop.get();
  env.background = life.background.get();
  env.fs = &faulty_;
  env.writer = life.writer.get();
  env.data = life.data.get();
  env.links = life.link.get();
  env.log = [this](server::LogLevel, std::string_view text) {
    world_.trace(address_, hash64(text));
    if (world_.verbose)
      std::printf("%10.6f %s: %.*s\n", static_cast<double>(world_.now()) * 1e-9, address_.c_str(),
                  static_cast<int>(text.size()), text.data());
  };
  env.fatal = [this, process](const Error& error) {
    if (!process->alive || died_) return;
    error_ = error;
    died_ = true;
    dead_disk_ = true;  // exit at once: nothing more reaches the disk
    world_.trace("fatal", hash64(error.message));
    if (world_.verbose) std::printf("%s fatal: %s\n", address_.c_str(), to_string(error).c_str());
    world_.after(0, [this, process] {
      if (process->alive) kill(false);
    });
  };
  env.session_output = [this](uint64_t session) {
    if (session_output) session_output(session);
  };
  server::NodeOptions options = options_;
  options.addresses = {address_, address_ + "9", address_ + "8"};
  life.node = std::make_unique<server::Node>(env, options);
  life.data->set_events(life.node.get());
  life.node->on_identity = [this, process](const server::Identity& identity) {
    const PeerIdentity self{identity.node, identity.incarnation};
    life_->data->set_identity(identity.cluster, self);
    life_->link->set_identity(identity.cluster, self);
    life_->link->set_events(life_->node->links());
  };
  network_.attach(address_, life.data.get(), life.link.get());
  const auto started = life.node->start();
  if (!started) {
    error_ = started.error();
    world_.trace("start failed", hash64(error_.message));
    if (world_.verbose) std::printf("%s start failed: %s\n", address_.c_str(), to_string(error_).c_str());
    bury(false, {});
    return false;
  }
  if (died_ || dead_disk_) {
    bury(false, {});
    return false;
  }
  return true;
}

void SimMachine::bury(bool power, const storage::CrashOptions& crash) {
  if (before_end) before_end(*this);
  life_->process->alive = false;
  network_.detach(address_);
  dead_disk_ = true;
  crash_in_ = 0;
  life_->node.reset();
  life_.reset();
  dead_disk_ = false;
  if (power) fs_.crash(world_.random, crash);
}

void SimMachine::kill(bool power, const storage::CrashOptions& crash) {
  if (!life_) return;
  world_.trace(power ? "power" : "kill", hash64(address_));
  bury(power, crash);
}

void SimMachine::pause(Duration d) {
  if (life_) life_->process->paused_until = world_.now() + d;
}
bool SimMachine::paused() const { return life_ && life_->process->paused_until > world_.now(); }
void SimMachine::set_slowness(uint64_t slowness) {
  if (life_) life_->process->slowness = slowness;
}
void SimMachine::set_disk_slowness(uint64_t slowness) {
  if (!life_) return;
  life_->writer->slowness = slowness;
  life_->background->slowness = slowness * background_slowness_;
}
void SimMachine::set_background_slowness(uint64_t slowness) {
  background_slowness_ = slowness;
  if (life_) life_->background->slowness = slowness;
}
bool SimMachine::flip_bit_of_sstable() {
  if (!life_) return false;
  std::vector<storage::SstableInfo> tables;
  for (const auto& [id, replica] : life_->node->replicas()) {
    for (storage::SstableInfo& info : replica->tablet().tables()) tables.push_back(std::move(info));
  }
  if (tables.empty()) return false;
  const storage::SstableInfo& chosen = tables[world_.random.below(tables.size())];
  const std::string path = storage::sstable_path(storage::join_path(options_.data_dir, "sst"), chosen.id);
  return fs_.flip_bit(path, world_.random.below(chosen.bytes * 8)).has_value();
}

void SimMachine::hang_disk(Duration d) {
  if (life_) life_->writer->hung_until = world_.now() + d;
}

bool SimMachine::second_process_refused() {
  if (!life_) return true;
  SeededRandom random(1);
  server::NodeEnvironment env;
  env.clock = &clock_;
  env.random = &random;
  env.loop = life_->loop.get();
  env.link_loop = life_->link_loop.get();
  env.background = life_->background.get();
  env.fs = &fs_;
  env.writer = life_->writer.get();
  env.data = life_->data.get();
  env.links = life_->link.get();
  env.log = [](server::LogLevel, std::string_view) {};
  env.fatal = [](const Error&) {};
  env.session_output = [](uint64_t) {};
  server::Node second(env, options_);
  const auto started = second.start();
  return !started && started.error().code == ErrorCode::kInUse;
}

}  // namespace cairn::sim
