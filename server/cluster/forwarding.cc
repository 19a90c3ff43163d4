#include "server/cluster/forwarding.h"

#include <algorithm>

#include "base/assert.h"

namespace cairn::server {
namespace {
constexpr Duration kRetry = 5 * kMillisecond;
constexpr std::string_view kNoLeader =
    "-CLUSTERDOWN no leader of the key's range was found in time; the command was not applied\r\n";
constexpr std::string_view kNoRange =
    "-CLUSTERDOWN this node knows no range of the key yet; the command was not applied\r\n";
constexpr std::string_view kLost =
    "-INDETERMINATE the request may have been applied: the connection to the range's leader was lost\r\n";
}  // namespace

void Forwarding::add(uint64_t session, RangeId range, const CommandCall& call, Instant deadline) {
  const Key key{session, range};
  Stream& stream = streams_[key];
  stream.items.push_back({OwnedCommand(call), std::min(deadline, host_.now() + wait_for_leader_), 0, {}});
  ++waiting_;
  pump(key);
}

void Forwarding::add_unrouted(uint64_t session, const CommandCall& call) {
  unrouted_[session].push_back({OwnedCommand(call), host_.now() + wait_for_leader_, 0, {}});
  ++waiting_;
  host_.pump_later(4 * kRetry);
}

void Forwarding::route_all() {
  std::vector<uint64_t> sessions;
  for (const auto& [session, items] : unrouted_) sessions.push_back(session);
  std::vector<std::string_view> argv;
  for (const uint64_t session : sessions) {
    // Looked up again each time: what is delivered may bring further commands, or close the session.
    for (auto found = unrouted_.find(session); found != unrouted_.end(); found = unrouted_.find(session)) {
      if (found->second.empty()) {
        unrouted_.erase(found);
        break;
      }
      Item item = std::move(found->second.front());
      found->second.pop_front();
      --waiting_;
      if (host_.route(item.command.call(argv), item.deadline)) continue;
      ++waiting_;
      found->second.push_front(std::move(item));
      break;
    }
  }
}

void Forwarding::expire_unrouted() {
  const Instant now = host_.now();
  std::vector<ReplyTarget> expired;
  for (auto at = unrouted_.begin(); at != unrouted_.end();) {
    std::deque<Item>& items = at->second;
    for (; !items.empty() && now >= items.front().deadline; items.pop_front()) {
      expired.push_back(items.front().command.target());
      --waiting_;
    }
    at = items.empty() ? unrouted_.erase(at) : std::next(at);
  }
  for (const ReplyTarget& target : expired) {
    metrics_.expired.add_owned();
    host_.deliver(target, kNoRange);
  }
}

// Sends or runs what can go, in order. Items that were sent form a prefix unless something was refused.
void Forwarding::pump(const Key& key) {
  const auto found = streams_.find(key);
  if (found == streams_.end() || found->second.pumping) return;
  Stream& stream = found->second;
  if (stream.refused) {
    if (stream.sent > 0) return;
    stream.refused = false;
    ++stream.epoch;
  }
  stream.pumping = true;
  std::vector<std::string_view> argv;
  while (stream.sent < stream.items.size()) {
    if (host_.leads(key.second)) {
      if (stream.sent > 0) break;  // earlier ones are still away
      const Item item = std::move(stream.items.front());
      stream.items.pop_front();
      --waiting_;
      std::string reply;
      if (host_.execute_here(key.second, item.command.call(argv), reply)) host_.deliver(item.command.target(), reply);
      // Delivering may have ended the connection, and with it this stream.
      const auto still = streams_.find(key);
      if (still == streams_.end() || &still->second != &stream) return;
      continue;
    }
    if (!send_next(key, stream, argv)) break;
  }
  stream.pumping = false;
  if (stream.items.empty()) streams_.erase(key);
}

// False: no leader is known, or it is another one than what was sent before went to.
bool Forwarding::send_next(const Key& key, Stream& stream, std::vector<std::string_view>& argv) {
  const NodeId leader = host_.leader_of(key.second);
  if (leader.value == 0) {
    host_.pump_later(kRetry);
    return false;
  }
  Item& item = stream.items[stream.sent];
  // Wait for the answers of the former leader. A large command goes another way than others: it travels alone.
  if (stream.sent > 0 && (stream.items.front().peer != leader || stream.items.front().large() || item.large()))
    return false;
  item.peer = leader;
  item.request = next_request_++;
  requests_[item.request] = key;
  const CommandCall call = item.command.call(argv);
  ForwardFrame frame;
  frame.request = item.request;
  frame.range = key.second;
  frame.session = key.first;
  frame.epoch = stream.epoch;
  frame.proto = call.proto;
  frame.slot = call.slot;
  frame.argv.assign(call.argv.begin(), call.argv.end());
  ++stream.sent;
  --waiting_;
  metrics_.forwarded.add_owned();
  host_.send_forward(leader, frame.encode(), item.large());
  return true;
}

void Forwarding::on_reply(NodeId from, const ForwardReplyFrame& frame) {
  const auto request = requests_.find(frame.request);
  if (request == requests_.end()) return;  // given up
  const Key key = request->second;
  const auto found = streams_.find(key);
  CAIRN_ASSERT(found != streams_.end());
  Stream& stream = found->second;
  const auto item =
      std::find_if(stream.items.begin(), stream.items.end(), [&](const Item& i) { return i.request == frame.request; });
  CAIRN_ASSERT(item != stream.items.end());
  if (item->peer != from) return;
  requests_.erase(request);
  --stream.sent;
  if (frame.status == ForwardReplyFrame::Status::kReply) {
    const ReplyTarget target = item->command.target();
    stream.items.erase(item);
    host_.deliver(target, frame.reply);
  } else {
    metrics_.refused.add_owned();
    item->request = 0;
    item->peer = {};
    ++waiting_;
    stream.refused = true;
    host_.learn_leader(key.second, frame.leader);
    host_.pump_later(kRetry);
    return;  // tried again after a pause, when everything sent has come back
  }
  pump(key);
}

void Forwarding::peer_lost(NodeId peer) { give_back(peer, nullptr); }

void Forwarding::peer_unsent(NodeId peer, bool large) {
  give_back(peer, [large](const Item& item) { return item.large() == large; });
  if (waiting_ > 0) host_.pump_later(kRetry);  // not at once: it would be queued for the same peer again
}

// All that waits for an answer of the peer and may have run there; with `unsent` what that picks, which has not.
void Forwarding::give_back(NodeId peer, const std::function<bool(const Item&)>& unsent) {
  const bool sent = unsent == nullptr;
  std::vector<Key> keys;
  for (const auto& [key, stream] : streams_) {
    if (stream.sent > 0) keys.push_back(key);
  }
  for (const Key& key : keys) {
    const auto found = streams_.find(key);
    if (found == streams_.end()) continue;
    Stream& stream = found->second;
    std::vector<ReplyTarget> unknown, expired;
    for (auto item = stream.items.begin(); item != stream.items.end();) {
      if (item->request == 0 || item->peer != peer || (!sent && !unsent(*item))) {
        ++item;
        continue;
      }
      requests_.erase(item->request);
      --stream.sent;
      stream.refused = true;
      if (sent && (item->command.spec()->flags & kWrite) != 0) {
        unknown.push_back(item->command.target());
        item = stream.items.erase(item);
      } else if (!sent && host_.now() >= item->deadline) {
        expired.push_back(item->command.target());
        item = stream.items.erase(item);
      } else {
        item->request = 0;
        item->peer = {};
        ++waiting_;
        ++item;
      }
    }
    const bool empty = stream.items.empty();  // what is delivered may end the stream
    for (const ReplyTarget& target : unknown) {
      metrics_.lost.add_owned();
      host_.deliver(target, kLost);
    }
    for (const ReplyTarget& target : expired) {
      metrics_.expired.add_owned();
      host_.deliver(target, kNoLeader);
    }
    if (sent || empty) pump(key);
  }
}

void Forwarding::session_closed(uint64_t session) {
  if (const auto found = unrouted_.find(session); found != unrouted_.end()) {
    waiting_ -= found->second.size();
    unrouted_.erase(found);
  }
  for (auto at = streams_.lower_bound({session, RangeId{0}}); at != streams_.end() && at->first.first == session;) {
    for (const Item& item : at->second.items) {
      if (item.request != 0) {
        requests_.erase(item.request);
      } else {
        --waiting_;
      }
    }
    at = streams_.erase(at);
  }
}

void Forwarding::pump_all() {
  expire_unrouted();
  std::vector<Key> keys;
  for (const auto& [key, stream] : streams_) keys.push_back(key);
  const Instant now = host_.now();
  for (const Key& key : keys) {
    pump(key);
    const auto found = streams_.find(key);
    if (found == streams_.end()) continue;
    Stream& stream = found->second;
    std::vector<ReplyTarget> expired;
    for (auto item = stream.items.begin(); item != stream.items.end();) {
      if (item->request == 0 && now >= item->deadline) {
        expired.push_back(item->command.target());
        item = stream.items.erase(item);
        --waiting_;
      } else {
        ++item;
      }
    }
    const bool empty = stream.items.empty();
    if (empty) streams_.erase(found);
    for (const ReplyTarget& target : expired) {
      metrics_.expired.add_owned();
      host_.deliver(target, kNoLeader);
    }
  }
  if (waiting_ > 0) host_.pump_later(4 * kRetry);
}

void Forwarding::fail_all(std::string_view error) {
  auto streams = std::exchange(streams_, {});
  const auto unrouted = std::exchange(unrouted_, {});
  requests_.clear();
  waiting_ = 0;
  for (auto& [key, stream] : streams) {
    for (const Item& item : stream.items) host_.deliver(item.command.target(), item.request == 0 ? error : kLost);
  }
  for (const auto& [session, items] : unrouted) {
    for (const Item& item : items) host_.deliver(item.command.target(), error);
  }
}

bool RefusedStreams::refused(NodeId node, uint64_t session, RangeId range, uint64_t epoch) {
  const auto found = epochs_.find({node, session, range});
  if (found == epochs_.end()) return false;
  if (epoch <= found->second) return true;
  epochs_.erase(found);
  return false;
}

void RefusedStreams::refuse(NodeId node, uint64_t session, RangeId range, uint64_t epoch) {
  if (epochs_.size() >= kMax) epochs_.erase(epochs_.begin());
  uint64_t& known = epochs_[{node, session, range}];
  known = std::max(known, epoch);
}

void RefusedStreams::forget(NodeId node) {
  std::erase_if(epochs_, [&](const auto& entry) { return entry.first.node == node; });
}

}  // namespace cairn::server
