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
  for (uint32_t i = 0; i < options.pairs; ++i) keys_.push_back(fmt::format("t{}", i));
  for (uint32_t i = 0; i < options.watched; ++i) keys_.push_back(fmt::format("w{}", i));
  for (uint32_t i = 0; i < options.expiring; ++i) keys_.push_back(fmt::format("e{}", i));
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
  if (world_.random.chance(options_.read_only)) {
    session_->on_input(command_bytes({"READONLY"}));
    session_->output().clear();
  }
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

void SimClient::Request::add(const std::vector<std::string>& argv, Pending answer) {
  bytes += command_bytes(argv);
  pending.push_back(std::move(answer));
}

void SimClient::issue() {
  if (!connect()) return think();
  Request request;
  const uint64_t commands = world_.random.between(1, options_.pipeline_max);
  for (uint64_t i = 0; i < commands; ++i) {
    if (world_.random.chance(options_.flush_all)) {
      add_flush(request);
      continue;
    }
    if (options_.stable > 0 && world_.random.chance(0.15) && add_scan(request)) continue;
    const std::string& key = keys_[world_.random.below(keys_.size())];
    switch (key.front()) {
      case 'c': add_counter_command(request, key); break;
      case 'h': add_hash_command(request, key); break;
      case 't': add_pair_command(request, key); break;
      case 'e': add_expiring_command(request, key); break;
      case 'w':
        if (i + 1 == commands && world_.random.chance(0.7)) {
          begin_count(request, key);  // the last: it goes on when this is answered
        } else {
          add_read(request, key);
        }
        break;
      default: add_register_command(request, key);
    }
  }
  send(std::move(request.bytes), std::move(request.pending));
}

void SimClient::add_flush(Request& request) {
  Pending p;
  p.answer = Answer::kFlush;
  for (const std::string& key : keys_) p.ops.push_back(record(OpKind::kDelete, key));
  request.add({"FLUSHALL"}, std::move(p));
}

void SimClient::add_counter_command(Request& request, const std::string& key) {
  if (world_.random.below(100) >= 60) return add_read(request, key);
  request.add({"INCR", key}, {.ops = {record(OpKind::kIncrement, key)}});
}

void SimClient::add_hash_command(Request& request, const std::string& key) {
  const uint64_t dice = world_.random.below(100);
  const std::string hash = key.substr(0, key.find('/')), field = key.substr(key.find('/') + 1);
  if (dice < 40) {
    const std::string v = value();
    request.add({"HSET", hash, field, v}, {.ops = {record(OpKind::kWrite, key, v)}});
  } else if (dice < 50) {
    request.add({"HDEL", hash, field}, {.ops = {record(OpKind::kDelete, key)}});
  } else {
    add_read(request, key);
  }
}

void SimClient::add_register_command(Request& request, const std::string& key) {
  const uint64_t dice = world_.random.below(100);
  if (dice < 50) {
    const std::string v = value();
    const bool only_new = dice >= 40;
    std::vector<std::string> argv{"SET", key, v};
    if (only_new) argv.push_back("NX");
    request.add(argv, {.ops = {record(only_new ? OpKind::kSetIfAbsent : OpKind::kWrite, key, v)}});
  } else if (dice < 60) {
    request.add({"DEL", key}, {.ops = {record(OpKind::kDelete, key)}});
  } else {
    add_read(request, key);
  }
}

void SimClient::flush_now() {
  if (!idle() || !connect()) return;
  Request request;
  add_flush(request);
  send(std::move(request.bytes), std::move(request.pending));
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
  std::string bytes = session_->output().take();
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
  for (size_t index : pending.ops) settle_operation(history_[index], pending.answer, reply);
  switch (pending.answer) {
    case Answer::kWatched: watching_ = reply == "+OK\r\n"; return;
    case Answer::kCount: return end_count(pending.key, reply);
    case Answer::kScan: return take_page(reply);
    case Answer::kStable:
      if (reply == "+OK\r\n") stable_.insert(pending.key);
      return;
    default: return;
  }
}

void SimClient::settle_operation(Operation& op, Answer answer, std::string_view reply) {
  server::ReplyHead head;
  (void)server::read_reply_head(reply, head);
  // nil: a watched key was changed
  const bool refused = (answer == Answer::kWriteBoth || answer == Answer::kReadBoth) && head.number < 0;
  if (reply.front() == '-' || refused) {
    if (reply.starts_with("-INDETERMINATE")) return;
    if (answer == Answer::kFlush) return;  // some ranges may have been cleared
    op.outcome = Outcome::kNotApplied;
    op.returned = world_.now();
    op.result = std::string(reply);
    return;
  }
  op.outcome = Outcome::kOk;
  op.returned = world_.now();
  if (answer == Answer::kFlush) return;  // whether the key existed is not known
  if (answer == Answer::kReadBoth) {
    std::optional<std::string> both[2];
    std::string_view rest = reply.substr(head.bytes);
    for (auto& value : both) {
      (void)server::read_reply_head(rest, head);
      if (head.number != -1) value = std::string(head.text);
      rest.remove_prefix(head.bytes);
    }
    op.result = both[0];
    if (both[0] != both[1]) op.result = both[0].value_or("nil") + " and " + both[1].value_or("nil");
    return;
  }
  switch (op.kind) {
    case OpKind::kRead:
      if (head.number != -1) op.result = std::string(head.text);
      break;
    case OpKind::kSetIfAbsent: op.result = head.type == '+' ? "1" : "0"; break;
    case OpKind::kDelete: op.result = std::to_string(head.number); break;
    case OpKind::kIncrement:
      if (answer == Answer::kPlain) op.result = std::to_string(head.number);
      break;  // of an EXEC it is what was written
    case OpKind::kWrite: break;
  }
}

void SimClient::read_everything() {
  if (!connect()) return;
  Request request;
  for (const std::string& key : keys_) add_read(request, key);
  send(std::move(request.bytes), std::move(request.pending));
}

}  // namespace cairn::sim
