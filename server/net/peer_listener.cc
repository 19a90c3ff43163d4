#include "server/net/peer_listener.h"

#include <fmt/format.h>

#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include "base/codec.h"
#include "server/net/endpoints.h"

namespace cairn::server {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCodeT = boost::system::error_code;

struct PeerListener::Pending {
  explicit Pending(tcp::socket s, asio::io_context& context) : socket(std::move(s)), deadline(context) {}
  tcp::socket socket;
  asio::steady_timer deadline;
  std::string nonce;
  std::string buffer;
};

PeerListener::PeerListener(EventLoop& loop, std::string secret,
                           std::function<void(tcp::socket, const PeerHello&)> accept,
                           std::function<void(LogLevel, std::string_view)> log)
    : loop_(loop),
      secret_(std::move(secret)),
      accept_(std::move(accept)),
      log_(std::move(log)),
      acceptor_(loop.context()) {}

Result<void> PeerListener::listen(const std::string& address) {
  CAIRN_TRY_VOID(listen_on(acceptor_, address));
  accept_next();
  return {};
}

void PeerListener::set_identity(const std::string& cluster, PeerIdentity self) {
  cluster_ = cluster;
  self_ = self;
}

void PeerListener::close() {
  ErrorCodeT ignored;
  acceptor_.close(ignored);
}

void PeerListener::accept_next() {
  acceptor_.async_accept([this](const ErrorCodeT& error, tcp::socket socket) {
    if (error == asio::error::operation_aborted || !acceptor_.is_open()) return;
    if (error) {  // out of descriptors: not again at once
      loop_.run_after(100 * kMillisecond, [this] { accept_next(); });
      return;
    }
    if (pending_ < kPendingMax) greet(std::make_shared<Pending>(std::move(socket), loop_.context()));
    accept_next();
  });
}

void PeerListener::greet(const std::shared_ptr<Pending>& pending) {
  ErrorCodeT ignored;
  pending->socket.set_option(tcp::no_delay(true), ignored);
  ++pending_;
  pending->deadline.expires_after(std::chrono::nanoseconds(kHandshakeLimit));
  pending->deadline.async_wait([pending](const ErrorCodeT& error) {
    ErrorCodeT ignored;
    if (!error) pending->socket.close(ignored);
  });
  pending->nonce = random_nonce();
  asio::async_write(pending->socket, asio::buffer(pending->nonce), [this, pending](const ErrorCodeT& error, size_t) {
    const auto give_up = [this, pending] {
      --pending_;
      pending->deadline.cancel();
    };
    if (error) return give_up();
    pending->buffer.assign(4, '\0');
    asio::async_read(pending->socket, asio::buffer(pending->buffer),
                     [this, pending, give_up](const ErrorCodeT& error, size_t) {
                       const uint32_t length = error ? 0 : get_fixed<uint32_t>(pending->buffer.data());
                       if (error || length > kHelloBytesMax) return give_up();
                       pending->buffer.assign(length, '\0');
                       asio::async_read(pending->socket, asio::buffer(pending->buffer),
                                        [this, pending, give_up](const ErrorCodeT& error, size_t) {
                                          give_up();
                                          if (!error) check(pending);
                                        });
                     });
  });
}

void PeerListener::check(const std::shared_ptr<Pending>& pending) {
  const auto hello = PeerHello::decode(pending->buffer, pending->nonce, secret_);
  if (!hello) {
    log_(LogLevel::kWarn, "a peer connection was refused: another peer.secret, or not a Cairn node");
    return;
  }
  PeerWelcome welcome;
  welcome.from = self_;
  if (hello->channel == kCallChannel) {
    welcome.accepted = true;
  } else if (self_.node.value == 0) {
    welcome.reason = "not a member yet";
  } else if (hello->cluster != cluster_) {
    welcome.reason = "another cluster";
  } else if (hello->to != self_.node) {
    welcome.reason = fmt::format("this is node {}, not {}", self_.node.value, hello->to.value);
  } else {
    welcome.accepted = true;
  }
  pending->buffer = with_length(welcome.encode(hello->nonce, secret_));
  asio::async_write(pending->socket, asio::buffer(pending->buffer),
                    [this, pending, hello = *hello, accepted = welcome.accepted](const ErrorCodeT& error, size_t) {
                      if (!error && accepted) accept_(std::move(pending->socket), hello);
                    });
}

}  // namespace cairn::server
