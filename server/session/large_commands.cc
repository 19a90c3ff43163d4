#include "server/session/large_commands.h"

namespace cairn::server {

bool LargeCommands::reserve(uint64_t session, size_t bytes, Instant now) {
  if (!waiting_.empty() || !fits(bytes)) {
    waiting_.push_back({session, bytes, now});
    return false;
  }
  take(session, bytes);
  return true;
}

void LargeCommands::release(uint64_t session) {
  std::erase_if(waiting_, [&](const Waiting& waiting) { return waiting.session == session; });
  if (const auto held = held_.find(session); held != held_.end()) {
    bytes_ -= held->second;
    held_.erase(held);
  }
  while (!waiting_.empty() && fits(waiting_.front().bytes)) grant_front();
}

void LargeCommands::tick(Instant now) {
  // One each time: what was let in may end the shortage.
  if (!waiting_.empty() && now >= waiting_.front().since + kWaitMax) grant_front();
}

void LargeCommands::grant_front() {
  const Waiting next = waiting_.front();
  waiting_.pop_front();
  take(next.session, next.bytes);
  granted_(next.session, next.bytes);
}

}  // namespace cairn::server
