// The bug zoo's list. In cairn-sim it is empty and nothing can be switched on.
#pragma once

#include <string_view>
#include <vector>

#include "base/plant.h"

namespace cairn::sim {

#if defined(CAIRN_ZOO)
inline constexpr bool kHasPlants = true;
inline std::vector<std::string_view> plants() {
  return {"vote-before-sync",        "append-ack-before-sync",  "commit-old-term",
          "read-without-lease-check", "serve-before-noop-applied", "lease-counts-restarted-follower",
          "vote-twice",              "vote-while-supporting",   "stale-log-elected",
          "joint-one-majority",      "readindex-without-round", "log-ack-before-sync",
          "sst-above-durable-index", "flush-edit-without-index", "recycled-ghost",
          "torn-batch-accepted",     "uncommitted-read",        "fetched-row-survives-clear"};
}
inline bool set_plant(std::string_view name) {
  for (std::string_view plant : plants()) {
    if (plant == name) {
      planted_bug = plant;
      return true;
    }
  }
  return false;
}
#else
inline constexpr bool kHasPlants = false;
inline std::vector<std::string_view> plants() { return {}; }
inline bool set_plant(std::string_view) { return false; }
#endif

}  // namespace cairn::sim
