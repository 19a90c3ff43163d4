// The configuration of a running node: what may change while it runs is changed here, whoever asks (CONFIG SET, SIGHUP,
// the admin API).
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "config/node_config.h"
#include "server/session/hub.h"

namespace cairn::server {

struct ConfigChange {
  std::string key;
  std::string before, after;  // as shown to people: secrets are "(set)" or empty
};
struct ConfigReload {
  std::vector<ConfigChange> applied;
  std::vector<std::string> waiting;  // keys that changed and need a restart
};

// Thread safety: on the range loop.
class LiveConfig final : public Parameters {
 public:
  using Changes = std::vector<std::pair<std::string, std::string>>;  // key, value as a file would have it

  // `apply` makes a valid configuration effective; it cannot fail. `request`: what `config` was loaded from.
  LiveConfig(config::NodeConfig config, config::LoadRequest request,
             std::function<void(const config::NodeConfig&)> apply)
      : config_(std::move(config)), request_(std::move(request)), apply_(std::move(apply)) {}

  const config::NodeConfig& current() const { return config_; }
  const std::string& file() const { return request_.file; }  // empty: none

  // Sets Cairn's own keys. All are validated first, then all are applied, or none: kInvalidArgument names the key and
  // what is wrong with it (unknown, needs a restart, out of range, the whole inconsistent). Returns what differs now.
  Result<std::vector<ConfigChange>> apply_config(const Changes& changes);
  // Reads file, environment and flags again: their values hold, and those set at run time are forgotten. A file that is
  // wrong changes nothing.
  Result<ConfigReload> reload();

  // By Redis' names, and Cairn's own keys by theirs.
  std::map<std::string, std::string> list() const override;
  Result<void> set(const Parameters::Changes& changes) override;
  Result<void> rewrite() override;

 private:
  Result<std::vector<ConfigChange>> install(config::NodeConfig next);

  config::NodeConfig config_;
  const config::LoadRequest request_;
  std::function<void(const config::NodeConfig&)> apply_;
};

}  // namespace cairn::server
