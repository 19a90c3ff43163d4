#include "server/net/peer_transport.h"

#include <fmt/format.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "base/codec.h"
#include "server/net/endpoints.h"
#include "server/net/send_pieces.h"

namespace cairn::server {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCodeT = boost::system::error_code;

namespace {
constexpr Duration kRedialFirst = 20 * kMillisecond;
constexpr Duration kRedialMax = 200 * kMillisecond;
constexpr size_t kReadBytes = 256 * 1024;
}  // namespace

// ---- connections ----

struct PeerTransport::Outgoing {
  Outgoing(asio::io_context& context, Key k) : key(k), socket(context) {}
  Key key;
  tcp::socket socket;
  enum class State : uint8_t { kIdle, kConnecting, kReady } state = State::kIdle;
  std::string nonce;        // ours
  std::string scratch;      // handshake bytes
  OutputBuffer queue;       // frames to be written
  bool busy = false;        // the kernel takes no more at the moment
  bool rejected = false;    // the peer answered, and does not want this connection
  bool overflowed = false;  // no connection in time for what was queued: it is about to be dropped
  Duration redial = kRedialFirst;
  bool dead = false;
};

struct PeerTransport::Incoming {
  explicit Incoming(tcp::socket s) : socket(std::move(s)) {}
  tcp::socket socket;
  PeerIdentity from;
  Channel channel = Channel::kData;
  bool call = false;
  FrameReader frames;
  std::string space;
};

struct PeerTransport::Call {
  explicit Call(asio::io_context& context) : socket(context), deadline(context) {}
  tcp::socket socket;
  asio::steady_timer deadline;
  std::string nonce, request, buffer;
  CallDone done;
  void finish(Result<std::string> result) {
    deadline.cancel();
    ErrorCodeT ignored;
    socket.close(ignored);
    if (auto callback = std::exchange(done, nullptr)) callback(std::move(result));
  }
};

PeerTransport::PeerTransport(EventLoop& loop, std::string secret, std::function<void(LogLevel, std::string_view)> log)
    : loop_(loop), secret_(std::move(secret)), log_(std::move(log)) {}

PeerTransport::~PeerTransport() { close_all(); }

void PeerTransport::close_all() {
  closed_ = true;
  ErrorCodeT ignored;
  for (auto& [key, out] : outgoing_) {
    out->dead = true;
    out->socket.close(ignored);
  }
  for (const auto& in : incoming_) in->socket.close(ignored);
  outgoing_.clear();
  incoming_.clear();
  dirty_.clear();
}

void PeerTransport::set_identity(const std::string& cluster, PeerIdentity self) {
  cluster_ = cluster;
  self_ = self;
}

void PeerTransport::set_address(NodeId node, const std::string& address) {
  std::string& known = addresses_[node];
  if (known == address) return;
  known = address;
  for (Channel channel : {Channel::kLink, Channel::kData, Channel::kBulk, Channel::kLarge}) {
    const auto found = outgoing_.find({node, channel});
    if (found != outgoing_.end()) {
      ErrorCodeT ignored;
      found->second->socket.close(ignored);  // what waits on it notices and dials the new address
    }
  }
}

void PeerTransport::dial(const Key& key) {
  const auto address = addresses_.find(key.first);
  if (closed_ || address == addresses_.end() || self_.node.value == 0) return;
  auto& out = outgoing_[key];
  if (!out) out = std::make_shared<Outgoing>(loop_.context(), key);
  if (out->state != Outgoing::State::kIdle) return;
  auto endpoint = resolve(loop_.context(), address->second);
  out->state = Outgoing::State::kConnecting;
  if (!endpoint) {
    loop_.post([this, o = out] { lost(o, false); });
    return;
  }
  // A peer that takes the connection and then says nothing, or half a welcome, must not hold the channel for ever.
  loop_.run_after(kHandshakeLimit, [this, dialled = std::weak_ptr(out)] {
    const auto o = dialled.lock();
    if (!closed_ && o && o->state == Outgoing::State::kConnecting) lost(o, false);
  });
  out->socket = tcp::socket(loop_.context());
  out->socket.async_connect(*endpoint, [this, o = out](const ErrorCodeT& error) {
    if (o->dead) return;
    if (error) return lost(o, error == asio::error::connection_refused);
    ErrorCodeT ignored;
    o->socket.set_option(tcp::no_delay(true), ignored);
    dialled(o);
  });
}

void PeerTransport::dialled(const std::shared_ptr<Outgoing>& out) {
  out->scratch.assign(kNonceBytes, '\0');
  asio::async_read(out->socket, asio::buffer(out->scratch), [this, out](const ErrorCodeT& error, size_t) {
    if (out->dead) return;
    if (error) return lost(out, false);
    PeerHello hello;
    hello.cluster = cluster_;
    hello.from = self_;
    hello.to = out->key.first;
    hello.channel = static_cast<uint8_t>(out->key.second);
    hello.nonce = out->nonce = random_nonce();
    out->scratch = with_length(hello.encode(out->scratch, secret_));
    asio::async_write(out->socket, asio::buffer(out->scratch), [this, out](const ErrorCodeT& error, size_t) {
      if (out->dead) return;
      if (error) return lost(out, false);
      out->scratch.assign(4, '\0');
      asio::async_read(out->socket, asio::buffer(out->scratch), [this, out](const ErrorCodeT& error, size_t) {
        if (out->dead) return;
        const uint32_t length = error ? 0 : get_fixed<uint32_t>(out->scratch.data());
        if (error || length > kHelloBytesMax) return lost(out, false);
        out->scratch.assign(length, '\0');
        asio::async_read(out->socket, asio::buffer(out->scratch), [this, out](const ErrorCodeT& error, size_t) {
          if (out->dead) return;
          if (error) return lost(out, false);
          const auto welcome = PeerWelcome::decode(out->scratch, out->nonce, secret_);
          if (!welcome || !welcome->accepted || welcome->from.node != out->key.first) {
            metrics_.refused_handshakes.add_owned();
            out->rejected = true;
            return lost(out, false);
          }
          out->state = Outgoing::State::kReady;
          out->redial = kRedialFirst;
          metrics_.connects.add_owned();
          watch(out);
          write(out);
        });
      });
    });
  });
}

// Nothing is ever received on a dialled connection: whatever arrives is its end.
void PeerTransport::watch(const std::shared_ptr<Outgoing>& out) {
  out->scratch.assign(1, '\0');
  out->socket.async_read_some(asio::buffer(out->scratch), [this, out](const ErrorCodeT&, size_t) {
    if (!out->dead) lost(out, false);
  });
}

void PeerTransport::lost(const std::shared_ptr<Outgoing>& out, bool refused) {
  if (closed_ || out->dead) return;
  const bool was_ready = out->state == Outgoing::State::kReady;
  out->dead = true;
  ErrorCodeT ignored;
  out->socket.close(ignored);
  dirty_.erase(out);
  const Key key = out->key;
  const Duration delay = was_ready ? 0 : out->redial;
  auto next = std::make_shared<Outgoing>(loop_.context(), key);
  next->redial = was_ready ? kRedialFirst : std::min(out->redial * 2, kRedialMax);
  outgoing_[key] = next;
  if (was_ready) metrics_.disconnects.add_owned();
  if (events_ != nullptr && !was_ready && carries_forwards(key.second)) {
    // Answers may be among what was dropped: who waits for them has to notice, too.
    if (!out->queue.empty() && !out->rejected) close_forwards_of(key.first);
    events_->on_unsent(key.first, key.second);
  }
  if (events_ != nullptr && (was_ready || refused)) events_->on_disconnected(key.first, key.second, refused);
  loop_.run_after(delay, [this, next, key] {
    const auto found = outgoing_.find(key);
    if (!closed_ && found != outgoing_.end() && found->second == next) dial(key);
  });
}

void PeerTransport::send(NodeId to, Channel channel, std::string frame) {
  const Key key{to, channel};
  auto found = outgoing_.find(key);
  if (found == outgoing_.end()) {
    dial(key);
    found = outgoing_.find(key);
  }
  if (found == outgoing_.end()) {  // no address is known
    metrics_.dropped.add_owned();
    if (carries_forwards(channel)) {
      loop_.post([this, to, channel] {
        if (!closed_ && events_ != nullptr) events_->on_unsent(to, channel);
      });
    }
    return;
  }
  const std::shared_ptr<Outgoing>& out = found->second;
  const uint64_t queued = out->queue.size();
  // Forwarders are told of every loss, so there the time until the next attempt must not lose anything.
  const bool dropped = out->overflowed || (out->state == Outgoing::State::kIdle && !carries_forwards(channel));
  const uint64_t early_max = channel == Channel::kLarge ? kQueueMax[static_cast<size_t>(channel)] : kConnectingQueueMax;
  if (dropped || (out->state != Outgoing::State::kReady && queued > early_max)) {
    metrics_.dropped.add_owned();
    if (carries_forwards(channel) && !std::exchange(out->overflowed, true)) {
      loop_.post([this, copy = out] { lost(copy, false); });
    }
    return;
  }
  if (queued > kQueueMax[static_cast<size_t>(channel)]) {
    // The peer does not keep up: start over rather than drop in the middle of a stream.
    log_(LogLevel::kWarn, fmt::format("node {} does not take its data: reconnecting", to.value));
    const auto copy = out;
    loop_.post([this, copy] { lost(copy, false); });
    metrics_.dropped.add_owned();
    return;
  }
  if (frame.size() > kLargeFrameBytes) {
    append_frame_header(out->queue.tail(), frame);
    out->queue.append(std::move(frame));
  } else {
    append_frame(out->queue.tail(), frame);
    out->queue.set_aside();
  }
  metrics_.frames_sent.add_owned();
  if (out->state == Outgoing::State::kReady && !out->busy) dirty_.insert(out);
}

void PeerTransport::flush() {
  if (dirty_.empty()) return;
  const auto dirty = std::exchange(dirty_, {});
  for (const auto& out : dirty) write(out);
}

void PeerTransport::write(const std::shared_ptr<Outgoing>& out) {
  if (out->dead || out->busy || out->state != Outgoing::State::kReady || out->queue.empty()) return;
  for (;;) {
    const ssize_t sent = send_pieces(out->socket.native_handle(), out->queue);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) break;
      loop_.post([this, out] { lost(out, false); });
      return;
    }
    metrics_.bytes_sent.add_owned(static_cast<uint64_t>(sent));
    if (out->queue.empty()) return;
  }
  out->busy = true;
  out->socket.async_wait(tcp::socket::wait_write, [this, out](const ErrorCodeT& error) {
    if (out->dead) return;
    out->busy = false;
    if (error) return lost(out, false);
    write(out);
  });
}

