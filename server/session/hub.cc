#include "server/session/hub.h"

#include <algorithm>

#include "server/session/session.h"

namespace cairn::server {

Result<void> FixedParameters::set(const Changes& changes) {
  for (const auto& [name, value] : changes) {
    if (!values_.contains(name)) {
      return Error{ErrorCode::kInvalidArgument,
                   "Unknown option or number of arguments for CONFIG SET - '" + name + "'"};
    }
  }
  return Error{ErrorCode::kInvalidArgument, "CONFIG SET failed (possibly related to argument '" + changes[0].first +
                                                "') - can't set immutable config"};
}

Result<void> FixedParameters::rewrite() {
  return Error{ErrorCode::kInvalidArgument, "The server is running without a config file"};
}

void SessionHub::set_settings(const SharedSettings& changed) {
  settings = changed;
  slow_log.shorten(settings.slowlog_max_len);
}

void SessionHub::add(Session& session) { sessions_.emplace(session.id(), &session); }

void SessionHub::remove(uint64_t id) { sessions_.erase(id); }

Session* SessionHub::find(uint64_t id) const {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : found->second;
}

std::vector<Session*> SessionHub::in_order() const {
  std::vector<Session*> out;
  for (const auto& [id, session] : sessions_) out.push_back(session);
  std::sort(out.begin(), out.end(), [](const Session* a, const Session* b) { return a->id() < b->id(); });
  return out;
}

void SessionHub::pause(PauseMode mode, Instant until, Instant now) {
  const bool looser = mode < pause_;
  pause_ = mode;
  ++pause_number_;
  if (run_after) {
    run_after(until - std::min(now, until), [this, number = pause_number_] {
      if (number == pause_number_) unpause();
    });
  }
  if (!looser) return;
  for (Session* session : in_order()) session->resume();  // what only the stricter pause held back
}

void SessionHub::unpause() {
  if (pause_ == PauseMode::kNone) return;
  pause_ = PauseMode::kNone;
  ++pause_number_;
  for (Session* session : in_order()) {
    if (!session->postponed()) continue;
    session->resume();
    if (output_ready) output_ready(session->id());
  }
}

size_t SessionHub::postponed() const {
  return static_cast<size_t>(
      std::count_if(sessions_.begin(), sessions_.end(), [](const auto& entry) { return entry.second->postponed(); }));
}

void SessionHub::answered(const Session& session, const CommandSpec& spec, std::string_view packed_arguments,
                          Duration took, uint64_t second) {
  if (settings.latency_threshold_ms != 0 && took >= settings.latency_threshold_ms * kMillisecond) {
    latency.record((spec.flags & kFast) != 0 ? "fast-command" : "command", second, took / kMillisecond);
  }
  if (settings.slowlog_slower_than == kNever || took < settings.slowlog_slower_than) return;
  // Passwords have no place in a log.
  if (spec.session == SessionCommand::kAuth || spec.session == SessionCommand::kHello) return;
  if (settings.slowlog_max_len == 0) return;
  slow_log.add({0, second, took / kMicrosecond, std::string(packed_arguments), session.peer_address(), session.name()},
               settings.slowlog_max_len);
}

}  // namespace cairn::server
