// `cairnd demo`: N nodes as child processes on loopback.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cairn::server {

struct DemoOptions {
  std::optional<unsigned> nodes;        // default 3
  std::optional<unsigned> port;         // default 6379
  std::optional<std::string> sharding;  // default hash
  std::string dir = "cairn-demo";
  bool ephemeral = false;
  std::vector<std::pair<std::string, std::string>> settings;  // into every node's file
};

int run_demo(const DemoOptions& options);

}  // namespace cairn::server