// The peer's end of these connections sees them go.
void PeerTransport::close_forwards_of(NodeId peer) {
  for (const auto& in : incoming_) {
    if (in->call || in->from.node != peer || !carries_forwards(in->channel)) continue;
    ErrorCodeT ignored;
    in->socket.shutdown(tcp::socket::shutdown_both, ignored);  // its read ends, and cleans up
  }
}

uint64_t PeerTransport::queued_bytes(NodeId to, Channel channel) const {
  const auto found = outgoing_.find({to, channel});
  return found == outgoing_.end() ? 0 : found->second->queue.size();
}

// ---- accepted connections ----

void PeerTransport::adopt(tcp::socket socket, const PeerHello& hello) {
  if (closed_) return;
  auto in = std::make_shared<Incoming>(std::move(socket));
  in->from = hello.from;
  in->call = hello.channel == kCallChannel;
  in->frames = FrameReader(frame_bytes_max(hello.channel));
  if (!in->call) in->channel = static_cast<Channel>(hello.channel);
  in->space.resize(in->call || in->channel == Channel::kLink ? 4096 : kReadBytes);
  incoming_.insert(in);
  read(in);
}

void PeerTransport::read(const std::shared_ptr<Incoming>& in) {
  in->socket.async_read_some(asio::buffer(in->space), [this, in](const ErrorCodeT& error, size_t bytes) {
    if (closed_) return;
    const auto close = [&] {
      ErrorCodeT ignored;
      in->socket.close(ignored);
      incoming_.erase(in);
      // Answers that were on their way here went with it.
      if (!in->call && events_ != nullptr) events_->on_disconnected(in->from.node, in->channel, false);
    };
    if (error) return close();
    metrics_.bytes_received.add_owned(bytes);
    in->frames.add(std::string_view(in->space).substr(0, bytes));
    while (auto frame = in->frames.next()) {
      metrics_.frames_received.add_owned();
      if (!in->call) {
        events_->on_frame(in->from, in->channel, std::move(*frame));
        continue;
      }
      events_->on_call(std::string(frame->view()), [in](Result<std::string> answer) {
        auto bytes = std::make_shared<std::string>();
        append_frame(*bytes, answer ? "+" + *answer : "-" + answer.error().message);
        asio::async_write(in->socket, asio::buffer(*bytes), [in, bytes](const ErrorCodeT&, size_t) {});
      });
    }
    if (in->frames.failed()) {
      log_(LogLevel::kWarn, fmt::format("closing a connection from node {} (channel {}): {}", in->from.node.value,
                                        static_cast<int>(in->call ? kCallChannel : static_cast<uint8_t>(in->channel)),
                                        in->frames.error()));
      return close();
    }
    read(in);
  });
}

