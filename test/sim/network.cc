#include "test/sim/network.h"

#include "base/assert.h"
#include "server/cluster/peer_frames.h"
#include "server/net/peer_wire.h"

namespace cairn::sim {

using server::FrameKind;

namespace {
constexpr Duration kReconnect = 20 * kMillisecond;
constexpr Duration kTcpPatience = 3 * kSecond;  // how long a connection holds on while nothing gets through

bool tolerates_loss(std::string_view frame) {
  const auto kind = static_cast<FrameKind>(server::frame_kind(frame));
  return kind == FrameKind::kHeartbeat || kind == FrameKind::kHeartbeatReply || kind == FrameKind::kConsensus;
}
}  // namespace

void SimTransport::send(NodeId to, Channel channel, std::string frame) {
  if (process_->alive) network_.send(*this, to, channel, std::move(frame));
}

void SimTransport::call(const std::string& address, std::string request, CallDone done) {
  auto shared = std::make_shared<CallDone>(std::move(done));
  auto answer = [this, process = process_, shared](Result<std::string> result) {
    if (!process->alive) return;
    loop_.post([process, shared, result = std::move(result)]() mutable {
      if (process->alive && *shared) std::exchange(*shared, nullptr)(std::move(result));
    });
  };
  const auto host = network_.hosts_.find(address);
  if (host == network_.hosts_.end() || !network_.reaches(address_, address)) {
    network_.world_.after(kReconnect, [answer] { answer(Error{ErrorCode::kUnavailable, "no answer"}); });
    return;
  }
  Network& network = network_;
  const uint64_t life = host->second.life;
  // An answer that never comes is a failure too.
  network.world_.after(2 * kSecond, [answer] { answer(Error{ErrorCode::kUnavailable, "no answer in time"}); });
  network.world_.after(network.delay(address_, address), [&network, address, life, from = address_, request, answer] {
    const auto host = network.hosts_.find(address);
    if (host == network.hosts_.end() || host->second.life != life || host->second.data->events_ == nullptr) return;
    SimTransport* data = host->second.data;
    data->loop_.post([&network, data, address, from, request, answer] {
      data->events_->on_call(request, [&network, address, from, answer](Result<std::string> result) {
        if (!network.reaches(address, from)) return;
        network.world_.after(network.delay(address, from), [answer, result] { answer(result); });
      });
    });
  });
}

void Network::attach(const std::string& address, SimTransport* data, SimTransport* link) {
  hosts_[address] = {data, link, next_life_++};
}

void Network::detach(const std::string& address) {
  hosts_.erase(address);
  // Those that were connected to it see the end of the stream at once, then refusals.
  std::vector<Key> broken;
  for (const auto& [key, connection] : connections_) {
    if (key.to == address || key.from == address) broken.push_back(key);
  }
  for (const Key& key : broken) break_connection(key, false);
}

void Network::reset(const std::string& a, const std::string& b) {
  std::vector<Key> broken;
  for (const auto& [key, connection] : connections_) {
    if ((key.from == a && key.to == b) || (key.from == b && key.to == a)) broken.push_back(key);
  }
  for (const Key& key : broken) break_connection(key, false);
}

Duration Network::delay(const std::string& from, const std::string& to, bool link) {
  Duration d = 20 * kMicrosecond + world_.exponential(faults.delay_mean);
  if (const auto slow = slow_.find({from, to}); slow != slow_.end()) d += world_.exponential(slow->second);
  if (const auto slow = slow_data_.find({from, to}); !link && slow != slow_data_.end())
    d += world_.exponential(slow->second);
  return std::min(d, 5 * kSecond);
}

// A damaged frame goes through the real framing: it must be found out, and then the connection is closed.
bool Network::survives_wire(const std::string& frame) {
  const bool corrupt = world_.random.chance(faults.corrupt);
  const bool cut = !corrupt && world_.random.chance(faults.truncate);
  if (!corrupt && !cut) return true;
  std::string wire;
  server::append_frame(wire, frame);
  server::FrameReader reader;
  if (corrupt) {
    ++fired["corrupt"];
    const uint64_t bit = world_.random.below(wire.size() * 8);
    wire[bit / 8] = static_cast<char>(wire[bit / 8] ^ (1 << (bit % 8)));
  } else {
    ++fired["truncate"];
    wire.resize(world_.random.below(wire.size()));
  }
  reader.add(wire);
  const auto got = reader.next();
  if (got) CAIRN_ASSERT_MSG(false, "a damaged frame was taken for a whole one");
  CAIRN_ASSERT_MSG(!corrupt || reader.failed(), "a damaged frame was not found out when it was there");
  return false;
}

void Network::send(SimTransport& from, NodeId to, Channel channel, std::string frame) {
  const auto address = from.addresses_.find(to);
  if (address == from.addresses_.end() || from.self_.node.value == 0) return;
  const Key key{from.address_, address->second, channel};
  const auto self = hosts_.find(from.address_);
  if (self == hosts_.end()) return;
  if (channel == Channel::kData && on_send) on_send(from.address_, frame);
  Connection& connection = connections_[key];
  connection.to_node = to;
  connection.from_node = from.self_.node;
  const auto host = hosts_.find(key.to);
  if (host == hosts_.end()) {
    // Refused: reported, at most once per pause.
    if (connection.stuck_since == 0) {
      connection.stuck_since = world_.now();
      world_.after(world_.random.between(1, 20) * kMillisecond, [this, key] { break_connection(key, true); });
    }
    return;
  }
  if (tolerates_loss(frame)) {
    if (cuts_.count({key.from, key.to}) != 0) return;
    if (world_.random.chance(faults.drop)) {
      ++fired["drop"];
      return;
    }
    Instant at = world_.now() + delay(key.from, key.to, channel == Channel::kLink);
    if (world_.random.chance(faults.reorder)) {
      ++fired["reorder"];
      at += world_.exponential(20 * kMillisecond);
    } else {
      at = connection.last_delivery = std::max(connection.last_delivery + 1, at);
    }
    if (world_.random.chance(faults.duplicate)) {
      ++fired["duplicate"];
      deliver(key, connection.generation, self->second.life, from.self_, to, frame,
              at + world_.exponential(5 * kMillisecond));
    }
    if (!survives_wire(frame)) {
      world_.after(1, [this, key] { break_connection(key, false); });
      return;
    }
    deliver(key, connection.generation, self->second.life, from.self_, to, std::move(frame), at);
    return;
  }
  // In order or not at all, as TCP has it.
  if (cuts_.count({key.from, key.to}) != 0 || !connection.held.empty()) {
    if (connection.stuck_since == 0) {
      connection.stuck_since = world_.now();
      check_stuck(key, connection.generation);
    }
    connection.held.push_back(std::move(frame));
    return;
  }
  if (!survives_wire(frame)) {
    world_.after(1, [this, key] { break_connection(key, false); });
    return;
  }
  const Instant at = connection.last_delivery =
      std::max(connection.last_delivery + 1, world_.now() + delay(key.from, key.to, channel == Channel::kLink));
  deliver(key, connection.generation, self->second.life, from.self_, to, std::move(frame), at);
}

void Network::check_stuck(const Key& key, uint64_t generation) {
  world_.after(50 * kMillisecond, [this, key, generation] {
    Connection& connection = connections_[key];
    if (connection.generation != generation || connection.stuck_since == 0) return;
    if (cuts_.count({key.from, key.to}) != 0) {
      if (world_.now() > connection.stuck_since + kTcpPatience) {
        break_connection(key, false);
      } else {
        check_stuck(key, generation);
      }
      return;
    }
    connection.stuck_since = 0;
    auto held = std::exchange(connection.held, {});
    const auto host = hosts_.find(key.from);
    if (host == hosts_.end()) return;
    SimTransport* from = transport(host->second, key.channel);
    for (std::string& frame : held) send(*from, connection.to_node, key.channel, std::move(frame));
  });
}

void Network::deliver(const Key& key, uint64_t generation, uint64_t from_life, PeerIdentity from, NodeId to,
                      std::string frame, Instant at) {
  (void)from_life;
  const auto target = hosts_.find(key.to);
  const uint64_t to_life = target == hosts_.end() ? 0 : target->second.life;
  world_.at(at, [this, key, generation, from, to, to_life, frame = std::move(frame)]() mutable {
    const auto host = hosts_.find(key.to);
    if (host == hosts_.end() || host->second.life != to_life) return;
    if (connections_[key].generation != generation) return;  // the connection it travelled on is gone
    SimTransport* receiver = transport(host->second, key.channel);
    // The handshake's checks.
    if (receiver->events_ == nullptr || receiver->self_.node != to || receiver->process_->alive == false) return;
    world_.trace("frame", hash64(frame), frame.size());
    receiver->loop_.post([receiver, from, channel = key.channel, bytes = SharedBytes(std::move(frame))]() mutable {
      if (receiver->events_ != nullptr) receiver->events_->on_frame(from, channel, std::move(bytes));
    });
  });
}

void Network::break_connection(const Key& key, bool refused) {
  Connection& connection = connections_[key];
  ++connection.generation;
  connection.held.clear();
  connection.stuck_since = 0;
  // The receiver sees the end of the stream too.
  if (const auto target = hosts_.find(key.to); target != hosts_.end() && connection.from_node.value != 0) {
    SimTransport* receiver = transport(target->second, key.channel);
    receiver->loop_.post([receiver, key, from = connection.from_node] {
      if (receiver->events_ != nullptr) receiver->events_->on_disconnected(from, key.channel, false);
    });
  }
  const auto host = hosts_.find(key.from);
  if (host == hosts_.end()) return;
  SimTransport* sender = transport(host->second, key.channel);
  sender->loop_.post([this, sender, key, refused, to = connection.to_node] {
    if (sender->events_ == nullptr) return;
    sender->events_->on_disconnected(to, key.channel, refused || hosts_.find(key.to) == hosts_.end());
  });
}

}  // namespace cairn::sim
