#include "server/session/latency.h"

#include <algorithm>
#include <cmath>

namespace cairn::server {

uint64_t LatencyHistogram::quantile_us(double fraction) const {
  const auto rank = static_cast<uint64_t>(std::ceil(fraction * static_cast<double>(count_)));
  uint64_t seen = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen > 0 && seen >= rank) return upper_us(i);
  }
  return 0;
}

std::vector<std::pair<uint64_t, uint64_t>> LatencyHistogram::by_powers_of_two() const {
  std::vector<std::pair<uint64_t, uint64_t>> out;
  uint64_t power = 1, seen = 0, told = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    while (upper_us(i) >= power) {
      if (seen > told) out.emplace_back(power, seen);
      told = seen;
      power *= 2;
    }
    seen += buckets_[i];
  }
  if (seen > told) out.emplace_back(power, seen);
  return out;
}

void LatencyMonitor::record(std::string_view event, uint64_t second, uint64_t ms) {
  auto found = events_.find(event);
  if (found == events_.end()) found = events_.emplace(std::string(event), Event{}).first;
  Event& e = found->second;
  e.max_ms = std::max(e.max_ms, ms);
  if (!e.samples.empty() && e.samples.back().second == second) {
    e.samples.back().ms = std::max(e.samples.back().ms, ms);
    return;
  }
  if (e.samples.size() == kSamplesMax) e.samples.pop_front();
  e.samples.push_back({second, ms});
}

bool LatencyMonitor::reset(std::string_view event) {
  const auto found = events_.find(event);
  if (found == events_.end()) return false;
  events_.erase(found);
  return true;
}

size_t LatencyMonitor::reset_all() {
  const size_t events = events_.size();
  events_.clear();
  return events;
}

}  // namespace cairn::server