// ---- calls ----

void PeerTransport::call(const std::string& address, std::string request, CallDone done) {
  auto call = std::make_shared<Call>(loop_.context());
  call->done = std::move(done);
  call->request = std::move(request);
  const auto endpoint = resolve(loop_.context(), address);
  if (!endpoint) {
    loop_.post([call, error = endpoint.error()] { call->finish(error); });
    return;
  }
  call->deadline.expires_after(std::chrono::nanoseconds(kHandshakeLimit));
  call->deadline.async_wait([call](const ErrorCodeT& error) {
    if (!error) call->finish(Error{ErrorCode::kUnavailable, "no answer in time"});
  });
  const auto failed = [call, address](const ErrorCodeT& error) {
    if (!error) return false;
    call->finish(Error{ErrorCode::kUnavailable, address + ": " + error.message()});
    return true;
  };
  call->socket.async_connect(*endpoint, [this, call, failed, address](const ErrorCodeT& error) {
    if (failed(error)) return;
    call->buffer.assign(kNonceBytes, '\0');
    asio::async_read(
        call->socket, asio::buffer(call->buffer), [this, call, failed, address](const ErrorCodeT& error, size_t) {
          if (failed(error)) return;
          PeerHello hello;
          hello.cluster = cluster_;
          hello.from = self_;
          hello.channel = kCallChannel;
          hello.nonce = call->nonce = random_nonce();
          call->buffer = with_length(hello.encode(call->buffer, secret_));
          append_frame(call->buffer, call->request);
          asio::async_write(
              call->socket, asio::buffer(call->buffer), [this, call, failed, address](const ErrorCodeT& error, size_t) {
                if (failed(error)) return;
                call->buffer.assign(4, '\0');
                asio::async_read(
                    call->socket, asio::buffer(call->buffer),
                    [this, call, failed, address](const ErrorCodeT& error, size_t) {
                      if (failed(error)) return;
                      const auto length = get_fixed<uint32_t>(call->buffer.data());
                      if (length > kHelloBytesMax)
                        return call->finish(Error{ErrorCode::kCorruption, address + ": malformed welcome"});
                      call->buffer.assign(length + kFrameHeaderBytes, '\0');
                      asio::async_read(
                          call->socket, asio::buffer(call->buffer),
                          [this, call, failed, address, length](const ErrorCodeT& error, size_t) {
                            if (failed(error)) return;
                            const auto welcome = PeerWelcome::decode(std::string_view(call->buffer).substr(0, length),
                                                                     call->nonce, secret_);
                            if (!welcome || !welcome->accepted) {
                              return call->finish(Error{
                                  ErrorCode::kUnavailable,
                                  address + ": " + (welcome ? welcome->reason : "another peer.secret or version")});
                            }
                            const auto header = read_frame_header(std::string_view(call->buffer).substr(length),
                                                                  frame_bytes_max(kCallChannel));
                            if (!header) return call->finish(with_context(header.error(), address));
                            call->buffer.assign(header->length, '\0');
                            asio::async_read(
                                call->socket, asio::buffer(call->buffer),
                                [call, failed, address, header = *header](const ErrorCodeT& error, size_t) {
                                  if (failed(error)) return;
                                  const auto checked = check_frame_payload(header, call->buffer);
                                  if (!checked) return call->finish(with_context(checked.error(), address));
                                  if (call->buffer.starts_with('+')) return call->finish(call->buffer.substr(1));
                                  call->finish(Error{ErrorCode::kUnavailable,
                                                     call->buffer.empty() ? "" : call->buffer.substr(1)});
                                });
                          });
                    });
              });
        });
  });
}

}  // namespace cairn::server
