#include "server/cluster/link_driver.h"

namespace cairn::server {

LinkDriver::LinkDriver(Environment env, NodeId self, Incarnation incarnation, const LinkOptions& options,
                       bool first_life, std::function<void(const PeerReport&)> report,
                       std::function<bool()> log_healthy, std::function<uint64_t()> write_delay_ps)
    : env_(env),
      options_(options),
      report_(std::move(report)),
      log_healthy_(std::move(log_healthy)),
      write_delay_ps_(std::move(write_delay_ps)),
      links_(
          self, incarnation, options, *env.transport,
          [this](const PeerReport& report) {
            env_.range_loop->post([this, shared = shared_, report] {
              if (!shared->reports_off) report_(report);
            });
          },
          env.clock->now(), first_life),
      shared_(std::make_shared<Shared>()) {
  shared_->progress = env.clock->now();
}

LinkDriver::~LinkDriver() {
  shared_->stopped = true;
  shared_->reports_off = true;
}

void LinkDriver::start() { tick(); }

void LinkDriver::tick() {
  if (shared_->stopped) return;
  const Instant now = env_.clock->now();
  // The range loop answers a probe as soon as it gets to it; the log counts as part of it.
  if (!shared_->probing.exchange(true)) {
    env_.range_loop->post([this, shared = shared_] {
      shared->probing = false;
      if (shared->reports_off) return;
      shared->write_delay_ps = write_delay_ps_();
      if (log_healthy_()) shared->progress = env_.clock->now();
    });
  }
  links_.tick(now, now <= shared_->progress.load() + kStandstill, shared_->write_delay_ps.load());
  env_.link_loop->run_after(options_.heartbeat, [this, shared = shared_] {
    if (!shared->stopped) tick();
  });
}

void LinkDriver::set_peers(std::vector<std::pair<NodeId, std::string>> peers) {
  env_.link_loop->post([this, shared = shared_, peers = std::move(peers)] {
    if (shared->stopped) return;
    std::vector<NodeId> ids;
    for (const auto& [id, address] : peers) {
      env_.transport->set_address(id, address);
      ids.push_back(id);
    }
    links_.set_peers(ids);
  });
}

void LinkDriver::stop(bool relinquish) {
  if (relinquish) links_.relinquish();
  shared_->stopped = true;
}

void LinkDriver::on_frame(const PeerIdentity& from, Channel channel, SharedBytes frame) {
  if (channel == Channel::kLink && !shared_->stopped) links_.on_frame(env_.clock->now(), from, frame.view());
}

void LinkDriver::on_disconnected(NodeId peer, Channel channel, bool refused) {
  if (channel == Channel::kLink && !shared_->stopped) links_.on_disconnected(env_.clock->now(), peer, refused);
}

void LinkDriver::on_call(std::string request, Transport::CallDone done) {
  (void)request;
  done(Error{ErrorCode::kUnavailable, "calls are served by the range loop"});
}

}  // namespace cairn::server
