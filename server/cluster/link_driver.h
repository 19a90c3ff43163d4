// Runs NodeLinks on the link loop: timer, transport events, reports to the range loop, and the watch over that loop.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "server/cluster/node_links.h"
#include "server/cluster/node_options.h"

namespace cairn::server {

// Thread safety: constructed and destroyed on the range loop's side before and after the link loop uses it; start() and
// the transport events run on the link loop; progress() on the range loop.
class LinkDriver final : public TransportEvents {
 public:
  struct Environment {
    const Clock* clock;
    Executor* link_loop;
    Executor* range_loop;
    Transport* transport;
  };
  // `report` runs on the range loop. Asked on the range loop: has the log made progress, and what to tell about the own
  // flushes (HeartbeatFrame::write_delay_ps)?
  LinkDriver(Environment env, NodeId self, Incarnation incarnation, const LinkOptions& options, bool first_life,
             std::function<void(const PeerReport&)> report, std::function<bool()> log_healthy,
             std::function<uint64_t()> write_delay_ps);
  ~LinkDriver() override;

  void start();                                                       // link loop
  void set_peers(std::vector<std::pair<NodeId, std::string>> peers);  // any loop; addresses
  void stop(bool relinquish);                                         // link loop

  void on_frame(const PeerIdentity& from, Channel channel, SharedBytes frame) override;
  void on_disconnected(NodeId peer, Channel channel, bool refused) override;
  void on_call(std::string request, Transport::CallDone done) override;

 private:
  struct Shared {  // outlives this object in tasks that are still queued
    std::atomic<Instant> progress{0};
    std::atomic<bool> probing{false};
    std::atomic<uint64_t> write_delay_ps{0};
    bool stopped = false;      // link loop
    bool reports_off = false;  // range loop
  };
  void tick();

  static constexpr Duration kStandstill =
      2 * kSecond;  // a range loop or log without progress for so long loses support
  Environment env_;
  LinkOptions options_;
  std::function<void(const PeerReport&)> report_;
  std::function<bool()> log_healthy_;
  std::function<uint64_t()> write_delay_ps_;
  NodeLinks links_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace cairn::server
