#include "server/session/session.h"

#include <algorithm>
#include <utility>

#include "server/commands/command_info.h"
#include "server/commands/key_access.h"
#include "server/commands/scan.h"
#include "sharding/slot.h"

namespace cairn::server {
namespace {

constexpr size_t kScratchKeysKept = 4096;
constexpr std::string_view kScan = "SCAN";
constexpr size_t kScansAtOnce = 16;    // of one connection; each may gather some MiB
constexpr size_t kKeysExpected = 128;  // more would push each other out of the processor's cache

}  // namespace

size_t Session::bytes_of(Argv argv) {
  size_t bytes = 0;
  for (const std::string_view argument : argv) bytes += argument.size() + 16;
  return bytes;
}

Session::Session(uint64_t id, CommandSink& sink, SessionOptions options)
    : id_(id),
      sink_(sink),
      options_(std::move(options)),
      parser_(options_.limits.parser),
      input_(sink_.hub().input_memory),
      replies_(output_.tail(), *this) {
  set_authenticated(sink_.requirepass().empty());
  created_ = last_input_ = sink_.now();
}

void Session::set_authenticated(bool authenticated) {
  authenticated_ = authenticated;
  parser_.set_authenticated(authenticated);
}

void Session::on_input(std::string_view bytes) {
  if (closing_) return;
  input_.append(bytes);
  last_input_ = started_ = sink_.now();
  process();
}

void Session::input_filled(size_t bytes) {
  input_.filled(bytes);
  if (closing_) return input_.clear();
  last_input_ = started_ = sink_.now();
  process();
}

void Session::deliver(uint64_t sequence, std::string_view bytes) {
  const bool awaited = awaited_.kind != Awaited::Kind::kNone && awaited_.sequence == sequence;
  if (awaited ? replies_.deliver(sequence, take_awaited(bytes)) : replies_.deliver(sequence, bytes)) {
    if (!processing_) output_.set_aside();
    process();
  }
}

void Session::kill() {
  closing_ = killed_ = true;
  on_close();
  output_.clear();
}

void Session::trim() {
  if (!idle()) return;
  output_.trim();
  replies_.trim();
}

void Session::resume() {
  if (!std::exchange(postponed_, false)) return;
  started_ = sink_.now();
  process();
}

void Session::time_reply(const CommandSpec& spec, uint64_t sequence) {
  if (options_.stats != nullptr) latency_.opened(sequence, CommandFamilies::of(spec), last_input_);
}

void Session::on_output_sent() {
  if (latency_.any_below(replies_.oldest())) latency_.sent(replies_.oldest(), sink_.now(), options_.stats->times);
  process();
}

void Session::on_close() {
  closing_ = true;
  held_ = nullptr;
  input_.clear();
}

void Session::process() {
  if (processing_) return;  // a reply came while a command was being handed over
  processing_ = true;
  leave_room();
  while (!closing_ && !loaded() && !resting() && (!fenced() || scanning())) {
    fence_ = fenced();
    if (held_ != nullptr) {
      execute_held();
      continue;
    }
    if (input_.empty()) break;
    const RequestParser::Step step = parser_.next(input_.view());
    if (step.status == ParseStatus::kCommand) {
      const CommandSpec* spec = find_command(parser_.argv()[0]);
      if (fence_ && !joins_scans(spec)) break;  // it stays in the input, and is parsed again
      if (spec != nullptr && pauses(*spec)) {
        postponed_ = true;  // likewise
        break;
      }
      execute(spec, parser_.argv());
    } else if (step.status == ParseStatus::kTooLarge) {
      transaction_.fail();
      answer_error("ERR command too large: the limit is " + std::to_string(options_.limits.parser.command_bytes_max) +
                   " bytes for a command with all its arguments");
    } else if (step.status == ParseStatus::kValueTooLarge) {
      transaction_.fail();
      answer_error(kStringTooLong);
    } else if (step.status == ParseStatus::kProtocolError) {
      answer_error(parser_.error());
      closing_ = true;
    }
    input_.consume(step.consumed);
    output_.set_aside();
    if (step.status == ParseStatus::kNeedMore) {
      seek_room();
      break;
    }
  }
  if (closing_) input_.clear();
  if (!killed() && std::max(input_.size(), parser_.announced()) > sink_.hub().settings.query_buffer_max) {
    sink_.hub().limits.query_buffer.add();
    kill();
  }
  leave_room();
  processing_ = false;
}

// Its command was answered, or never came to its end.
void Session::leave_room() {
  if (room_ == Room::kFilling && parser_.announced() <= kLargeCommandBytes) room_ = Room::kAnswering;
  if (room_ != Room::kAnswering || !replies_.empty() || postponed_) return;
  room_ = Room::kNone;
  sink_.release_room(id_);
}

void Session::seek_room() {
  const size_t bytes = parser_.announced();
  if (room_ != Room::kNone || bytes <= kLargeCommandBytes) return;
  room_ = Room::kWanted;
  if (sink_.reserve_room(id_, bytes)) room_granted(bytes);
}

void Session::room_granted(size_t bytes) {
  if (room_ != Room::kWanted) return;
  room_ = Room::kFilling;
  (void)input_.space(bytes - std::min(bytes, input_.size()));
  process();
}

bool Session::pauses(const CommandSpec& spec) const {
  const SessionHub& hub = sink_.hub();
  if (hub.pauses(spec) || spec.session != SessionCommand::kExec) return hub.pauses(spec);
  return std::any_of(transaction_.commands().begin(), transaction_.commands().end(),
                     [&](const QueuedCommand& command) { return hub.pauses(*command.spec); });
}

bool Session::joins_scans(const CommandSpec* spec) const {
  return spec != nullptr && spec->name == kScan && !transaction_.open() && replies_.size() < kScansAtOnce;
}

void Session::answer_error(std::string_view text) {
  RespWriter reply(replies_.immediate(), proto_);
  const size_t start = reply.size();
  reply.error(text);
  if (options_.stats != nullptr) options_.stats->count_error(std::string_view(reply.buffer()).substr(start));
  replies_.settle();
}

void Session::answer_unknown(Argv argv) {
  // Arguments are shown until 128 bytes are together, each cut to what is left of them.
  std::string arguments;
  for (size_t i = 1; i < argv.size() && arguments.size() < 128; ++i) {
    arguments += '\'';
    arguments += until_zero(argv[i]).substr(0, 128 - (arguments.size() - 1));
    arguments += "' ";
  }
  answer_error("ERR unknown command '" + std::string(until_zero(argv[0]).substr(0, 128)) +
               "', with args beginning with: " + arguments);
}

void Session::answer_wrong_arity(std::string_view name) {
  answer_error("ERR wrong number of arguments for '" + std::string(name) + "' command");
}

// A web page that makes a browser send HTTP to this port must not get a command of its body executed.
bool Session::looks_like_http(std::string_view name) const {
  return equals_ignoring_case(name, "POST") || equals_ignoring_case(name, "HOST:");
}

void Session::execute(const CommandSpec* spec, Argv argv) {
  ++commands_;
  replies_.set_muted(replies_off_ || std::exchange(skip_next_, false));
  CommandStats* stats = options_.stats;
  if (stats != nullptr) stats->commands.add();
  if (spec == nullptr) {
    if (looks_like_http(argv[0])) {
      closing_ = true;
      return;
    }
    if (stats != nullptr) stats->unknown.add();
    transaction_.fail();
    return answer_unknown(argv);
  }
  const SubcommandSpec* subcommand = nullptr;
  const auto rejected = [&] {
    transaction_.fail();
    if (stats != nullptr) stats->of(*spec, subcommand).rejected.add();
  };
  if (has_subcommands(*spec) && argv.size() > 1) {
    subcommand = find_subcommand(spec->name, argv[1]);
    if (subcommand == nullptr) {
      rejected();
      return answer_error(unknown_subcommand_text(*spec, argv[1]));
    }
  }
  if (!arity_matches(spec->arity, argv.size()) ||
      (subcommand != nullptr && !arity_matches(subcommand->arity, argv.size()))) {
    rejected();
    if (spec->session == SessionCommand::kExec) {
      transaction_.end();
      return answer_error("EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command");
    }
    return answer_wrong_arity(full_name(*spec, subcommand));
  }
  if (!authenticated() && !(spec->flags & kNoAuth)) {
    rejected();
    return answer_error("NOAUTH Authentication required.");
  }
  last_command_ = spec;
  last_subcommand_ = subcommand;
  const SessionCommand own = spec->session;
  const bool transactional = own >= SessionCommand::kMulti && own <= SessionCommand::kWatch;
  if (transaction_.open() && !transactional && own != SessionCommand::kQuit && own != SessionCommand::kReset) {
    return queue_command(*spec, subcommand, argv);
  }
  if (stats != nullptr) stats->of(*spec, subcommand).calls.add();
  if (transactional) return execute_transaction(own, argv);
  if (subcommand != nullptr && runs_in_range(*subcommand)) return execute_subcommand(*subcommand, argv);
  if (subcommand != nullptr && own == SessionCommand::kClient) switch_replies(subcommand->name, argv);
  switch (spec->place) {
    case CommandPlace::kRange: return execute_in_range(*spec, argv);
    case CommandPlace::kScatter: return execute_scattered(*spec, argv);
    case CommandPlace::kEverywhere:
    case CommandPlace::kWalk: return execute_everywhere(*spec, argv);
    case CommandPlace::kConnection: break;
  }
  std::string& target = replies_.immediate();
  const size_t start = target.size();
  RespWriter reply(target, proto_);
  answer(*spec, subcommand, argv, reply);
  answered(*spec, subcommand, argv, std::string_view(target).substr(std::min(start, target.size())));
  replies_.settle();
}

bool Session::redirected(const CommandSpec& spec, uint16_t slot) {
  const RedirectMode mode = sink_.redirect_mode();
  if (mode == RedirectMode::kNever || (mode == RedirectMode::kAuto && !cluster_client_) || sink_.whole()) return false;
  if (sink_.advertised_here(slot, &moved_to_)) return false;
  const bool reads = (spec.flags & kReadOnly) != 0 && &spec != &kWatchCommand;
  if (read_only_ && reads && sink_.has_replica(slot)) return false;
  answer_error("MOVED " + std::to_string(slot) + " " + moved_to_);
  return true;
}

void Session::hand_over(const CommandSpec& spec, Argv argv, uint16_t slot, uint64_t sequence, bool part) {
  part = part || is_internal(spec.name);  // not in the table: accounted for where it comes from
  std::string& target = replies_.target(sequence);
  const size_t start = target.size();
  RespWriter reply(target, proto_);
  if (!sink_.execute(spec, argv, slot, {id_, sequence}, proto_, reply)) {
    // Nothing half-written may stay. (If the reply was delivered inside the call the slot is gone, and
    // `target` too.)
    if (replies_.is_open(sequence)) {
      target.resize(start);
      if (!part) answered_later(spec, argv, sequence);
    }
    return;
  }
  if (!part) answered(spec, nullptr, argv, std::string_view(target).substr(start));
  replies_.finish(sequence);
}

void Session::execute_in_range(const CommandSpec& spec, Argv argv) {
  const std::optional<uint16_t> slot = slot_of_keys(spec, argv);
  if (!slot) return answer_error(kSeveralSlots);
  if (redirected(spec, *slot)) return;
  const uint64_t sequence = replies_.open(bytes_of(argv));
  time_reply(spec, sequence);
  hand_over(spec, argv, *slot, sequence);
}

void Session::execute_scattered(const CommandSpec& spec, Argv argv) {
  const size_t keys = argv.size() - 1;
  const uint16_t first_slot = sharding::key_slot(argv[1]);
  bool one_slot = true;
  if (keys > 1 && !sink_.whole()) {
    order_.clear();
    slots_.clear();
    for (size_t i = 0; i < keys; ++i) {
      const uint16_t slot = i == 0 ? first_slot : sharding::key_slot(argv[i + 1]);
      one_slot = one_slot && slot == first_slot;
      slots_.push_back(slot);
      order_.push_back(static_cast<uint64_t>(slot) << 32 | i);
    }
  }
  if (one_slot) {
    if (redirected(spec, first_slot)) return;
    const uint64_t sequence = replies_.open(bytes_of(argv));
    time_reply(spec, sequence);
    return hand_over(spec, argv, first_slot, sequence);
  }
  if (keys <= kKeysExpected) sink_.expect(argv.subspan(1), slots_);
  std::sort(order_.begin(), order_.end());
  part_of_key_.assign(keys, 0);
  uint32_t parts = 0;
  for (size_t i = 0; i < keys; ++i) {
    if (i > 0 && order_[i] >> 32 != order_[i - 1] >> 32) ++parts;
    part_of_key_[order_[i] & 0xFFFFFFFF] = parts;
  }
  ++parts;
  const uint64_t parent = replies_.open_scatter(spec, part_of_key_, parts, bytes_of(argv));
  time_reply(spec, parent);
  answered_later(spec, argv, parent);
  size_t next = 0;
  for (uint32_t part = 0; part < parts; ++part) {
    part_argv_.clear();
    part_argv_.push_back(argv[0]);
    const auto slot = static_cast<uint16_t>(order_[next] >> 32);
    while (next < keys && order_[next] >> 32 == slot) part_argv_.push_back(argv[1 + (order_[next++] & 0xFFFFFFFF)]);
    hand_over(spec, part_argv_, slot, parent + 1 + part, true);
  }
  if (keys > kScratchKeysKept) {
    // An assigned {} would keep their memory.
    std::vector<uint64_t>().swap(order_);
    std::vector<uint16_t>().swap(slots_);
    std::vector<uint32_t>().swap(part_of_key_);
    std::vector<std::string_view>().swap(part_argv_);
  }
}

void Session::execute_everywhere(const CommandSpec& spec, Argv argv) {
  if (spec.flags & kWrite) {  // FLUSHALL and FLUSHDB [ASYNC|SYNC]
    const bool valid =
        argv.size() == 1 ||
        (argv.size() == 2 && (equals_ignoring_case(argv[1], "ASYNC") || equals_ignoring_case(argv[1], "SYNC")));
    if (!valid) return answer_error(kSyntaxError);
  } else if (const std::string_view error = scan_error(spec, argv); !error.empty()) {
    return answer_error(error);
  }
  if (!replies_.empty() && !fence_) {
    held_ = &spec;
    held_argv_.assign(argv.begin(), argv.end());
    return;
  }
  fence_ = true;
  scans_ = spec.name == kScan;
  const uint64_t sequence = replies_.open(bytes_of(argv));
  time_reply(spec, sequence);
  if (scans_ && scan_at_once(spec, argv, sequence)) return;
  answered_later(spec, argv, sequence);
  sink_.execute_everywhere(spec, argv, {id_, sequence}, proto_);
}

bool Session::scan_at_once(const CommandSpec& spec, Argv argv, uint64_t sequence) {
  std::string& target = replies_.target(sequence);
  const size_t start = target.size();
  RespWriter reply(target, proto_);
  if (!sink_.scan_at_once(argv, id_, reply)) return false;
  answered(spec, nullptr, argv, std::string_view(target).substr(start));
  replies_.finish(sequence);
  return true;
}

void Session::execute_held() {
  const CommandSpec& spec = *std::exchange(held_, nullptr);
  const std::vector<std::string> owned = std::exchange(held_argv_, {});
  const std::vector<std::string_view> argv(owned.begin(), owned.end());
  execute_everywhere(spec, argv);
}

}  // namespace cairn::server
