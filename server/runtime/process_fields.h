// INFO's fields that only the process knows: memory, processor time, traffic and rates.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "server/cluster/node.h"
#include "server/net/client_server.h"
#include "server/runtime/live_config.h"

namespace cairn::server {

// Thread safety: on the range loop. The sources outlive it.
class ProcessFields {
 public:
  struct Sources {
    Node* node = nullptr;
    ClientServer* clients = nullptr;
    CommandStats* stats = nullptr;
    LiveConfig* config = nullptr;
    const Clock* clock = nullptr;
  };
  explicit ProcessFields(const Sources& sources) : s_(sources), started_(sources.clock->now()) {}

  // Twice a second or so: rates are those between the last two samples.
  void sample();
  void extend(std::map<std::string, std::vector<std::pair<std::string, std::string>>>& sections);

 private:
  struct Sample {
    Instant at = 0;
    uint64_t commands = 0, bytes_in = 0, bytes_out = 0;
  };
  Sources s_;
  const Instant started_;
  Sample before_, last_;
  uint64_t peak_rss_ = 0;
};

}  // namespace cairn::server
