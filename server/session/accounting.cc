// How long a connection's commands took and how they ended: for INFO, SLOWLOG and LATENCY.
#include <algorithm>

#include "server/session/session.h"

namespace cairn::server {
namespace {
// What a command that waits for its reply keeps of its arguments for the slow log.
constexpr size_t kWaitingArgumentsMax = 1024;  // bytes; above it
constexpr size_t kWaitingArguments = 6;        // only so many arguments, less than 1 KiB, too

bool is_error(std::string_view reply) { return !reply.empty() && (reply[0] == '-' || reply[0] == '!'); }
}  // namespace

void Session::pack_for_log(const CommandSpec& spec, Argv argv, std::string& out) {
  if (spec.session != SessionCommand::kConfig || argv.size() < 4) return pack_arguments(argv, out);
  std::vector<std::string_view> shown(argv.begin(), argv.end());  // CONFIG SET may hold a password
  for (size_t i = 3; i < shown.size(); i += 2) shown[i] = "(redacted)";
  pack_arguments(shown, out);
}

void Session::account(const CommandTrace& trace, std::string_view reply, Instant now) {
  const bool failed = is_error(reply);
  SessionHub& hub = sink_.hub();
  const bool timing = hub.settings.timing();
  const Duration took = timing ? now - std::min(now, trace.started) : 0;
  if (CommandStats* stats = options_.stats; stats != nullptr) {
    CommandStats::Entry& entry = stats->of(*trace.spec, trace.subcommand);
    if (failed) {
      entry.failed.add();
      stats->count_error(reply);
    }
    if (timing) stats->took(entry, took, hub.settings.latency_tracking);
  }
  if (timing && hub.settings.notable(took)) {
    hub.answered(*this, *trace.spec, trace.arguments, took, sink_.wall_us() / 1'000'000);
  }
}

void Session::answered(const CommandSpec& spec, const SubcommandSpec* subcommand, Argv argv, std::string_view reply) {
  const SharedSettings& settings = sink_.hub().settings;
  const Instant now = settings.timing() ? sink_.now() : started_;
  trace_.spec = &spec;
  trace_.subcommand = subcommand;
  trace_.started = started_;
  trace_.arguments.clear();
  if (settings.slowlog_slower_than != kNever && now - std::min(now, started_) >= settings.slowlog_slower_than) {
    pack_for_log(spec, argv, trace_.arguments);
  }
  account(trace_, reply, now);
  started_ = now;
}

void Session::answered_later(const CommandSpec& spec, Argv argv, uint64_t sequence) {
  CommandTrace& trace = replies_.trace(sequence);
  trace.spec = &spec;
  trace.subcommand = nullptr;
  trace.started = started_;
  trace.arguments.clear();
  if (sink_.hub().settings.slowlog_slower_than == kNever) return;
  pack_for_log(spec, argv, trace.arguments);
  if (trace.arguments.size() > kWaitingArgumentsMax) {
    pack_arguments(argv, trace.arguments, kWaitingArguments);
  }
}

void Session::late_reply(const CommandTrace& trace, std::string_view reply) {
  account(trace, reply, sink_.hub().settings.timing() ? sink_.now() : trace.started);
}

}  // namespace cairn::server
