#include "test/sim/client.h"

#include <fmt/format.h>

#include "server/resp/reply_parser.h"

namespace cairn::sim {

std::string command_bytes(const std::vector<std::string>& argv) {
  std::string out = fmt::format("*{}\r\n", argv.size());
  for (const std::string& arg : argv) out += fmt::format("${}\r\n", arg.size()) + arg + "\r\n";
  return out;
}

SimClient::SimClient(World& world, uint64_t id, std::vector<std::unique_ptr<SimMachine>>& machines,
                     const WorkloadOptions& options, std::vector<Operation>& history)
    : world_(world), id_(id), machines_(machines), options_(options), history_(history) {
  for (uint32_t i = 0; i < options.registers; ++i) keys_.push_back(fmt::format("r{}", i));
  for (uint32_t i = 0; i < options.counters; ++i) keys_.push_back(fmt::format("c{}", i));
  for (uint32_t i = 0; i < options.hashes; ++i) {
    for (uint32_t f = 0; f < 3; ++f) keys_.push_back(fmt::format("h{}/f{}", i, f));
  }
}

void SimClient::start() { think(); }

void SimClient::think() {
  if (stopping_) return;
  world_.after(world_.exponential(options_.think_mean), [this] {
    if (!stopping_ && outstanding_.empty()) issue();
  });
}

std::string SimClient::value() {
  std::string v = fmt::format("v{}.{}", id_, next_value_++);
  if (options_.exploded) v += std::string(80, 'x');
  if (world_.random.chance(options_.large_value)) v += std::string(world_.random.between(100'000, 300'000), 'y');
  return v;
}

size_t SimClient::record(OpKind kind, const std::string& key, const std::string& value) {
  Operation op;
  op.client = id_;
  op.kind = kind;
  op.key = key;
  op.argument = kind == OpKind::kIncrement ? "1" : value;
  op.outcome = Outcome::kUnknown;
  op.id = history_.size();
  op.invoked = world_.now();
  op.returned = ~Instant{0};
  history_.push_back(std::move(op));
  return history_.size() - 1;
}

bool SimClient::connect() {
  if (session_) return true;
  SimMachine& machine = *machines_[world_.random.below(machines_.size())];
  if (!machine.running() || machine.node()->draining()) return false;
  machine_ = &machine;
  server::SessionOptions options;
  options.peer_address = fmt::format("client{}:1", id_);
  session_ = std::make_unique<server::Session>(machine.node()->new_session_id(), *machine.node(), options);
  machine.node()->add_session(*session_);
  ++connection_;
  received_.clear();
  return true;
}

void SimClient::drop_connection() {
  if (!session_) return;
  ++connection_;
  session_->on_close();
  if (machine_->node() != nullptr) machine_->node()->remove_session(session_->id());
  session_.reset();
  machine_ = nullptr;
  received_.clear();
  outstanding_.clear();  // their outcome stays unknown
}

void SimClient::machine_gone(SimMachine& machine) {
  if (machine_ != &machine) return;
  drop_connection();
  think();
}

void SimClient::issue() {
  if (!connect()) return think();
  std::string bytes;
  std::vector<Pending> pending;
  const uint64_t commands = world_.random.between(1, options_.pipeline_max);
  for (uint64_t i = 0; i < commands; ++i) {
    Pending p;
    if (world_.random.chance(options_.flush_all)) {
      p.flush = true;
      for (const std::string& key : keys_) p.ops.push_back(record(OpKind::kDelete, key));
      bytes += command_bytes({"FLUSHALL"});
      pending.push_back(std::move(p));
      continue;
    }
    const std::string& key = keys_[world_.random.below(keys_.size())];
    const uint64_t dice = world_.random.below(100);
    if (key.front() == 'c') {
      if (dice < 60) {
        p.ops.push_back(record(OpKind::kIncrement, key));
        bytes += command_bytes({"INCR", key});
      } else {
        p.ops.push_back(record(OpKind::kRead, key));
        bytes += command_bytes({"GET", key});
      }
    } else if (key.front() == 'h') {
      const std::string hash = key.substr(0, key.find('/')), field = key.substr(key.find('/') + 1);
      if (dice < 40) {
        const std::string v = value();
        p.ops.push_back(record(OpKind::kWrite, key, v));
        bytes += command_bytes({"HSET", hash, field, v});
      } else if (dice < 50) {
        p.ops.push_back(record(OpKind::kDelete, key));
        bytes += command_bytes({"HDEL", hash, field});
      } else {
        p.ops.push_back(record(OpKind::kRead, key));
        bytes += command_bytes({"HGET", hash, field});
      }
    } else if (dice < 40) {
      const std::string v = value();
      p.ops.push_back(record(OpKind::kWrite, key, v));
      bytes += command_bytes({"SET", key, v});
    } else if (dice < 50) {
      const std::string v = value();
      p.ops.push_back(record(OpKind::kSetIfAbsent, key, v));
      bytes += command_bytes({"SET", key, v, "NX"});
    } else if (dice < 60) {
      p.ops.push_back(record(OpKind::kDelete, key));
      bytes += command_bytes({"DEL", key});
    } else {
      p.ops.push_back(record(OpKind::kRead, key));
      bytes += command_bytes({"GET", key});
    }
    pending.push_back(std::move(p));
  }
  send(std::move(bytes), std::move(pending));
}

void SimClient::flush_now() {
  if (!idle() || !connect()) return;
  std::vector<Pending> pending(1);
  pending[0].flush = true;
  for (const std::string& key : keys_) pending[0].ops.push_back(record(OpKind::kDelete, key));
  send(command_bytes({"FLUSHALL"}), std::move(pending));
}

void SimClient::send(std::string bytes, std::vector<Pending> pending) {
  for (Pending& p : pending) outstanding_.push_back(std::move(p));
  const uint64_t connection = connection_;
  world_.after(world_.random.between(10, 200) * kMicrosecond, [this, connection, bytes = std::move(bytes)] {
    if (connection != connection_ || !session_) return;
    machine_->run_on_loop([this, connection, bytes] {
      if (connection != connection_ || !session_) return;
      session_->on_input(bytes);
      take_replies();
    });
  });
  const uint64_t request = ++request_;
  world_.after(options_.timeout, [this, connection, request] {
    if (connection != connection_ || request != request_ || outstanding_.empty()) return;
    world_.trace("client timeout", id_);
    drop_connection();
    think();
  });
}

void SimClient::output_ready(SimMachine& machine, uint64_t session) {
  if (machine_ == &machine && session_ && session_->id() == session) take_replies();
}

void SimClient::take_replies() {
  if (!session_ || session_->output().empty()) return;
  std::string bytes = std::exchange(session_->output(), {});
  session_->on_output_sent();
  const uint64_t connection = connection_;
  last_chunk_ = std::max(last_chunk_ + 1, world_.now() + world_.random.between(10, 200) * kMicrosecond);
  world_.at(last_chunk_, [this, connection, bytes = std::move(bytes)] {
    if (connection != connection_) return;
    received_ += bytes;
    for (;;) {
      size_t length = 0;
      if (outstanding_.empty() || server::reply_length(received_, length) != server::ReplyState::kComplete) break;
      const Pending pending = std::move(outstanding_.front());
      outstanding_.pop_front();
      settle(pending, std::string_view(received_).substr(0, length));
      received_.erase(0, length);
    }
    if (outstanding_.empty()) {
      if (world_.random.chance(0.02)) drop_connection();  // and come back elsewhere
      think();
    }
  });
}

void SimClient::settle(const Pending& pending, std::string_view reply) {
  world_.trace("reply", hash64(reply), id_);
  for (size_t index : pending.ops) {
    Operation& op = history_[index];
    if (reply.front() == '-') {
      if (reply.starts_with("-INDETERMINATE")) continue;
      if (pending.flush) continue;  // some ranges may have been cleared
      op.outcome = Outcome::kNotApplied;
      op.returned = world_.now();
      op.result = std::string(reply);
      continue;
    }
    op.outcome = Outcome::kOk;
    op.returned = world_.now();
    if (pending.flush) continue;  // whether the key existed is not known
    server::ReplyHead head;
    (void)server::read_reply_head(reply, head);
    switch (op.kind) {
      case OpKind::kRead:
        if (head.number != -1) op.result = std::string(head.text);
        break;
      case OpKind::kSetIfAbsent: op.result = head.type == '+' ? "1" : "0"; break;
      case OpKind::kDelete:
      case OpKind::kIncrement: op.result = std::to_string(head.number); break;
      case OpKind::kWrite: break;
    }
  }
}

void SimClient::read_everything() {
  if (!connect()) return;
  std::string bytes;
  std::vector<Pending> pending;
  for (const std::string& key : keys_) {
    Pending p;
    p.ops.push_back(record(OpKind::kRead, key));
    if (key.front() == 'h') {
      bytes += command_bytes({"HGET", key.substr(0, key.find('/')), key.substr(key.find('/') + 1)});
    } else {
      bytes += command_bytes({"GET", key});
    }
    pending.push_back(std::move(p));
  }
  send(std::move(bytes), std::move(pending));
}

}  // namespace cairn::sim
