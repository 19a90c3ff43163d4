// MULTI, EXEC, DISCARD, WATCH and UNWATCH (docs/decisions/transactions.md).
#include <algorithm>

#include "base/plant.h"
#include "server/commands/key_access.h"
#include "server/resp/reply_parser.h"
#include "server/session/session.h"
#include "sharding/slot.h"

namespace cairn::server {
namespace {
constexpr std::string_view kBadReply = "ERR internal error: the reply of a transaction could not be read";
}  // namespace

void Session::execute_transaction(SessionCommand command, Argv argv) {
  switch (command) {
    case SessionCommand::kMulti:
      if (transaction_.open()) return answer_error("ERR MULTI calls can not be nested");
      transaction_.begin();
      return answer_status("OK");
    case SessionCommand::kDiscard:
      if (!transaction_.open()) return answer_error("ERR DISCARD without MULTI");
      transaction_.end();
      return answer_status("OK");
    case SessionCommand::kWatch: return execute_watch(argv);
    default: return execute_exec();
  }
}

void Session::answer_status(std::string_view text) {
  RespWriter reply(replies_.immediate(), proto_);
  reply.status(text);
  replies_.settle();
}

std::optional<uint16_t> Session::slot_of_keys(const CommandSpec& spec, Argv argv) const {
  std::optional<uint16_t> slot;
  bool one = true;
  for_each_key(spec, argv, [&](std::string_view key) {
    if (slot && sink_.whole()) return;
    const uint16_t of_key = sharding::key_slot(key);
    one = one && (!slot || *slot == of_key);
    slot = of_key;
  });
  return one ? slot : std::nullopt;
}

// True: the keys may be part of the transaction. False: the error was answered.
bool Session::join_transaction(const CommandSpec& spec, Argv argv, uint16_t& slot) {
  const std::optional<uint16_t> keys = slot_of_keys(spec, argv);
  if (!keys || (!sink_.whole() && transaction_.slot().value_or(*keys) != *keys)) {
    answer_error(kSeveralSlots);
    return false;
  }
  slot = *keys;
  return !redirected(spec, slot);
}

void Session::queue_command(const CommandSpec& spec, const SubcommandSpec* subcommand, Argv argv) {
  const auto refuse = [&](std::string_view error) {
    transaction_.fail();
    answer_error(error);
  };
  if (spec.session == SessionCommand::kHello) return refuse("ERR Command not allowed inside a transaction");
  if (spec.place == CommandPlace::kEverywhere || spec.place == CommandPlace::kWalk) {
    return refuse("ERR " + std::string(spec.name) + " concerns all ranges and cannot be part of a transaction");
  }
  // They are answered elsewhere or later, or have no reply that EXEC could give.
  const bool reply = subcommand != nullptr && spec.session == SessionCommand::kClient && subcommand->name == "REPLY";
  if (reply || (subcommand != nullptr && runs_in_range(*subcommand))) {
    return refuse("ERR " + std::string(spec.name) + " " + std::string(subcommand->name) +
                  " cannot be part of a transaction");
  }
  if (too_much(argv)) return transaction_.fail();
  if (spec.evaluate != nullptr) {
    uint16_t slot = 0;
    if (!join_transaction(spec, argv, slot)) return transaction_.fail();
    transaction_.use_slot(slot);
  }
  transaction_.queue(spec, subcommand, argv);
  answer_status("QUEUED");
}

// True: the error was answered.
bool Session::too_much(Argv argv) {
  const size_t most = options_.limits.parser.command_bytes_max;
  if (transaction_.bytes() + bytes_of(argv) <= most) return false;
  answer_error("ERR transaction too large: the limit is " + std::to_string(most) +
               " bytes for all its commands and watched keys");
  return true;
}

// ---- WATCH ----

void Session::execute_watch(Argv argv) {
  if (transaction_.open()) return answer_error("ERR WATCH inside MULTI is not allowed");
  uint16_t slot = 0;
  if (too_much(argv) || !join_transaction(kWatchCommand, argv, slot)) return;
  std::vector<std::string_view> words(argv.begin(), argv.end());
  words[0] = kWatchCommand.name;
  awaited_ = {.kind = Awaited::Kind::kWatch, .slot = slot, .keys = {argv.begin() + 1, argv.end()}, .commands = {}};
  hand_over_awaited(kWatchCommand, words, slot);
}

// ---- EXEC ----

void Session::execute_exec() {
  if (!transaction_.open()) return answer_error("ERR EXEC without MULTI");
  const Transaction transaction = std::exchange(transaction_, {});
  if (transaction.failed()) return answer_error("EXECABORT Transaction discarded because of previous errors.");
  std::string watched;
  for (const auto& [key, mark] : transaction.watched()) {
    const std::string_view words[] = {key, mark};
    append_words(watched, words);
  }
  std::vector<std::string_view> argv{{}, watched};
  uint32_t flags = 0;
  for (const QueuedCommand& command : transaction.commands()) {
    if (options_.stats != nullptr) options_.stats->of(*command.spec).calls.add();
    if (!command.in_range()) continue;
    argv.push_back(command.words);
    flags |= command.spec->flags;
  }
  if (argv.size() == 2 && watched.empty()) return answer_exec(transaction.commands());
  const CommandSpec& spec = exec_command(flags);
  argv[0] = spec.name;
  if (argv.size() - 2 < transaction.commands().size()) {
    awaited_ = {.kind = Awaited::Kind::kExec, .slot = 0, .keys = {}, .commands = transaction.commands()};
    return hand_over_awaited(spec, argv, *transaction.slot());
  }
  if (CAIRN_PLANTED("multi-split-in-two") && argv.size() > 3) return hand_over_halves(spec, argv, *transaction.slot());
  const uint64_t sequence = replies_.open(bytes_of(argv));
  time_reply(*find_command("EXEC"), sequence);
  hand_over(spec, argv, *transaction.slot(), sequence);
}

// The bug of the zoo: each half is atomic.
void Session::hand_over_halves(const CommandSpec& spec, Argv argv, uint16_t slot) {
  const size_t commands = argv.size() - 2, first = commands / 2;
  std::vector<uint32_t> part_of_command(commands, 1);
  std::fill_n(part_of_command.begin(), first, 0u);
  const uint64_t parent = replies_.open_scatter(spec, part_of_command, 2, bytes_of(argv));
  hand_over(spec, argv.first(2 + first), slot, parent + 1);
  std::vector<std::string_view> second{argv[0], {}};
  second.insert(second.end(), argv.begin() + static_cast<std::ptrdiff_t>(2 + first), argv.end());
  hand_over(spec, second, slot, parent + 2);
}

// All commands are the connection's own.
void Session::answer_exec(const std::vector<QueuedCommand>& commands) {
  std::string& target = replies_.immediate();
  RespWriter(target, proto_).array(commands.size());
  for (const QueuedCommand& command : commands) answer_queued(command, target);
  replies_.settle();
}

void Session::answer_queued(const QueuedCommand& command, std::string& target) {
  std::vector<std::string_view> words;
  (void)read_words(command.words, words);
  RespWriter reply(target, proto_);
  answer(*command.spec, command.subcommand, words, reply);
}

// ---- replies that the session has to see ----

// Later commands wait for the reply: fenced().
void Session::hand_over_awaited(const CommandSpec& spec, Argv argv, uint16_t slot) {
  fence_ = true;
  awaited_.sequence = replies_.open(bytes_of(argv));
  time_reply(*find_command(awaited_.kind == Awaited::Kind::kExec ? "EXEC" : "WATCH"), awaited_.sequence);
  std::string bytes;
  RespWriter reply(bytes, proto_);
  const uint64_t sequence = awaited_.sequence;
  if (sink_.execute(spec, argv, slot, {id_, sequence}, proto_, reply)) deliver(sequence, bytes);
}

// What the client gets for the reply that came.
std::string Session::take_awaited(std::string_view bytes) {
  const Awaited awaited = std::exchange(awaited_, {});
  ReplyHead head;
  if (bytes.empty() || bytes[0] == '-') return std::string(bytes);
  std::string out;
  RespWriter reply(out, proto_);
  if (read_reply_head(bytes, head) != ReplyState::kComplete) {
    reply.error(kBadReply);
  } else if (awaited.kind == Awaited::Kind::kWatch) {
    take_marks(awaited, bytes.substr(head.bytes), reply);
  } else if (head.number < 0) {
    return std::string(bytes);  // a watched key was changed
  } else {
    merge_exec(awaited.commands, bytes.substr(head.bytes), out);
  }
  return out;
}

void Session::take_marks(const Awaited& awaited, std::string_view marks, RespWriter& reply) {
  for (const std::string& key : awaited.keys) {
    ReplyHead head;
    if (read_reply_head(marks, head) != ReplyState::kComplete) return reply.error(kBadReply);
    transaction_.watch(key, head.text);
    marks.remove_prefix(head.bytes);
  }
  transaction_.use_slot(awaited.slot);
  reply.ok();
}

void Session::merge_exec(const std::vector<QueuedCommand>& commands, std::string_view replies, std::string& out) {
  RespWriter(out, proto_).array(commands.size());
  for (const QueuedCommand& command : commands) {
    if (!command.in_range()) {
      answer_queued(command, out);
      continue;
    }
    size_t length = 0;
    if (reply_length(replies, length) != ReplyState::kComplete) {
      out.clear();
      return RespWriter(out, proto_).error(kBadReply);
    }
    out.append(replies.substr(0, length));
    replies.remove_prefix(length);
  }
}

}  // namespace cairn::server
