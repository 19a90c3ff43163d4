#include "server/runtime/cpu_pace.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>

namespace cairn::server {
namespace {

double quota_of(const std::string& dir) {
  double quota = 0, period = 0;
  std::ifstream both(dir + "/cpu.max");  // "max" is no number: no quota
  if (both >> quota >> period && period > 0) return quota / period;
  std::ifstream first(dir + "/cpu.cfs_quota_us"), second(dir + "/cpu.cfs_period_us");
  if (first >> quota && second >> period && quota > 0 && period > 0) return quota / period;
  return INFINITY;
}

// The smallest of a group and those that it is in.
double quota_up_from(const std::string& root, const std::string& group) {
  double smallest = INFINITY;
  std::string dir = root + group;
  for (; dir.size() >= root.size(); dir.resize(dir.rfind('/'))) smallest = std::min(smallest, quota_of(dir));
  return smallest;
}

}  // namespace

Duration CpuPace::rest(Instant now, Duration longest, Duration all, Duration background) {
  const bool first = last_ == 0;
  const auto passed = static_cast<double>(now - last_);
  const auto used = static_cast<double>(all - last_all_);
  const double others = used - static_cast<double>(background - last_background_);
  last_ = now;
  last_all_ = all;
  last_background_ = background;
  if (first || passed <= 0 || options_.headroom <= 0) return 0;
  served_ += (others / passed - served_) * -std::expm1(-passed / kRemembered);
  const double allowed = options_.processors * (1 - options_.headroom);
  owed_ = std::clamp(owed_ + used - allowed * passed, -kBurst, kOwedMax);
  if (!serving()) owed_ = std::min(owed_, 0.0);
  if (owed_ <= 0) return 0;
  const double earned = allowed - served_;  // while the background rests
  return earned * static_cast<double>(longest) > owed_ ? static_cast<Duration>(owed_ / earned) : longest;
}

size_t bound_processors() {
  cpu_set_t set;
  return ::sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<size_t>(CPU_COUNT(&set)) : 1;
}

double usable_processors(const std::string& memberships, const std::string& groups) {
  auto processors = static_cast<double>(bound_processors());
  std::ifstream lines(memberships);
  for (std::string line; std::getline(lines, line);) {  // "0::/path", "4:cpu,cpuacct:/path"
    const size_t name = line.find(':'), path = line.find(':', name + 1);
    if (path == std::string::npos) continue;
    const std::string controllers = line.substr(name + 1, path - name - 1), at = line.substr(path + 1);
    if (controllers.empty()) processors = std::min(processors, quota_up_from(groups, at));
    if (("," + controllers + ",").find(",cpu,") != std::string::npos)
      processors = std::min(processors, quota_up_from(groups + "/cpu", at));
  }
  return processors;
}

}  // namespace cairn::server
